"""Training two networks against each other with Keras's own interface."""

import itertools
import os
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from egan_keras import data, features
from egan_keras.model import preparation, step
from egan_keras.model.calibrated import Calibrated
from egan_keras.model.compiling import TwoOptimizers, ValidationMetrics

_TRAINING_METRICS = {
    # The name of each, and of what `both_losses` returns.
    "discriminator_loss": "discriminator_loss",
    "generator_loss": "generator_loss",
    "majority_logit": "majority_scores",
    "fake_logit": "fake_scores",
}


if TYPE_CHECKING:
    from egan_keras.model.step import Step
else:
    Step = step.of_backend()


class AdversarialTrainer(Step, Calibrated, TwoOptimizers):
    """What `fit` and `evaluate` do for a generator and a discriminator.

    A subclass sets, in its constructor, `generator` and `discriminator` (see
    `CutNetwork`) and `recipe`.
    """

    def __init__(self, **kwargs: Any) -> None:
        # Pixels stay as they are until a layer asks for fewer bits.
        super().__init__(autocast=False, **kwargs)
        self._training_metrics = {
            name: keras.metrics.Mean(name=name) for name in _TRAINING_METRICS
        }
        self._validation = ValidationMetrics()
        # What the compiled step has fixed.
        self._features_cached = True
        self._tables = self._row_numbers = None
        self.fake_weight = 1.0

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, 3) of the images it takes."""
        return self.discriminator.input_shape[1:]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics that Keras resets at the start of each epoch."""
        return [*self._training_metrics.values(), *self._validation.for_both]

    def step_rows(self, batch: Any) -> tuple[Any, ...]:
        """Returns majority, minority and, where used, known minority of a batch.

        They are features or, without a cache, images. A batch has them, or their
        numbers where the device has them in tables.
        """
        majority, minority, known = self._tables.rows(batch) if self._tables else batch
        return majority, minority, None if self.fake_weight == 1.0 else known

    def step_inputs(self, rows: tuple[Any, ...]) -> tuple[Any, ...]:
        """Returns what both networks' tails read of what `step_rows` returned."""
        if not self._features_cached:
            stem = self.discriminator.stem
            stems = stem, self.generator.stem, stem
            rows = [
                each if each is None else stem(each, training=False)
                for stem, each in zip(stems, rows, strict=True)
            ]
        return tuple(list(x) if isinstance(x, tuple) else x for x in rows)

    def update_training_metrics(self, outcome: dict[str, Any]) -> dict[str, Any]:
        """Takes in what `both_losses` returned, and returns the means so far."""
        for name, value in _TRAINING_METRICS.items():
            self._training_metrics[name].update_state(outcome[value])
        return {name: m.result() for name, m in self._training_metrics.items()}

    def fit(
        self,
        x: "data.Images | None" = None,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        verbose: str | int = "auto",
        callbacks: list[keras.callbacks.Callback] | None = None,
        validation_data: "tuple[data.Images, ArrayLike] | data.Images | None" = None,
        shuffle: bool = True,
        cache_features: (
            bool | str | os.PathLike[str] | features.FeatureStore
        ) = "auto",
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Trains on labelled images, like `keras.Model.fit`.

        The classes are split by label. The frozen stems run over the images once,
        then the epochs read what they put out. The threshold goes back to 0, since
        the scores change. The model remembers which images it was trained on, so that
        `calibrate` leaves them out.

        Args:
            x: Images (n, h, w, 3), RGB pixels 0..255, uint8 or float; or a
                `tf.data.Dataset` of (images, labels) batches.
            y: Labels (n,), 0 majority and 1 minority; `None` with a dataset. Without
                any minority image a recipe that weighs distances, as `default` does,
                takes the majority's statistics alone, with a warning: there are no
                steps of training, and the score is distance from the majority.
            batch_size: Majority images a step; `None` takes the recipe's.
            epochs: Passes over the majority (several for one where it is smaller than
                the recipe's fewest steps); `None` takes the recipe's.
            verbose: As in Keras.
            callbacks: Keras callbacks. Metrics of training are the two losses and the
                means of what they saw, `majority_logit` and `fake_logit` (before the
                last layer standardises it, where it does). Those of validation are
                `val_majority_score`, `val_specificity` (at threshold 0) and, where
                it holds minority images, `val_minority_score`, `val_sensitivity`
                (at threshold 0) and `val_auroc`.
            validation_data: (images, labels) or a dataset like `x`. It is watched,
                never trained on.
            shuffle: Whether each epoch has an order of its own.
            cache_features: Where the features go that the stems compute once, with
                the same losses for all: `"auto"` or `True`, memory if they fill at
                most a tenth of what is available and at most 1 GB, else files;
                `"memory"`; `"disk"`, files in `egan_keras` in the user's cache folder
                or where the environment variable EGAN_KERAS_CACHE says; or a folder
                for the files. Later runs on the same images read the files; an
                interrupted run is resumed. `False` runs the stems at every step. A
                `features.FeatureStore` serves several fits. A GPU, and JAX and PyTorch
                anywhere, train on a copy of what is in memory, if that is at most 1 GB.
            **kwargs: `initial_epoch` and `validation_freq`, as in Keras.

        Returns:
            The Keras history.

        Raises:
            ValueError: If the images or labels are not as described, there is no
                majority image (or no minority image, and the recipe knows no
                distances), all images are the same, or an argument of Keras's has no
                meaning here.
        """
        self._check_compiled("fit")
        preparation.check_fit_options(kwargs, batch_size=batch_size, epochs=epochs)
        batches = self._batches(x, y)
        of_rows = len(self.image_shape) == 1
        cache = preparation.feature_cache(
            cache_features, batches, of_rows=of_rows, verbose=verbose
        )
        if validation_data is not None:
            validation_data = self._batches(*preparation.as_pair(validation_data))
        batch_size = batch_size or self.recipe.batch_size
        known = [x.count for x in (batches, validation_data) if x is not None]
        count = None if None in known else sum(filter(None, known))
        with features.compiled(self.discriminator.stem).pass_over(count):
            dataset, tables, counts, hashes = preparation.training_dataset(
                self,
                batches,
                cache,
                batch_size=batch_size,
                shuffle=shuffle,
                verbose=verbose,
            )
            if validation_data is not None:
                validation_data = preparation.validation_dataset(
                    self, validation_data, cache, batch_size=batch_size
                )
        self._fix_step(
            _features_cached=cache is not None,
            fake_weight=self.recipe.fake_weight(*counts),
            _tables=tables,
            _row_numbers=dataset if isinstance(dataset, features.RowNumbers) else None,
        )
        self.calibration = self.minority_classes = None
        self.remember(hashes)
        self._validation.dataset = validation_data
        callbacks = [StopOnDivergence(), *keras.tree.flatten(callbacks or [])]
        try:
            if dataset is None:
                return self._only_judge(callbacks)
            dataset, steps_per_epoch = preparation.endless(
                dataset, self.steps_per_execution
            )
            return super().fit(
                dataset,
                steps_per_epoch=steps_per_epoch,
                epochs=self.recipe.epochs if epochs is None else epochs,
                verbose=verbose,
                callbacks=callbacks,
                validation_data=validation_data,
                shuffle=False,
                **kwargs,
            )
        finally:
            # They leave the device, and the files.
            self._validation.dataset = None
            self._fix_step(_tables=None, _row_numbers=None)

    def _only_judge(
        self, callbacks: list[keras.callbacks.Callback]
    ) -> keras.callbacks.History:
        """Does what Keras does around an epoch's steps, where there are none."""
        self.stop_training = False
        callbacks = keras.callbacks.CallbackList(
            callbacks, add_history=True, model=self, epochs=1, steps=0, verbose=0
        )
        callbacks.on_train_begin()
        callbacks.on_epoch_begin(0)
        logs: dict[str, float] = {}
        if self._validation.dataset is not None:
            found = self.evaluate(self._validation.dataset, verbose=0, return_dict=True)
            if isinstance(found, dict):
                logs = {f"val_{name}": value for name, value in found.items()}
        callbacks.on_epoch_end(0, logs)
        callbacks.on_train_end(logs)
        return self.history

    def evaluate(
        self,
        x: "data.Images | None" = None,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        return_dict: bool = False,
        *,
        steps: int | None = None,
        callbacks: list[keras.callbacks.Callback] | None = None,
        **kwargs: Any,
    ) -> dict[str, float] | list[float]:
        """Returns metrics of labelled images, like `keras.Model.evaluate`.

        Args:
            x: Images or a dataset, as in `fit`.
            y: Labels (n,), 0 or 1; `None` with a dataset.
            batch_size: Images scored at once.
            verbose: As in Keras.
            return_dict: Whether the metrics come with their names.
            steps: Batches that are scored; `None` scores all.
            callbacks: Keras callbacks.
            **kwargs: What Keras's `fit` gives beside these.
        """
        self._check_compiled("evaluate")
        dataset = self._validation.prepared(x)
        if dataset is None:
            if any(value is not None for value in kwargs.values()):
                raise ValueError(
                    "evaluate takes the arguments that it documents, and images have "
                    f"no weights. Received: {kwargs}. Leave them out."
                )
            dataset = preparation.validation_dataset(
                self,
                self._batches(x, y),
                batch_size=batch_size or self.recipe.batch_size,
            )
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks = keras.callbacks.CallbackList(
                callbacks,
                add_progbar=verbose != 0,
                verbose=verbose,
                epochs=1,
                steps=steps or int(dataset.cardinality()),
                model=self,
            )
        all_labels = []

        def batches() -> Iterator[Any]:
            found = itertools.islice(dataset.as_numpy_iterator(), steps)
            for number, (rows, labels) in enumerate(found):
                callbacks.on_test_batch_begin(number)
                yield rows
                all_labels.append(labels)
                callbacks.on_test_batch_end(number)

        callbacks.on_test_begin()
        scores = self.discriminator.predict_tail(batches())
        results = self._validation.results(np.concatenate(all_labels), scores)
        callbacks.on_test_end(results)
        return results if return_dict else list(results.values())

    def _check_compiled(self, method: str) -> None:
        if not self.compiled:
            raise ValueError(f"You must call `compile()` before calling `{method}()`.")

    def _fix_step(self, **values: Any) -> None:
        """Sets what compiled functions have fixed, and forgets these if it changes.

        They hold tables, or the number of all variables.
        """
        if any(getattr(self, name) != value for name, value in values.items()):
            self.train_function = self.predict_function = None
        for name, value in values.items():
            setattr(self, name, value)

    def _batches(
        self,
        x: "data.Images | None",
        y: ArrayLike | None,
        batch_size: int = 128,
    ) -> data.ArrayBatches | data.DatasetBatches:
        return data.labelled_batches(
            x, y, batch_size=batch_size, image_shape=self.image_shape
        )


class StopOnDivergence(keras.callbacks.Callback):
    """Stops training at the first epoch that is not finite, and goes back.

    The weights of the last epoch whose losses and weights were all finite are put
    back; `keras.callbacks.TerminateOnNaN` would leave the broken ones.
    """

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Forgets an earlier training."""
        self._good_epoch: int | None = None
        self._good_values: list[np.ndarray] | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keeps what training starts from, once a backup has been restored."""
        if self._good_values is None:
            self._good_values, _ = self.model.copies(self._variables())

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keeps the epoch's weights, or stops and goes back to the last good ones."""
        values, finite = self.model.copies(self._variables())
        if finite and all(np.isfinite(v).all() for v in (logs or {}).values()):
            self._good_epoch, self._good_values = epoch, values
            return
        good = self._good_values or []
        for variable, value in zip(self._variables(), good, strict=True):
            variable.assign(value)
        self.model.stop_training = True
        kept = "that training started from"
        if self._good_epoch is not None:
            kept = f"of epoch {self._good_epoch + 1}"
        warnings.warn(
            f"Training diverged to NaN or infinity in epoch {epoch + 1} and was "
            f"stopped; the model keeps the weights {kept}. Lower the learning rate "
            "(model.compile(discriminator_optimizer=..., generator_optimizer=...)) "
            "or look for corrupt images.",
            stacklevel=2,
        )

    def _variables(self) -> list[keras.Variable]:
        """Returns all that training changes, of both networks and optimizers."""
        model = self.model
        owners = (model.discriminator.tail, model.generator.tail)
        optimizers = (model.optimizer, model.generator_optimizer)
        return [v for owner in (*owners, *optimizers) for v in owner.variables]
