"""Discriminators and generators, built as a recipe says, on images or on features."""

import math
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import layers, ops

from egan_keras.backbones import Backbone
from egan_keras.keras_hooks import full_precision
from egan_keras.networks.cut_network import (
    CutNetwork,
    Weights,
    inputs_like,
    pooled_features,
    stem_and_tail,
)
from egan_keras.networks.evidence import WeighedEvidence
from egan_keras.networks.majority import MajorityAwareScore, MajorityStandardization
from egan_keras.networks.places import PlaceEvidence
from egan_keras.networks.recipes import Recipe

_LEAK = 0.2
_DECODED_SIDE = 32


def build(
    encoder: str | Backbone,
    discriminator: str | Backbone,
    recipe: Recipe,
    image_shape: tuple[int, ...],
    *,
    weights: Weights | Mapping[str, Weights] = "imagenet",
) -> tuple[CutNetwork, CutNetwork]:
    """Builds a generator and a discriminator from backbones.

    Arguments and errors are those of `EGAN.from_backbones`.

    Returns:
        `(generator, discriminator)`.
    """
    if len(image_shape) != 3 or image_shape[-1] != 3:
        raise ValueError(
            "Images must be RGB; expected image_shape=(height, width, 3). "
            f"Received: image_shape={image_shape}."
        )
    _check_choices(recipe)
    encoder, backbone = Backbone.parse(encoder), Backbone.parse(discriminator)
    ours = backbone, recipe, image_shape, _weights_of(backbone, weights)
    theirs = encoder, recipe, image_shape, _weights_of(encoder, weights)
    if recipe.trained_layers:
        discriminator = _discriminator(*stem_and_tail(*ours, "discriminator"), recipe)
        stem, tail = stem_and_tail(*theirs, "encoder")
    else:
        stem, sizes = pooled_features(
            *ours, role="discriminator", place_depths=recipe.place_depths
        )
        side = max(image_shape[:2])
        discriminator = _discriminator_on_vectors(stem, sizes, recipe, side=side)
        # The same backbone, frozen as a whole, serves both networks.
        stem = discriminator.stem
        if encoder != backbone:
            stem, _ = pooled_features(*theirs, role="encoder")
        tail = _identity(stem.output_shape, "encoder_backbone_tail")
    make = _image_generator if recipe.generates == "images" else _feature_generator
    return make(stem, tail, recipe, discriminator), discriminator


def build_on_features(
    encoder_size: int | None,
    discriminator_size: int | Sequence[int],
    recipe: Recipe,
    map_shapes: Sequence[tuple[int, int, int]] = (),
    **seen,
) -> tuple[CutNetwork, CutNetwork]:
    """Builds a generator and a discriminator that read rows of features.

    They are what `build` puts behind frozen backbones, and take what those put out.
    Arguments and errors are those of `EGAN.from_features`.

    Returns:
        `(generator, discriminator)`.
    """
    if recipe.trained_layers or recipe.generates != "features":
        raise ValueError(
            "Only a recipe that keeps the backbones frozen and generates features can "
            "be trained on features; expected trained_layers=0 and "
            f"generates='features'. Received: trained_layers={recipe.trained_layers!r},"
            f" generates={recipe.generates!r}. Train it on images."
        )
    several = isinstance(discriminator_size, Sequence)
    sizes = list(discriminator_size) if several else [discriminator_size]
    if min(sizes, default=0) < 1 or (encoder_size is not None and encoder_size < 1):
        raise ValueError(
            "Feature vectors must have one number at least. Received: "
            f"encoder_size={encoder_size!r}, discriminator_size={discriminator_size!r}."
        )
    shapes = [(encoder_size or 0,), (sum(sizes),), *map(tuple, map_shapes)]
    ends = np.cumsum([math.prod(shape) for shape in shapes]).tolist()
    rows = keras.Input((ends[-1],), name="rows")
    columns = [
        _columns(rows, start, shape)
        for start, shape in zip(ends, shapes[1:], strict=False)
    ]
    stem = keras.Model(rows, columns if map_shapes else columns[0])
    discriminator = _discriminator_on_vectors(stem, sizes, recipe, **seen)
    stem = discriminator.stem
    if encoder_size:
        stem = keras.Model(rows, _columns(rows, 0, shapes[0]))
    tail = _identity(stem.output_shape, "encoder_backbone_tail")
    return _feature_generator(stem, tail, recipe, discriminator), discriminator


