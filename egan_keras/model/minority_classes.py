"""Which of several minority classes an image is most like."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from egan_keras.networks import MajorityAwareScore

_TINY = 1e-12


class MinorityClasses(NamedTuple):
    """A direction away from the majority for each minority class.

    Attributes:
        names: Of the k classes.
        directions: (k, d) float32: the mean of the class's vectors times the inverse of
            the majority's covariance, so long that the majority's deviation along it
            is 1: Fisher's direction.
    """

    names: tuple[str, ...]
    directions: np.ndarray

    @classmethod
    def of(
        cls, head: MajorityAwareScore, vectors: np.ndarray, names: Sequence[str]
    ) -> "MinorityClasses":
        """Returns the directions of minority vectors (n, d) of named classes (n,)."""
        names = np.asarray(names)
        there = np.unique(names)
        directions = []
        for name in there:
            mean = vectors[names == name].mean(axis=0, dtype=np.float64)
            direction = head.whitened(mean)
            directions.append(direction / np.sqrt(mean @ direction + _TINY))
        return cls(tuple(map(str, there)), np.float32(directions))

    def most_like(self, vectors: np.ndarray) -> np.ndarray:
        """Returns of each vector (n, d) the class whose direction it lies along."""
        return np.array(self.names)[np.argmax(vectors @ self.directions.T, axis=1)]

    def names_as_bytes(self) -> np.ndarray:
        """Returns the names as an array that a file of weights can hold."""
        return np.frombuffer(json.dumps(self.names).encode(), np.uint8)

    @classmethod
    def from_bytes(cls, names: np.ndarray, directions: np.ndarray) -> "MinorityClasses":
        """Returns what `names_as_bytes` and the directions came from."""
        return cls(tuple(json.loads(bytes(np.uint8(names)))), np.float32(directions))
