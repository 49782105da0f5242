"""Rows of features, which a small network trains on as others do on images."""

from collections.abc import Sequence

import numpy as np

from egan_keras import data
from egan_keras.features.stems import Features


class FeatureRows(data.LazyRows):
    """Vectors of images and, flat behind them, maps, which are read when asked for.

    Args:
        vectors: (n, d), in memory.
        maps: For each depth (n, h, w, c), an array or lazy.
    """

    def __init__(self, vectors: np.ndarray, maps: Features) -> None:
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
