"""Discriminators and generators, built from backbones as a recipe says."""

import os
from collections.abc import Mapping, Sequence

import keras
from keras import layers

from egan_keras import backbones
from egan_keras.backbones import Backbone
from egan_keras.networks.cut_network import CutNetwork
from egan_keras.networks.depths import feature_maps
from egan_keras.networks.generators import (
    feature_generator,
    image_generator,
    inputs_like,
)
from egan_keras.networks.head import MajorityAwareScore
from egan_keras.networks.layers import (
    InferenceMode,
    MajorityStandardization,
    UnitLength,
)
from egan_keras.networks.precision import full_precision
from egan_keras.networks.recipes import Recipe

Weights = str | os.PathLike | None

_ENLARGEMENT = 4


def network_size(backbone: Backbone, image_shape: tuple[int, int, int]) -> int:
    """Returns the side to which images are resized where a recipe names none.

    Small images are enlarged four times at most, and never beyond the size that the
    backbone was trained for: larger features cost time and add nothing.

    Example:
        >>> network_size(Backbone("MobileNetV2"), (32, 32, 3))
        128
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
    weights: Weights | Mapping[str, Weights] = "imagenet",
) -> tuple[CutNetwork, CutNetwork]:
    """Builds a generator and a discriminator for a pairing.

    Args:
        encoder: The generator's backbone, such as `"MobileNetV2:alpha=0.35"`.
        discriminator: The discriminator's backbone.
        recipe: The choices.
        image_shape: (height, width, 3) of the images, pixels 0..255.
        weights: As in `Backbone.build`, or that for each backbone, as it is written.

    Returns:
        `(generator, discriminator)`.

    Raises:
        ValueError: If a backbone is unknown or has no weights named, or the images do
            not fit.
        FileNotFoundError: If `weights` names a file that does not exist.
        OSError: If ImageNet weights cannot be had.
    """
    if len(image_shape) != 3 or image_shape[-1] != 3:
        raise ValueError(
            "Images must be RGB; expected image_shape=(height, width, 3). "
            f"Received: image_shape={image_shape}."
        )
    encoder, backbone = Backbone.parse(encoder), Backbone.parse(discriminator)
    built = build_discriminator(
        backbone, recipe, image_shape, weights=_weights_of(backbone, weights)
    )
    generator = build_generator(
        encoder,
        recipe,
        built,
        weights=_weights_of(encoder, weights),
        share_stem=encoder == backbone,
    )
    return generator, built


def _weights_of(backbone: Backbone, weights: Weights | Mapping[str, Weights]):
    if not isinstance(weights, Mapping):
        return weights
    if str(backbone) not in weights:
        raise ValueError(
            "A backbone has no weights named; expected an entry for each backbone. "
            f"Received: weights for {', '.join(map(str, weights)) or 'none'}. Add "
            f"{str(backbone)!r}."
        )
    return weights[str(backbone)]


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
    needs_vectors = {
        "depths": recipe.depths > 1,
        "unit_length": recipe.unit_length,
        "standardize": recipe.standardize,
        "distance_weight": recipe.distance_weight > 0,
    }
    if recipe.trained_layers and any(needs_vectors.values()):
        chosen = [name for name, needs in needs_vectors.items() if needs]
        raise ValueError(
            "Several depths, unit length, standardisation and the distance from the "
            "majority need a stem that puts out vectors; expected trained_layers=0, or "
            "depths=1, unit_length=False, standardize=False and distance_weight=0. "
            f"Received: trained_layers={recipe.trained_layers!r}, "
            + ", ".join(f"{name}={getattr(recipe, name)}" for name in chosen)
            + "."
        )
    if recipe.trained_layers:
        stem, backbone_tail = _stem_and_tail(
            backbone, recipe, image_shape, weights, role="discriminator"
        )
        return discriminator_on(stem, backbone_tail, recipe)
    stem, sizes = pooled_features(
        backbone, recipe, image_shape, weights=weights, role="discriminator"
    )
    return discriminator_on_vectors(stem, sizes, recipe)


def discriminator_on_vectors(
    stem: keras.Model, sizes: Sequence[int], recipe: Recipe
) -> CutNetwork:
    """Builds a discriminator behind a network that puts out feature vectors.

    Args:
        stem: From the network's input to vectors side by side, (n, sum of sizes).
        sizes: The number of features of each vector.
        recipe: The choices.
    """
    features, dtype = stem.output, full_precision()
    if recipe.unit_length:
        features = UnitLength(sizes, name="unit_length", dtype=dtype)(features)
    if recipe.standardize:
        standardization = MajorityStandardization(name="standardization", dtype=dtype)
        features = standardization(features)
    stem = keras.Model(stem.input, features, name=stem.name)
    vector = inputs_like(stem.output_shape)
    tail = keras.Model(vector, vector, name="discriminator_backbone_tail")
    return discriminator_on(stem, tail, recipe)


def discriminator_on(
    stem: keras.Model, backbone_tail: keras.Model, recipe: Recipe
) -> CutNetwork:
    """Builds what follows a stem: trained layers, dropout and the score.

    Args:
        stem: From the network's input to frozen features.
        backbone_tail: From these features to one vector.
        recipe: The choices.
    """
    features, dtype = inputs_like(backbone_tail.input), full_precision()
    vector = backbone_tail(features)
    vector = layers.Dropout(recipe.dropout, name="dropout", dtype=dtype)(vector)
    if recipe.distance_weight:
        score = MajorityAwareScore(recipe.distance_weight, name="score", dtype=dtype)
    else:
        score = layers.Dense(1, name="score", dtype=dtype)
    tail = keras.Model(features, score(vector), name="discriminator_tail")
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
    image_shape = discriminator.stem.input_shape[1:]
    if recipe.trained_layers == 0:
        stem = discriminator.stem
        if not share_stem:
            stem, _ = pooled_features(
                backbone, recipe, image_shape, weights=weights, role="encoder"
            )
        vector = inputs_like(stem.output_shape)
        tail = keras.Model(vector, vector, name="encoder_backbone_tail")
    else:
        stem, tail = _stem_and_tail(
            backbone,
            recipe,
            image_shape,
            weights,
            role="encoder",
        )
    return decoders[recipe.generates](stem, tail, recipe, discriminator)


def pooled_features(
    backbone: Backbone,
    recipe: Recipe,
    image_shape: tuple[int, int, int],
    *,
    weights: str | os.PathLike | None = "imagenet",
    role: str = "frozen",
) -> tuple[keras.Model, list[int]]:
    """Builds a frozen backbone from images to pooled features.

    Args:
        backbone: The backbone.
        recipe: The choices.
        image_shape: (height, width, 3) of the images.
        weights: As in `Backbone.build`.
        role: What the model's name begins with.

    Returns:
        The model from images, pixels 0..255, to one vector for each of the recipe's
        depths side by side, and the vectors' sizes.

    Raises:
        ValueError: As `feature_maps` does.
    """
    base, images, x = _backbone_on_images(backbone, recipe, image_shape, weights)
    maps = feature_maps(base, recipe.depths)
    frozen = keras.Model(base.input, maps, name=base.name)
    frozen.trainable = False
    pool, dtype = layers.GlobalAveragePooling2D, full_precision()
    maps = keras.tree.flatten(frozen(x, training=False))
    vectors = [pool(dtype=dtype)(each) for each in maps]
    joined = vectors[0]
    if len(vectors) > 1:
        joined = layers.Concatenate(name="depths", dtype=dtype)(vectors)
    sizes = [vector.shape[-1] for vector in vectors]
    return keras.Model(images, joined, name=f"{role}_stem"), sizes


def _backbone_on_images(backbone, recipe, image_shape, weights):
    """Returns a backbone, an input for images, and these as the backbone takes them."""
    size = recipe.network_size or network_size(backbone, image_shape)
    base = backbone.build(size, weights=weights)
    images, dtype = keras.Input(image_shape, name="images"), full_precision()
    x = images
    if image_shape[:2] != (size, size):
        x = layers.Resizing(size, size, name="resizing", dtype=dtype)(x)
    if recipe.own_preprocessing:
        x = backbones.BackbonePreprocessing(
            backbone.name, name="preprocessing", dtype=dtype
        )(x)
    else:
        x = layers.Rescaling(1 / 255, name="rescaling", dtype=dtype)(x)
    return base, images, x


def _stem_and_tail(backbone, recipe, image_shape, weights, *, role):
    """Returns models from images to features, and from features to one vector."""
    base, images, x = _backbone_on_images(backbone, recipe, image_shape, weights)
    pool = layers.GlobalAveragePooling2D(name="pool", dtype=full_precision())
    base_stem, base_tail = backbones.cut(base, recipe.trained_layers)
    frontier = inputs_like(base_tail.input)
    vector = pool(InferenceMode(base_tail, name=f"{role}_trained_layers")(frontier))
    return (
        keras.Model(images, base_stem(x, training=False), name=f"{role}_stem"),
        keras.Model(frontier, vector, name=f"{role}_backbone_tail"),
    )
