"""EGAN: an adversarial network that scores images, with Keras's own interface."""

import dataclasses
import os

import keras
import numpy as np

from egan_keras import data, losses, networks, thresholds
from egan_keras.model import play, preparation, tensorflow_step
from egan_keras.model.divergence import StopOnDivergence
from egan_keras.model.validation import ValidationMetrics

RECIPE_ADAM = "recipe"


@keras.saving.register_keras_serializable("egan_keras")
class EGAN(keras.Model):
    """Finds the rare class: scores images, high for majority and low for minority.

    Okerinde et al., eGAN: Unsupervised approach to class imbalance using transfer
    learning, arXiv 2104.04162. The generator turns minority images into fakes; the
    discriminator learns to tell majority images from them and is what scores.

    Args:
        generator: Built Keras model from images to fakes: to images of the same
            shape, or to the features that the discriminator's stem puts out.
        discriminator: Built Keras model from images (n, h, w, 3), RGB pixels 0..255,
            to scores (n, 1). Where its first layers are frozen, their output is
            computed once.
        recipe: Name of a recipe, or a `Recipe`: the defaults of training.
        pairing: How reports call the two backbones.
        calibration: How the threshold was set; `None` leaves it at 0.
        **kwargs: Arguments of `keras.Model`.

    Raises:
        ValueError: If the fakes do not fit the discriminator, or it does not put out
            one score.

    Example:
        >>> model = EGAN.from_backbones(
        ...     "MobileNet:alpha=0.25", "MobileNet:alpha=0.25",
        ...     image_shape=(32, 32, 3), weights=None,
        ... )
        >>> model.compile()
        >>> model.predict(np.zeros((2, 32, 32, 3), "uint8"), verbose=0).shape
        (2, 1)
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        *,
        recipe: "str | networks.Recipe" = "default",
        pairing: str | None = None,
        calibration: thresholds.Calibration | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        # === Layers ===
        self.generator = networks.as_cut(generator)
        self.discriminator = networks.as_cut(discriminator)
        play.check_fakes(self.generator, self.discriminator)
        self.built = True
        # === Metrics ===
        self._training_metrics = {
            name: keras.metrics.Mean(name=name)
            for name in (
                "discriminator_loss",
                "generator_loss",
                "majority_score",
                "fake_score",
            )
        }
        self._validation = ValidationMetrics()
        # === Config ===
        self.choices = networks.get_recipe(recipe)
        self.pairing = pairing or f"{generator.name}->{discriminator.name}"
        self.calibration = calibration

    @classmethod
    def from_backbones(
        cls,
        encoder: str,
        discriminator: str,
        *,
        image_shape: tuple[int, int, int],
        recipe: "str | networks.Recipe" = "default",
        weights: str | os.PathLike | None = "imagenet",
        **choices,
    ) -> "EGAN":
        """Builds both networks from backbones of Keras Applications.

        Args:
            encoder: The generator's backbone, such as `"MobileNetV2:alpha=0.35"`.
            discriminator: The discriminator's backbone.
            image_shape: (height, width, 3) of the images, pixels 0..255.
            recipe: `"default"`, `"published"` or a `Recipe`.
            weights: `"imagenet"`, `None` or `"none"` for random ones, or the path of
                a weights file without top, for both backbones.
            **choices: Fields of the recipe to choose differently, such as
                `network_size=160` or `loss="hinge"`.

        Raises:
            ValueError: If a backbone, the recipe or a choice is unknown, or the
                images are too small.
            FileNotFoundError: If `weights` names a file that does not exist.
            OSError: If ImageNet weights cannot be had.
        """
        chosen = networks.get_recipe(recipe, **choices)
        generator, critic = networks.build(
            encoder, discriminator, chosen, tuple(image_shape), weights=weights
        )
        return cls(
            generator, critic, recipe=chosen, pairing=f"{encoder}->{discriminator}"
        )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, 3) of the images it takes."""
        return self.discriminator.input_shape[1:]

    @property
    def recipe(self) -> str:
        """The recipe's name."""
        return self.choices.name

    @property
    def threshold(self) -> float:
        """An image whose score is below it is called minority; 0 until calibrated."""
        return self.calibration.threshold if self.calibration else 0.0

    def compile(
        self,
        discriminator_optimizer=RECIPE_ADAM,
        generator_optimizer=RECIPE_ADAM,
        loss: str | losses.AdversarialLoss | None = None,
        metrics: list | None = None,
        **kwargs,
    ) -> None:
        """Configures training, as `keras.Model.compile` does.

        Args:
            discriminator_optimizer: Keras optimizer or its name; `"recipe"` is Adam
                at the recipe's learning rate.
            generator_optimizer: The same for the generator.
            loss: An adversarial loss or its name, see `losses.get`; `None` takes the
                recipe's.
            metrics: Keras metrics of validation data, which are given labels (n, 1)
                and likelinesses of minority (n, 1), 0..1, above 0.5 where the score
                is negative, beside the exact area under the ROC curve.
            **kwargs: Further arguments of `keras.Model.compile`.

        Raises:
            ValueError: If the loss is unknown.
        """
        kwargs.setdefault("jit_compile", False)
        self.adversarial_loss = losses.get(loss or self.choices.loss)
        self._validation = ValidationMetrics(metrics)
        rate = self.choices.discriminator_learning_rate
        super().compile(_optimizer(discriminator_optimizer, rate), **kwargs)
        rate = self.choices.generator_learning_rate
        self.generator_optimizer = _optimizer(generator_optimizer, rate)
        # Optimizers that are not built lose their state silently when a model is
        # loaded or resumed.
        self.optimizer.build(self.discriminator.tail.trainable_variables)
        self.generator_optimizer.build(self.generator.tail.trainable_variables)
        self._compile_options = kwargs

    def get_compile_config(self) -> dict:
        """Returns the arguments of `compile`, serialised."""
        return {
            "discriminator_optimizer": keras.optimizers.serialize(self.optimizer),
            "generator_optimizer": keras.optimizers.serialize(self.generator_optimizer),
            "loss": keras.saving.serialize_keras_object(self.adversarial_loss),
            "metrics": keras.saving.serialize_keras_object(self._validation.for_both),
            **self._compile_options,
        }

    def compile_from_config(self, config: dict) -> None:
        """Compiles with what `get_compile_config` returned."""
        serialised = ("discriminator_optimizer", "generator_optimizer", "loss")
        arguments = dict(config)
        for name in (*serialised, "metrics"):
            arguments[name] = keras.saving.deserialize_keras_object(config[name])
        self.compile(**arguments)

    def call(self, images, training=False):
        """Returns the scores (n, 1) of images (n, h, w, 3), pixels 0..255."""
        return self.discriminator(images, training=training)

    def train_step(self, batch) -> dict:
        """Carries out one adversarial step on a batch of (majority, minority)."""
        majority, minority = batch
        if not self._features_cached:
            majority = self.discriminator.stem(majority, training=False)
            minority = self.generator.stem(minority, training=False)
        outcome = tensorflow_step.adversarial_step(
            self, preparation.as_input(majority), preparation.as_input(minority)
        )
        values = {
            "discriminator_loss": outcome["discriminator_loss"],
            "generator_loss": outcome["generator_loss"],
            "majority_score": outcome["majority_scores"],
            "fake_score": outcome["fake_scores"],
        }
        for name, value in values.items():
            self._training_metrics[name].update_state(value)
        return {name: m.result() for name, m in self._training_metrics.items()}

    def test_step(self, batch) -> dict:
        """Scores a batch of (features, labels)."""
        features, labels = batch
        inputs = preparation.as_input(features)
        scores = self.discriminator.tail(inputs, training=False)
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
        cache_features: bool = True,
        **kwargs,
    ) -> keras.callbacks.History:
        """Trains on labelled images, like `keras.Model.fit`.

        The classes are split by label. The frozen stems run over the images once,
        then the epochs read what they put out. The threshold goes back to 0, since
        the scores change.

        Args:
            x: Images (n, h, w, 3), RGB pixels 0..255, uint8 or float; or a
                `tf.data.Dataset` of (images, labels) batches.
            y: Labels (n,), 0 majority and 1 minority; `None` with a dataset.
            batch_size: Majority images a step; `None` takes the recipe's.
            epochs: Passes over the majority (several for one where it is smaller than
                the recipe's fewest steps); `None` takes the recipe's.
            verbose: As in Keras.
            callbacks: Keras callbacks. Metrics of validation data are
                `val_majority_score`, `val_specificity` (at threshold 0) and, where
                it holds minority images, `val_minority_score`, `val_sensitivity`
                (at threshold 0) and `val_auroc`.
            validation_data: (images, labels) or a dataset like `x`. It is watched,
                never trained on.
            shuffle: Whether each epoch has an order of its own.
            cache_features: Whether the stems run once over all images (the default)
                or at every step, which needs less memory and gives the same losses.
            **kwargs: `initial_epoch` and `validation_freq`, as in Keras.

        Returns:
            The Keras history.

        Raises:
            ValueError: If the images or labels are not as described, one class is
                missing, or an argument of Keras's has no meaning here.
        """
        self._assert_compile_called("fit")
        preparation.check_fit_options(kwargs)
        batches = self._batches(x, y)
        if validation_data is not None:
            validation_data = self._batches(*preparation.as_pair(validation_data))
        dataset = preparation.training_dataset(
            self.generator,
            self.discriminator,
            batches,
            cache=cache_features,
            verbose=verbose,
            batch_size=batch_size or self.choices.batch_size,
            minority_batch_size=self.choices.minority_batch_size,
            minimum_steps=self.choices.minimum_steps,
            shuffle=shuffle,
        )
        if validation_data is not None:
            validation_data = self._validation_dataset(validation_data, batch_size)
        if getattr(self, "_features_cached", None) != cache_features:
            self._features_cached = cache_features
            self.train_function = None
        self.calibration = None
        return super().fit(
            dataset,
            epochs=self.choices.epochs if epochs is None else epochs,
            verbose=verbose,
            callbacks=[StopOnDivergence(), *(callbacks or [])],
            validation_data=validation_data,
            shuffle=False,
            **kwargs,
        )

    def _batches(self, x, y):
        return data.labelled_batches(x, y, image_shape=self.image_shape)

    def _validation_dataset(self, batches, batch_size):
        dataset, labels = preparation.validation_dataset(
            self.discriminator,
            batches,
            batch_size=batch_size or self.choices.batch_size,
        )
        known = self._validation.classes
        self._validation.labels = labels
        if self._validation.classes != known:
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
        during_fit = "_use_cached_eval_dataset" in kwargs
        if not during_fit:
            x = self._validation_dataset(self._batches(x, y), batch_size)
        results = super().evaluate(x, verbose=verbose, return_dict=True, **kwargs)
        features = x.map(lambda batch, labels: batch)
        scores = self.discriminator.tail.predict(features, verbose=0)
        results.update(self._validation.exact(scores))
        return results if return_dict else list(results.values())

    def predict(self, x, *args, **kwargs) -> np.ndarray:
        """Returns the scores, float32 (n, 1), low = minority.

        Args:
            x: Images (n, h, w, 3), RGB pixels 0..255, uint8 or float, or what else
                `keras.Model.predict` takes.
            *args: Further arguments of `keras.Model.predict`.
            **kwargs: Further arguments of `keras.Model.predict`.

        Raises:
            ValueError: If an array does not hold images as described.
        """
        if isinstance(x, np.ndarray | list):
            x = data.check_images(x, image_shape=self.image_shape)
        return super().predict(x, *args, **kwargs)

    def calibrate(
        self,
        images,
        labels=None,
        *,
        specificity: float | None = None,
        sensitivity: float | None = None,
        criterion: str | None = None,
        confidence: float | None = 0.95,
    ) -> thresholds.Calibration:
        """Sets the threshold from held-out images that training did not see.

        Args:
            images: Images (n, h, w, 3), 0..255, or a dataset of (images, labels).
            labels: Labels (n,), 0 or 1; `None` with a dataset.
            specificity: Wanted share of majority images that are not called minority,
                set from the majority images alone.
            sensitivity: Wanted share of minority images that are found.
            criterion: `"f1"` or `"youden"`, from images of both classes.
            confidence: Confidence of the guarantee; `None` for none.

        Returns:
            How the threshold was set; kept in `calibration` and saved with the model.

        Raises:
            ValueError: If there are too few images for the guarantee, or not exactly
                one wish is given.
        """
        scores, all_labels = [], []
        for batch, batch_labels in self._batches(images, labels):
            scores.append(self.predict_on_batch(batch))
            all_labels.append(batch_labels)
        self.calibration = thresholds.calibrate(
            np.concatenate(scores)[:, 0],
            np.concatenate(all_labels),
            specificity=specificity,
            sensitivity=sensitivity,
            criterion=criterion,
            confidence=confidence,
        )
        return self.calibration

    def get_config(self) -> dict:
        """Returns the arguments of the constructor, serialised."""
        return {
            **super().get_config(),
            "discriminator": keras.saving.serialize_keras_object(self.discriminator),
            "generator": keras.saving.serialize_keras_object(self.generator),
            "recipe": dataclasses.asdict(self.choices),
            "pairing": self.pairing,
            "calibration": self.calibration and self.calibration.to_dict(),
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects=None) -> "EGAN":
        """Returns the model that `get_config` described."""
        config = dict(config)
        for name in ("discriminator", "generator"):
            config[name] = keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
        config["generator"] = networks.tie_stem(
            config["generator"], config["discriminator"].stem
        )
        config["recipe"] = networks.Recipe(**config["recipe"])
        if config["calibration"]:
            config["calibration"] = thresholds.Calibration.from_dict(
                config["calibration"]
            )
        return cls(**config)


def _optimizer(optimizer, learning_rate: float) -> keras.optimizers.Optimizer:
    if isinstance(optimizer, str) and optimizer == RECIPE_ADAM:
        return keras.optimizers.Adam(learning_rate)
    return keras.optimizers.get(optimizer)
