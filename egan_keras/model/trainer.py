"""Training two networks against each other with Keras's own interface."""

import contextlib
import os
from collections.abc import Iterator

import keras
import numpy as np

from egan_keras import data, features
from egan_keras.model import preparation
from egan_keras.model.calibrated import Calibrated
from egan_keras.model.divergence import StopOnDivergence
from egan_keras.model.step import Step
from egan_keras.model.two_optimizers import TwoOptimizers
from egan_keras.model.validation import ValidationMetrics
from egan_keras.networks import in_full_precision


class AdversarialTrainer(Calibrated, Step, TwoOptimizers):
    """What `compile`, `fit` and `evaluate` do for a generator and a discriminator.

    A subclass sets, in its constructor, `generator` and `discriminator` (see
    `CutNetwork`) and `recipe`.

    Args:
        **kwargs: Arguments of `keras.Model`.
    """

    def __init__(self, **kwargs) -> None:
        # Pixels stay as they are until a layer asks for fewer bits.
        super().__init__(autocast=False, **kwargs)
        self._training_metrics = {
            name: keras.metrics.Mean(name=name)
            for name in (
                "discriminator_loss",
                "generator_loss",
                "majority_logit",
                "fake_logit",
            )
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

    def step_rows(self, batch) -> tuple:
        """Returns majority, minority and, where used, known minority of a batch.

        Args:
            batch: Majority, minority and known minority, as features or, without a
                cache, images; or their numbers, where the device has them in tables.
        """
        majority, minority, known = self._tables.rows(batch) if self._tables else batch
        return majority, minority, None if self.fake_weight == 1.0 else known

    def step_inputs(self, rows: tuple) -> tuple:
        """Returns what both networks' tails read of what `step_rows` returned."""
        majority, minority, known = rows
        if not self._features_cached:
            stem = self.discriminator.stem
            majority = stem(majority, training=False)
            minority = self.generator.stem(minority, training=False)
            known = known if known is None else stem(known, training=False)
        return tuple(map(preparation.as_input, (majority, minority, known)))

    def update_training_metrics(self, outcome: dict) -> dict:
        """Takes in what `with_losses` returned, and returns the means so far."""
        values = {
            "discriminator_loss": outcome["discriminator_loss"],
            "generator_loss": outcome["generator_loss"],
            "majority_logit": outcome["majority_scores"],
            "fake_logit": outcome["fake_scores"],
        }
        for name, value in values.items():
            self._training_metrics[name].update_state(value)
        return {name: m.result() for name, m in self._training_metrics.items()}

    def update_validation_metrics(self, batch) -> dict:
        """Scores a batch of (features, labels), and returns the metrics so far."""
        rows, labels = batch
        inputs = preparation.as_input(rows)
        scores = in_full_precision(self.discriminator.tail(inputs, training=False))
        return self._validation.update(labels, scores)

    @property
    def metrics(self) -> list:
        """The metrics that Keras resets at the start of each epoch."""
        return [*self._training_metrics.values(), *self._validation.all]

    def fit(
        self,
        x=None,
        y=None,
        batch_size: int | None = None,
        epochs: int | None = None,
        verbose="auto",
        callbacks: list | None = None,
        validation_data=None,
        shuffle: bool = True,
        cache_features: "bool | str | os.PathLike | features.FeatureStore" = "auto",
        **kwargs,
    ) -> keras.callbacks.History:
        """Trains on labelled images, like `keras.Model.fit`.

        The classes are split by label. The frozen stems run over the images once,
        then the epochs read what they put out. The threshold goes back to 0, since
        the scores change. The model remembers which images it was trained on, so that
        `calibrate` leaves them out.

        Args:
            x: Images (n, h, w, 3), RGB pixels 0..255, uint8 or float; or a
                `tf.data.Dataset` of (images, labels) batches.
            y: Labels (n,), 0 majority and 1 minority; `None` with a dataset.
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
            ValueError: If the images or labels are not as described, one class is
                missing, all images are the same, or an argument of Keras's has no
                meaning here.
        """
        self._assert_compile_called("fit")
        preparation.check_fit_options(kwargs, batch_size=batch_size, epochs=epochs)
        batches = self._batches(x, y)
        cache = preparation.feature_cache(
            cache_features, self.discriminator, batches, verbose=verbose
        )
        if validation_data is not None:
            validation_data = self._batches(*preparation.as_pair(validation_data))
        dataset, tables, counts, hashes = preparation.training_dataset(
            self.generator,
            self.discriminator,
            batches,
            cache=cache,
            mirrored_minority=self.recipe.mirrored_minority,
            verbose=verbose,
            batch_size=batch_size or self.recipe.batch_size,
            minority_batch_size=self.recipe.minority_batch_size,
            minimum_steps=self.recipe.minimum_steps,
            shuffle=shuffle,
        )
        if validation_data is not None:
            validation_data = self._validation_dataset(
                validation_data, batch_size, cache
            )
        self._set_step(cache is not None, self.recipe.fake_weight(*counts))
        self.calibration = None
        self.remember(hashes)
        dataset, steps_per_epoch = preparation.endless(
            dataset, self.steps_per_execution
        )
        callbacks = [StopOnDivergence(), *keras.tree.flatten(callbacks or [])]
        with self._reading(tables, dataset):
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

    def _set_step(self, features_cached: bool, fake_weight: float) -> None:
        """Sets what the compiled step has fixed; compiles it anew if that changes."""
        if (features_cached, fake_weight) != (self._features_cached, self.fake_weight):
            self.train_function = None
        self._features_cached, self.fake_weight = features_cached, fake_weight

    @contextlib.contextmanager
    def _reading(self, tables: features.Tables | None, dataset) -> Iterator[None]:
        """Makes steps take rows of tables, which leave the device when training ends.

        Compiled functions hold them, or the number of all variables.
        """
        if tables is None:
            yield
            return
        self._tables = tables
        if isinstance(dataset, features.RowNumbers):
            self._row_numbers = dataset
        self._forget_compiled_functions()
        try:
            yield
        finally:
            self._tables = self._row_numbers = None
            self._forget_compiled_functions()

    def _forget_compiled_functions(self) -> None:
        self.train_function = self.test_function = self.predict_function = None

    def _batches(self, x, y, batch_size: int = 128):
        return data.labelled_batches(
            x, y, batch_size=batch_size, image_shape=self.image_shape
        )

    def _validation_dataset(self, batches, batch_size, cache=None):
        dataset, classes = preparation.validation_dataset(
            self.discriminator,
            batches,
            batch_size=batch_size or self.recipe.batch_size,
            cache=cache,
        )
        if self._validation.classes != classes:
            self._validation.classes = classes
            self.test_function = None
        return dataset

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size: int | None = None,
        verbose="auto",
        return_dict: bool = False,
        **kwargs,
    ):
        """Returns metrics of labelled images, like `keras.Model.evaluate`.

        Args:
            x: Images or a dataset, as in `fit`.
            y: Labels (n,), 0 or 1; `None` with a dataset.
            batch_size: Images scored at once.
            verbose: As in Keras.
            return_dict: Whether the metrics come with their names.
            **kwargs: Further arguments of `keras.Model.evaluate`.
        """
        # `fit` evaluates its own validation data; what it has prepared must outlive
        # a callback that evaluates other data.
        during_fit = "_use_cached_eval_dataset" in kwargs
        prepared = self._validation.classes, self.test_function
        if not during_fit:
            x = self._validation_dataset(self._batches(x, y), batch_size)
        results = super().evaluate(x, verbose=verbose, return_dict=True, **kwargs)
        results.update(self._validation.exact(*self._scored(x)))
        if not during_fit and prepared[0] != self._validation.classes:
            self._validation.classes, self.test_function = prepared
        return results if return_dict else list(results.values())

    def _scored(self, dataset) -> tuple[np.ndarray, np.ndarray]:
        """Returns labels (n,) and scores (n, 1) of a validation dataset."""
        scores, all_labels = [], []
        tail = self.discriminator.tail
        for rows, labels in dataset.as_numpy_iterator():
            inputs = preparation.as_input(rows)
            scores.append(tail.predict_on_batch(inputs))
            all_labels.append(labels)
        return np.concatenate(all_labels), np.concatenate(scores)
