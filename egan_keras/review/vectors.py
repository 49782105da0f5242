"""Vectors that tell images apart, for the order in which they are shown."""

import numpy as np

from egan_keras import data, features
from egan_keras.model import EGAN

# So many numbers tell images apart.
_COMPACT, _MOST_ROWS = 32, 2000


def compact(vectors: np.ndarray) -> np.ndarray:
    """Returns vectors (n, d) in at most 32 numbers, those in which they differ most."""
    step = max(1, len(vectors) // _MOST_ROWS)
    some = vectors[::step].astype(np.float64)
    mean, deviation = some.mean(axis=0), some.std(axis=0) + 1e-6
    directions = np.linalg.svd((some - mean) / deviation, full_matrices=False)[2]
    return ((vectors - mean) / deviation @ directions[:_COMPACT].T).astype(np.float32)


def pooled_vectors(
    model: EGAN, images: np.ndarray | data.LazyRows, store: features.FeatureStore
) -> np.ndarray:
    """Returns what frozen layers make of images, averaged over places, (n, d).

    Of a model whose backbones are trained above a cut, these are what is below it.
    """
    stem = features.compiled(model.discriminator.stem)
    found = store.features(images, stem, "unlabelled")
    parts = [np.asarray(each).reshape(len(each), -1, each.shape[-1]) for each in found]
    return np.concatenate([part.mean(axis=1) for part in parts], axis=1)
