"""Rows of features of images, computed once, that a small network trains on again."""

from collections.abc import Sequence

import numpy as np

from egan_keras import data, features
from egan_keras.model import EGAN

# So many numbers tell images apart.
_COMPACT, _MOST_ROWS = 32, 2000


class FeatureRows(data.LazyRows):
    """Vectors of images and, flat behind them, maps, which are read when asked for.

    Args:
        vectors: (n, d), in memory.
        maps: For each depth (n, h, w, c), an array or lazy.
    """

    def __init__(self, vectors: np.ndarray, maps: features.Features) -> None:
        self.vectors, self.maps = vectors, maps
        size = vectors.shape[1] + sum(int(np.prod(x.shape[1:])) for x in maps)
        self.shape, self.dtype = (len(vectors), size), np.dtype(np.float32)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        flat = [each[rows].reshape(len(rows), -1) for each in self.maps]
        parts = [self.vectors[rows], *flat]
        return np.concatenate(parts, axis=1, dtype=np.float32)


class JoinedRows(data.LazyRows):
    """Rows of several sets of rows, one set behind the other."""

    def __init__(self, sets: Sequence[data.LazyRows]) -> None:
        self._sets = [each for each in sets if len(each)]
        self._ends = np.cumsum([len(each) for each in self._sets])
        self.shape = (int(self._ends[-1]), *self._sets[0].shape[1:])
        self.dtype = self._sets[0].dtype

    def _read(self, rows: np.ndarray) -> np.ndarray:
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        which = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(which):
            own = which == number
            start = self._ends[number] - len(self._sets[number])
            found[own] = self._sets[number][rows[own] - start]
        return found


def feature_rows(
    model: EGAN,
    images: np.ndarray | data.LazyRows,
    store: features.FeatureStore,
    what: str,
    *,
    show: bool = True,
) -> FeatureRows:
    """Returns what a model's frozen layers make of images, each seen once.

    Args:
        model: A model whose backbones are frozen.
        images: (n, h, w, 3), an array or lazy.
        store: Where the features are kept.
        what: What the images are, for messages.
        show: Whether to show progress.
    """
    stem = features.compiled(model.discriminator.stem)
    compute = stem.recognising_with_maps if stem.maps else stem.recognising
    vectors, *maps, _ = store.features(images, compute, what, show=show)
    return FeatureRows(np.asarray(vectors), maps)


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
