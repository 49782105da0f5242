"""Discriminators and generators, built from backbones as a recipe says."""

import os

import keras
from keras import layers

from egan_keras import backbones
from egan_keras.backbones import Backbone
from egan_keras.networks.cut_network import CutNetwork
from egan_keras.networks.generators import (
    feature_generator,
    image_generator,
    inputs_like,
)
from egan_keras.networks.head import MajorityAwareScore
from egan_keras.networks.layers import (
    InferenceMode,
    MajorityStandardization,
)
from egan_keras.networks.recipes import Recipe

_ENLARGEMENT = 3


def network_size(backbone: Backbone, image_shape: tuple[int, int, int]) -> int:
    """Returns the side to which images are resized where a recipe names none.

    Small images are enlarged three times at most, and never beyond the size that the
    backbone was trained for: larger features cost time and add nothing.

    Example:
        >>> network_size(Backbone("MobileNetV2"), (32, 32, 3))
        96
        >>> network_size(Backbone("MobileNetV2"), (600, 400, 3))
        224
    """
    side = _ENLARGEMENT * max(image_shape[:2])
    return max(backbone.minimum_size, min(backbone.native_size, side))


def build(
    encoder: str | Backbone,
    discriminator: str | Backbone,
    recipe: Recipe,
    image_shape: tuple[int, int, int],
    *,
    weights: str | os.PathLike | None = "imagenet",
) -> tuple[CutNetwork, CutNetwork]:
    """Builds a generator and a discriminator for a pairing.

    Args:
        encoder: The generator's backbone, such as `"MobileNetV2:alpha=0.35"`.
        discriminator: The discriminator's backbone.
        recipe: The choices.
        image_shape: (height, width, 3) of the images, pixels 0..255.
        weights: As in `Backbone.build`.

    Returns:
        `(generator, discriminator)`.

    Raises:
        ValueError: If a backbone is unknown or the images do not fit.
        FileNotFoundError: If `weights` names a file that does not exist.
        OSError: If ImageNet weights cannot be had.
    """
    if len(image_shape) != 3 or image_shape[-1] != 3:
        raise ValueError(
            "Images must be RGB; expected image_shape=(height, width, 3). "
            f"Received: image_shape={image_shape}."
        )
    encoder, critic = Backbone.parse(encoder), Backbone.parse(discriminator)
    built = build_discriminator(critic, recipe, image_shape, weights=weights)
    generator = build_generator(
        encoder, recipe, built, weights=weights, share_stem=encoder == critic
    )
    return generator, built


def build_discriminator(
    backbone: Backbone,
    recipe: Recipe,
    image_shape: tuple[int, int, int],
    *,
    weights: str | os.PathLike | None = "imagenet",
) -> CutNetwork:
    """Builds the discriminator: images (n, h, w, 3), 0..255, to scores (n, 1).

    Args:
        backbone: Its backbone.
        recipe: The choices.
        image_shape: (height, width, 3) of the images.
        weights: As in `Backbone.build`.

    Raises:
        ValueError: If choices of the recipe exclude each other.
    """
    if recipe.trained_layers and (recipe.standardize or recipe.distance_weight):
        raise ValueError(
            "Standardisation and the distance from the majority need a stem that puts "
            "out one vector an image; expected trained_layers=0, or standardize=False "
            "and distance_weight=0. Received: "
            f"trained_layers={recipe.trained_layers!r}, "
            f"standardize={recipe.standardize}, "
            f"distance_weight={recipe.distance_weight}."
        )
    stem, backbone_tail = _stem_and_tail(
        backbone, recipe, image_shape, weights, role="discriminator"
    )
    return discriminator_on(stem, backbone_tail, recipe)


def discriminator_on(
    stem: keras.Model, backbone_tail: keras.Model, recipe: Recipe
) -> CutNetwork:
    """Builds what follows a backbone: standardisation, dropout and the score.

    Args:
        stem: From the network's input to frozen features.
        backbone_tail: From these features to one vector.
        recipe: The choices.
    """
    if recipe.standardize:
        standardized = MajorityStandardization(name="standardization")(stem.output)
        stem = keras.Model(stem.input, standardized, name=stem.name)
    features = inputs_like(backbone_tail.input)
    vector = layers.Dropout(recipe.dropout, name="dropout")(backbone_tail(features))
    if recipe.distance_weight:
        score = MajorityAwareScore(recipe.distance_weight, name="score")(vector)
    else:
        score = layers.Dense(1, name="score")(vector)
    tail = keras.Model(features, score, name="discriminator_tail")
    return CutNetwork(stem, tail, name="discriminator")


def build_generator(
    backbone: Backbone,
    recipe: Recipe,
    discriminator: CutNetwork,
    *,
    weights: str | os.PathLike | None = "imagenet",
    share_stem: bool = False,
) -> CutNetwork:
    """Builds the generator: minority images to fakes, as `recipe.generates` says.

    Args:
        backbone: The encoder.
        recipe: The choices.
        discriminator: The discriminator that will judge the fakes.
        weights: As in `Backbone.build`.
        share_stem: Whether encoder and discriminator are the same backbone, frozen as
            a whole, so that one stem serves both.

    Raises:
        ValueError: If the fakes cannot be what the recipe says.
    """
    decoders = {"images": image_generator, "features": feature_generator}
    if recipe.generates not in decoders:
        raise ValueError(
            f"Unknown kind of fakes; expected one of {', '.join(decoders)}. "
            f"Received: generates={recipe.generates!r}."
        )
    if share_stem and recipe.trained_layers == 0:
        stem = discriminator.stem
        vector = inputs_like(stem.output_shape)
        tail = keras.Model(vector, vector, name="encoder_backbone_tail")
    else:
        stem, tail = _stem_and_tail(
            backbone,
            recipe,
            discriminator.stem.input_shape[1:],
            weights,
            role="encoder",
        )
    return decoders[recipe.generates](stem, tail, recipe, discriminator)


def _stem_and_tail(backbone, recipe, image_shape, weights, *, role):
    """Returns models from images to features, and from features to one vector."""
    size = recipe.network_size or network_size(backbone, image_shape)
    base = backbone.build(size, weights=weights)
    images = keras.Input(image_shape, name="images")
    x = images
    if image_shape[:2] != (size, size):
        x = layers.Resizing(size, size, name="resizing")(x)
    if recipe.own_preprocessing:
        x = backbones.BackbonePreprocessing(backbone.name, name="preprocessing")(x)
    else:
        x = layers.Rescaling(1 / 255, name="rescaling")(x)
    pool = layers.GlobalAveragePooling2D(name="pool")
    if recipe.trained_layers == 0:
        base.trainable = False
        stem = keras.Model(images, pool(base(x, training=False)), name=f"{role}_stem")
        vector = inputs_like(stem.output_shape)
        return stem, keras.Model(vector, vector, name=f"{role}_backbone_tail")
    base_stem, base_tail = backbones.cut(base, recipe.trained_layers)
    frontier = inputs_like(base_tail.input)
    vector = pool(InferenceMode(base_tail, name=f"{role}_trained_layers")(frontier))
    return (
        keras.Model(images, base_stem(x, training=False), name=f"{role}_stem"),
        keras.Model(frontier, vector, name=f"{role}_backbone_tail"),
    )
