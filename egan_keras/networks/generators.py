"""The generators' networks: encoder, latent vector, decoder."""

import keras
from keras import layers

from egan_keras.networks.cut_network import CutNetwork
from egan_keras.networks.layers import MeanSquarePenalty
from egan_keras.networks.precision import full_precision
from egan_keras.networks.recipes import Recipe

_LEAK = 0.2
_DECODED_SIDE = 32


def image_generator(stem, encoder_tail, recipe, discriminator) -> CutNetwork:
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


def feature_generator(encoder_stem, encoder_tail, recipe, discriminator):
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
    encoded = own if encoder_stem is discriminator.stem else encoder_stem(images)
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


def _latent(vector, recipe: Recipe, *, activation: bool = False):
    latent = layers.Dense(recipe.latent_size, name="latent")(vector)
    if activation:
        latent = layers.LeakyReLU(_LEAK)(latent)
    if recipe.latent_noise:
        latent = layers.GaussianNoise(recipe.latent_noise, name="noise")(latent)
    return latent


def inputs_like(structure):
    """Returns inputs of the same shapes as tensors, or as one shape tuple."""
    if isinstance(structure, tuple):
        return keras.Input(structure[1:])
    return keras.tree.map_structure(
        lambda tensor: keras.Input(tensor.shape[1:]), structure
    )
