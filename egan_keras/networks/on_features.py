"""Networks on features that were computed before, in the place of images."""

from collections.abc import Sequence

import keras
from keras import layers

from egan_keras.networks.builders import discriminator_on_vectors
from egan_keras.networks.cut_network import CutNetwork
from egan_keras.networks.generators import feature_generator
from egan_keras.networks.precision import full_precision
from egan_keras.networks.recipes import Recipe


def build_on_features(
    encoder_size: int | None,
    discriminator_size: int | Sequence[int],
    recipe: Recipe,
) -> tuple[CutNetwork, CutNetwork]:
    """Builds a generator and a discriminator that read rows of features.

    They are what `build` puts behind frozen backbones, and take what those put out.

    Args:
        encoder_size: Length of the encoder's feature vectors, which then stand first
            in a row; `None` where both networks read the same vector.
        discriminator_size: Length of the discriminator's feature vectors; several
            lengths where vectors of several depths stand side by side.
        recipe: The choices; its `depths` has no meaning here.

    Returns:
        `(generator, discriminator)`.

    Raises:
        ValueError: If the recipe trains layers of backbones or generates images, or a
            size is not positive.
    """
    if recipe.trained_layers or recipe.generates != "features":
        raise ValueError(
            "Only a recipe that keeps the backbones frozen and generates features can "
            "be trained on features; expected trained_layers=0 and "
            f"generates='features'. Received: trained_layers={recipe.trained_layers!r},"
            f" generates={recipe.generates!r}. Train it on images."
        )
    sizes = [discriminator_size]
    if isinstance(discriminator_size, Sequence):
        sizes = list(discriminator_size)
    if min(sizes, default=0) < 1 or (encoder_size is not None and encoder_size < 1):
        raise ValueError(
            "Feature vectors must have one number at least. Received: "
            f"encoder_size={encoder_size!r}, discriminator_size={discriminator_size!r}."
        )
    skipped, own = encoder_size or 0, sum(sizes)
    stem = _columns(skipped, own, skipped + own)
    discriminator = discriminator_on_vectors(stem, sizes, recipe)
    if encoder_size is None:
        encoder_stem, encoder_size = discriminator.stem, own
    else:
        encoder_stem = _columns(0, encoder_size, skipped + own)
    generator = feature_generator(
        encoder_stem, _identity(encoder_size), recipe, discriminator
    )
    return generator, discriminator


def _identity(size: int) -> keras.Model:
    vector = keras.Input((size,))
    return keras.Model(vector, vector)


def _columns(start: int, size: int, row_size: int) -> keras.Model:
    """Returns a model that takes some columns of rows."""
    rows = keras.Input((row_size,), name="rows")
    if size == row_size:
        return keras.Model(rows, rows)
    dtype = full_precision()
    column = layers.Reshape((row_size, 1), dtype=dtype)(rows)
    crop = layers.Cropping1D((start, row_size - start - size), dtype=dtype)
    return keras.Model(rows, layers.Reshape((size,), dtype=dtype)(crop(column)))