def _check_choices(recipe: Recipe) -> None:
    """Refuses kinds of fakes that are unknown, and choices that exclude each other."""
    if recipe.generates not in ("images", "features"):
        raise ValueError(
            "Unknown kind of fakes; expected one of images, features. "
            f"Received: generates={recipe.generates!r}."
        )
    needs_vectors = {
        "depths": recipe.depths > 1,
        "unit_length": recipe.unit_length,
        "standardize": recipe.standardize,
        "distance_weight": recipe.distance_weight > 0,
        "place_depths": recipe.place_depths > 0,
    }
    if recipe.trained_layers and any(needs_vectors.values()):
        chosen = ["trained_layers", *(x for x, needs in needs_vectors.items() if needs)]
        raise ValueError(
            "Several depths, unit length, standardisation, places and the distance "
            "from the majority need a frozen backbone; expected trained_layers=0, or "
            "depths=1, unit_length=False, standardize=False, place_depths=0 and "
            "distance_weight=0. "
            f"Received: {', '.join(f'{x}={getattr(recipe, x)!r}' for x in chosen)}."
        )


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


def _columns(rows, start: int, shape: tuple[int, ...]):
    """Returns some columns of rows, in a shape."""
    size, dtype = math.prod(shape), full_precision()
    if size == rows.shape[1]:
        return rows
    column = layers.Reshape((rows.shape[1], 1), dtype=dtype)(rows)
    crop = layers.Cropping1D((start, rows.shape[1] - start - size), dtype=dtype)
    return layers.Reshape(shape, dtype=dtype)(crop(column))


def _identity(shape: tuple, name: str) -> keras.Model:
    vector = inputs_like(shape)
    return keras.Model(vector, vector, name=name)


def _discriminator_on_vectors(stem, sizes: Sequence[int], recipe, **seen) -> CutNetwork:
    """Builds a discriminator behind a network of vectors side by side, and maps."""
    (features, *maps), dtype = keras.tree.flatten(stem.output), full_precision()
    if recipe.unit_length:
        features = UnitLength(sizes, name="unit_length", dtype=dtype)(features)
    if recipe.standardize:
        standardization = MajorityStandardization(name="standardization", dtype=dtype)
        features = standardization(features)
    evidence_size = 0
    if maps:
        evidence = PlaceEvidence(name="places", dtype=dtype)(maps)
        evidence_size = evidence.shape[-1]
        join = layers.Concatenate(name="row", dtype=dtype)
        features = join([features, evidence])
    stem = keras.Model(stem.input, features, name=stem.name)
    tail = _identity(stem.output_shape, "discriminator_backbone_tail")
    return _discriminator(stem, tail, recipe, evidence_size=evidence_size, **seen)


def _discriminator(stem, backbone_tail, recipe, **seen) -> CutNetwork:
    """Builds what follows a stem: trained layers to one vector, dropout, the score."""
    features, dtype = inputs_like(backbone_tail.input), full_precision()
    vector = backbone_tail(features)
    vector = layers.Dropout(recipe.dropout, name="dropout", dtype=dtype)(vector)
    if seen.get("evidence_size"):
        score = WeighedEvidence(
            recipe.distance_weight, **seen, name="score", dtype=dtype
        )
    elif recipe.distance_weight:
        score = MajorityAwareScore(recipe.distance_weight, name="score", dtype=dtype)
    else:
        score = layers.Dense(1, name="score", dtype=dtype)
    tail = keras.Model(features, score(vector), name="discriminator_tail")
    return CutNetwork(stem, tail, name="discriminator")


