"""EGAN: an adversarial network that scores images, with Keras's own interface."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import keras

from egan_keras import data, keras_hooks, networks, thresholds
from egan_keras.keras_hooks import Tensor
from egan_keras.model.trainer import AdversarialTrainer


def _refused(message: str) -> Callable[..., NoReturn]:
    def refuse(self: keras.Model, *args: Any, **kwargs: Any) -> NoReturn:
        """Says what to call instead."""
        raise ValueError(message)

    return refuse


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
        >>> import numpy as np
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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # === Layers ===
        self.generator = networks.as_cut(generator)
        self.discriminator = networks.as_cut(discriminator)
        _check_fit(self.generator, self.discriminator)
        self.built = True
        # === Config ===
        self.recipe = networks.get_recipe(recipe)
        self.pairing = pairing or f"{generator.name}->{discriminator.name}"
        self.calibration = calibration

    @classmethod
    def from_backbones(
        cls,
        encoder: str,
        discriminator: str,
        *,
        image_shape: tuple[int, ...],
        recipe: "str | networks.Recipe" = "default",
        weights: "networks.Weights | Mapping[str, networks.Weights]" = "imagenet",
        **choices: Any,
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
            ValueError: If a backbone, the recipe or a choice is unknown, choices
                exclude each other, or the images are too small.
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
        map_shapes: Sequence[tuple[int, int, int]] = (),
        side: int | None = None,
        views: int = 1,
        recipe: "str | networks.Recipe" = "default",
        pairing: str | None = None,
        **choices: Any,
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
            map_shapes: (height, width, channels) of feature maps whose places are
                judged, which stand last in a row, flat; the deepest first.
            side: Longer side of the images, pixels, where it is known.
            views: Rows of each minority image, such as that of its mirror image: all
                images in one view stand before all in the next.
            recipe: `"default"` or a `Recipe` that keeps backbones frozen.
            pairing: How reports call the origin of the features.
            **choices: Fields of the recipe to choose differently.

        Raises:
            ValueError: If the recipe cannot be trained on features, or a choice is
                unknown.

        Example:
            >>> import numpy as np
            >>> model = EGAN.from_features(None, 8)
            >>> model.compile()
            >>> rows = np.random.default_rng(0).normal(size=(99, 8))
            >>> history = model.fit(rows, np.arange(99) < 5, epochs=1, verbose=0)
            >>> model.predict(rows, verbose=0).shape
            (99, 1)
        """
        keras_hooks.share_accelerators()
        chosen = networks.get_recipe(recipe, **choices)
        generator, discriminator = networks.build_on_features(
            encoder_size, discriminator_size, chosen, map_shapes, side=side, views=views
        )
        return cls(generator, discriminator, recipe=chosen, pairing=pairing)

    def call(self, images: Tensor, training: bool | None = False) -> Tensor:
        """Returns the scores (n, 1) of images (n, h, w, 3), pixels 0..255."""
        scores = self.discriminator(images, training=training)
        return keras_hooks.in_full_precision(scores)

    def __call__(self, images: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Returns the scores of a batch, as `keras.Model.__call__`.

        Raises:
            ValueError: If the images are of another shape.
        """
        shape = getattr(images, "shape", None)
        # A tensor of TensorFlow's may not know how many dimensions it has.
        is_known = getattr(shape, "rank", 0) is not None
        if shape is not None and is_known and len(self.image_shape) == 3:
            data.check_shape((None, *shape[1:]), self.image_shape)
        return super().__call__(images, *args, **kwargs)

    def in_float32(self) -> "EGAN":
        """Returns a copy that computes in float32, whatever Keras's policy.

        Scores in 32 bits are not those in 16, so that the copy's threshold is 0 until
        it is calibrated. It is not compiled.
        """
        config = {**self.get_config(), "calibration": None}
        copy = type(self).from_config(keras_hooks.config_in_float32(config))
        copy.set_weights(self.get_weights())
        copy.remember(self._hashes_trained_on)
        copy.minority_classes = self.minority_classes
        return copy

    def load_weights(self, filepath: str | os.PathLike[str], **kwargs: Any) -> None:
        """Loads weights as `keras.Model.load_weights`; the threshold goes back to 0."""
        self.calibration = None
        super().load_weights(filepath, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor, serialised; not for HDF5."""
        calibration = self.calibration
        discriminator = keras.saving.serialize_keras_object(self.discriminator)
        if keras_hooks.is_for_hdf5(discriminator["config"]["stem"]):
            _refuse_hdf5("the file to save")
        return {
            **super().get_config(),
            "discriminator": discriminator,
            "generator": keras.saving.serialize_keras_object(self.generator),
            "shared": networks.shared_names(self.generator, self.discriminator),
            "recipe": dataclasses.asdict(self.recipe),
            "pairing": self.pairing,
            "calibration": calibration and calibration.to_dict(),
            "calibrated_weights": calibration
            and (self._calibrated_weights or self._weights_hash()),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> "EGAN":
        """Returns the model that `get_config` described."""
        keras_hooks.share_accelerators()
        parts = ("discriminator", "generator")
        config = networks.deserialized(config, parts, custom_objects)
        config["generator"] = networks.share_again(
            config["generator"], config["discriminator"], config.pop("shared")
        )
        # Earlier versions knew of no places.
        config["recipe"] = networks.Recipe(**{"place_depths": 0, **config["recipe"]})
        calibration = config.pop("calibration")
        calibrated_weights = config.pop("calibrated_weights", None)
        model = cls(**config)
        if calibration:
            # The weights are yet to be loaded, or are others from now on.
            model._calibration = thresholds.Calibration.from_dict(calibration)
            model._calibrated_weights = calibrated_weights
        return model

    def save(self, filepath: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Saves as `keras.Model.save`, in Keras's own format alone.

        Raises:
            ValueError: If the file is of another format.
        """
        if str(filepath).endswith((".h5", ".hdf5", ".he5")):
            _refuse_hdf5(filepath)
        super().save(filepath, *args, **kwargs)

    def export(
        self, filepath: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> None:
        """Exports the scores as `keras.Model.export`, without the threshold.

        `ek.export_saved_model` and `ek.export_tflite` export both, and compare the
        scores with the model's.
        """
        # Keras asks a model of two networks to have been called, in vain.
        self.discriminator.export(filepath, *args, **kwargs)

    # What Keras would do there is not what they say.
    quantize = _refused(
        "An EGAN is made smaller when it is exported; expected ek.export_tflite(model, "
        'path, quantize="int8", representative=...). Received: quantize(), which knows '
        "few of its layers."
    )
    train_on_batch = _refused(
        "An EGAN is trained by fit, which splits the classes and computes frozen "
        "features first; expected model.fit(images, labels, epochs=1). Received: "
        "train_on_batch()."
    )
    test_on_batch = _refused(
        "An EGAN is tested by evaluate; expected model.evaluate(images, labels). "
        "Received: test_on_batch()."
    )


def _check_fit(
    generator: networks.CutNetwork, discriminator: networks.CutNetwork
) -> None:
    """Refuses a generator whose fakes fit nowhere, and what puts out no score."""
    images, features = discriminator.input_shape, discriminator.stem.output_shape
    if generator.input_shape != images:
        raise ValueError(
            "Generator and discriminator must take the same images. Received: images "
            f"of shape {generator.input_shape} and {images}."
        )
    if generator.output_shape not in (images, features):
        raise ValueError(
            "The generator's fakes do not fit the discriminator; expected its images "
            f"{images} or the features of its stem {features}. "
            f"Received: {generator.output_shape}."
        )
    if discriminator.output_shape != (None, 1):
        raise ValueError(
            "The discriminator must put out one score an image; expected an output "
            f"of shape (None, 1). Received: {discriminator.output_shape}. End it with "
            "keras.layers.Dense(1), without an activation."
        )


def _refuse_hdf5(filepath: str | os.PathLike[str]) -> NoReturn:
    raise ValueError(
        "HDF5 files keep an EGAN's weights, but not the model; expected a file that "
        f"ends in .keras. Received: {str(filepath)!r}. Use model.save('model.keras'), "
        "or model.save_weights('model.weights.h5') for the weights alone."
    )
