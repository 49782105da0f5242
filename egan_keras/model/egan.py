"""EGAN: an adversarial network that scores images, with Keras's own interface."""

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from egan_keras import accelerators, data, networks, thresholds
from egan_keras.model.fakes import check_fakes
from egan_keras.model.trainer import AdversarialTrainer

_LAZY_BATCH_SIZE = 32


@keras.saving.register_keras_serializable("egan_keras")
class EGAN(AdversarialTrainer):
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
        check_fakes(self.generator, self.discriminator)
        self.built = True
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
        weights: "networks.Weights | Mapping[str, networks.Weights]" = "imagenet",
        **choices,
    ) -> "EGAN":
        """Builds both networks from backbones of Keras Applications.

        Args:
            encoder: The generator's backbone, such as `"MobileNetV2:alpha=0.35"`.
            discriminator: The discriminator's backbone.
            image_shape: (height, width, 3) of the images, pixels 0..255.
            recipe: `"default"`, `"published"` or a `Recipe`.
            weights: `"imagenet"`, `None` or `"none"` for random ones, or the path of
                a weights file without top, for both backbones; or a dict from each
                backbone, as it is written here, to one of these.
            **choices: Fields of the recipe to choose differently, such as
                `network_size=160` or `loss="hinge"`.

        Raises:
            ValueError: If a backbone, the recipe or a choice is unknown, or the
                images are too small.
            FileNotFoundError: If `weights` names a file that does not exist.
            OSError: If ImageNet weights cannot be had.
        """
        chosen = networks.get_recipe(recipe, **choices)
        pairing = f"{encoder}->{discriminator}"
        generator, discriminator = networks.build(
            encoder, discriminator, chosen, tuple(image_shape), weights=weights
        )
        return cls(generator, discriminator, recipe=chosen, pairing=pairing)

    @classmethod
    def from_features(
        cls,
        encoder_size: int | None,
        discriminator_size: int | Sequence[int],
        *,
        recipe: "str | networks.Recipe" = "default",
        pairing: str | None = None,
        **choices,
    ) -> "EGAN":
        """Builds both networks on features that were computed before.

        What takes images elsewhere then takes rows of features, float (n, d), such as
        the pooled output of a frozen backbone: one pass over the images serves many
        trainings.

        Args:
            encoder_size: Length of the encoder's feature vectors, which stand first
                in a row; `None` where both networks read the same vector.
            discriminator_size: Length of the discriminator's feature vectors; several
                lengths where vectors of several depths stand side by side.
            recipe: `"default"` or a `Recipe` that keeps backbones frozen.
            pairing: How reports call the origin of the features.
            **choices: Fields of the recipe to choose differently.

        Raises:
            ValueError: If the recipe cannot be trained on features, or a choice is
                unknown.

        Example:
            >>> model = EGAN.from_features(None, 8)
            >>> model.compile()
            >>> rows = np.random.default_rng(0).normal(size=(99, 8))
            >>> history = model.fit(rows, np.arange(99) < 5, epochs=1, verbose=0)
            >>> model.predict(rows, verbose=0).shape
            (99, 1)
        """
        accelerators.share_accelerators()
        chosen = networks.get_recipe(recipe, **choices)
        generator, discriminator = networks.build_on_features(
            encoder_size, discriminator_size, chosen
        )
        return cls(generator, discriminator, recipe=chosen, pairing=pairing)

    @property
    def recipe(self) -> str:
        """The recipe's name, with what was chosen differently."""
        return networks.describe_recipe(self.choices)

    @property
    def threshold(self) -> float:
        """An image whose score is below it is called minority; 0 until calibrated."""
        return self.calibration.threshold if self.calibration else 0.0

    def call(self, images, training=False):
        """Returns the scores (n, 1) of images (n, h, w, 3), pixels 0..255."""
        scores = self.discriminator(images, training=training)
        return networks.in_full_precision(scores)

    def predict(self, x, *args, **kwargs) -> np.ndarray:
        """Returns the scores, float32 (n, 1), low = minority.

        Args:
            x: Images (n, h, w, 3), RGB pixels 0..255, uint8 or float, `ImageFiles`,
                or what else `keras.Model.predict` takes.
            *args: Further arguments of `keras.Model.predict`.
            **kwargs: Further arguments of `keras.Model.predict`.

        Raises:
            ValueError: If an array does not hold images as described.
        """
        if isinstance(x, np.ndarray | list | data.LazyRows):
            x = data.check_images(x, image_shape=self.image_shape)
        if isinstance(x, data.LazyRows):
            return self._predict_lazy(x, *args, **kwargs)
        return super().predict(x, *args, **kwargs)

    def _predict_lazy(self, x, batch_size=None, verbose="auto", **kwargs) -> np.ndarray:
        """Scores images that are read ahead, a few batches at a time."""
        size = batch_size or _LAZY_BATCH_SIZE
        batches = ((batch,) for batch in x.batches(size))
        kwargs.setdefault("steps", -(-len(x) // size))
        return super().predict(batches, verbose=verbose, **kwargs)

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

    def in_float32(self) -> "EGAN":
        """Returns a copy that computes in float32, whatever Keras's policy.

        Scores in 32 bits are not those in 16, so that the copy's threshold is 0 until
        it is calibrated. It is not compiled.
        """
        config = {**self.get_config(), "calibration": None}
        copy = type(self).from_config(networks.config_in_float32(config))
        copy.set_weights(self.get_weights())
        return copy

    def load_weights(self, filepath, **kwargs) -> None:
        """Loads weights as `keras.Model.load_weights`; the threshold goes back to 0."""
        self.calibration = None
        super().load_weights(filepath, **kwargs)

    def get_config(self) -> dict:
        """Returns the arguments of the constructor, serialised."""
        return {
            **super().get_config(),
            "discriminator": keras.saving.serialize_keras_object(self.discriminator),
            "generator": keras.saving.serialize_keras_object(self.generator),
            "shared": networks.shared_names(self.generator, self.discriminator),
            "recipe": dataclasses.asdict(self.choices),
            "pairing": self.pairing,
            "calibration": self.calibration and self.calibration.to_dict(),
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects=None) -> "EGAN":
        """Returns the model that `get_config` described."""
        accelerators.share_accelerators()
        config = dict(config)
        for name in ("discriminator", "generator"):
            config[name] = keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
        config["generator"] = networks.share_again(
            config["generator"], config["discriminator"], config.pop("shared")
        )
        config["recipe"] = networks.Recipe(**config["recipe"])
        if config["calibration"]:
            config["calibration"] = thresholds.Calibration.from_dict(
                config["calibration"]
            )
        return cls(**config)