def _image_generator(stem, encoder_tail, recipe, discriminator) -> CutNetwork:
    """Encoder, latent, and transposed convolutions to an image of pixels 0..255."""
    image_shape = discriminator.stem.input_shape[1:]
    features = inputs_like(encoder_tail.input)
    x = _latent(encoder_tail(features), recipe)
    side = _DECODED_SIDE // 4
    x = layers.Dense(side * side * recipe.decoder_channels, name="decoder")(x)
    x = layers.LeakyReLU(_LEAK)(x)
    x = layers.Reshape((side, side, recipe.decoder_channels))(x)
    x = layers.Conv2DTranspose(64, 3, strides=2, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.LeakyReLU(_LEAK)(x)
    x = layers.Conv2DTranspose(3, 3, strides=2, padding="same")(x)
    x = layers.BatchNormalization()(x)
    dtype = full_precision()
    x = layers.Activation("sigmoid", dtype=dtype)(x)
    x = layers.Rescaling(255.0, name="pixels", dtype=dtype)(x)
    if image_shape[:2] != (_DECODED_SIDE, _DECODED_SIDE):
        x = layers.Resizing(*image_shape[:2], name="image_size", dtype=dtype)(x)
    tail = keras.Model(features, x, name="generator_tail")
    return CutNetwork(stem, tail, name="generator")


def _feature_generator(stem, encoder_tail, recipe, discriminator) -> CutNetwork:
    """Encoder, latent with noise, and a residual on the minority's own features."""
    shape = discriminator.stem.output_shape
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise ValueError(
            "A generator of features needs a discriminator whose stem puts out one "
            f"vector an image. Received: features of shape {shape}. Use "
            "trained_layers=0, or generates='images'."
        )
    images = keras.Input(discriminator.stem.input_shape[1:], name="images")
    own = discriminator.stem(images)
    encoded = own if stem is discriminator.stem else stem(images)
    stem = keras.Model(images, [encoded, own], name="generator_stem")
    features, own = inputs_like(encoder_tail.input), inputs_like(shape)
    x = layers.LayerNormalization(name="encoder_normalization")(encoder_tail(features))
    x = _latent(x, recipe, activation=True)
    x = layers.Dense(recipe.latent_size, name="decoder")(x)
    x = layers.LeakyReLU(_LEAK)(x)
    residual = layers.Dense(shape[-1], name="residual")(x)
    dtype = full_precision()
    penalty = MeanSquarePenalty(
        recipe.reconstruction, name="reconstruction", dtype=dtype
    )
    fakes = layers.Add(name="fakes", dtype=dtype)([own, penalty(residual)])
    tail = keras.Model([features, own], fakes, name="generator_tail")
    return CutNetwork(stem, tail, name="generator")


def _latent(vector, recipe, *, activation: bool = False):
    latent = layers.Dense(recipe.latent_size, name="latent")(vector)
    if activation:
        latent = layers.LeakyReLU(_LEAK)(latent)
    if recipe.latent_noise:
        latent = layers.GaussianNoise(recipe.latent_noise, name="noise")(latent)
    return latent


@keras.saving.register_keras_serializable("egan_keras")
class UnitLength(layers.Layer):
    """Scales vectors that stand side by side to length 1, each by itself.

    The length of a pooled feature vector tells more of an image's contrast than of
    what it shows. `sizes` are the numbers of features of each.
    """

    def __init__(self, sizes: Sequence[int], **kwargs) -> None:
        super().__init__(**kwargs)
        self.sizes = tuple(sizes)

    def call(self, features):
        """Returns the scaled vectors, (n, sum of sizes)."""
        ends = np.cumsum(self.sizes)[:-1].tolist()
        vectors = ops.split(features, ends, axis=-1) if ends else [features]
        return ops.concatenate([ops.normalize(vector) for vector in vectors], axis=-1)

    def get_config(self) -> dict:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "sizes": self.sizes}


@keras.saving.register_keras_serializable("egan_keras")
class MeanSquarePenalty(layers.Layer):
    """Passes its input on and adds its mean square, times `weight`, to the losses.

    On the residual between a fake and the minority image that it was made from, this
    is the reconstruction term of the generator's loss.
    """

    def __init__(self, weight: float, **kwargs) -> None:
        super().__init__(**kwargs)
        self.weight = weight

    def call(self, inputs):
        """Returns the inputs."""
        self.add_loss(self.weight * ops.mean(ops.square(inputs)))
        return inputs

    def get_config(self) -> dict:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "weight": self.weight}
