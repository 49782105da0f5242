"""Features of the images of one trial, which its fits share."""

import os
from collections.abc import Iterator

import numpy as np

from egan_keras import features
from egan_keras.data import LazyRows
from egan_keras.data.lazy import fingerprint, in_batches

_MINORITY = "minority"
_BATCH_SIZE = 128


class TrialFeatures(features.FeatureStore):
    """Features of the images of one trial, kept between its fits.

    Files in a folder are shared with the other trials of a search. What they hold is
    read into memory where there is room, and each minority image is recognised by its
    pixels, so that no fit runs a backbone again.

    Args:
        place: As in `FeatureStore`.
        minority: All minority images that a fit may be given, mirrored ones too,
            (n, h, w, 3).
    """

    def __init__(
        self, place: str | os.PathLike, minority: np.ndarray | LazyRows
    ) -> None:
        super().__init__(place, verbose=0)
        self._room = features.FeatureStore("auto", verbose=0)
        self._minority = minority
        self._row_of = {mark: row for row, mark in enumerate(_marks(minority))}
        self._kept: dict[tuple, features.Features] = {}

    def features(self, images, compute, what, *, show=True) -> features.Features:
        """Returns features as `FeatureStore.features` does."""
        # A fit has no stem that another fit of the trial has not.
        stem = type(compute), *map(id, compute.stem.weights)
        if what == _MINORITY:
            if (stem, what) not in self._kept:
                found = super().features(self._minority, compute, what)
                self._kept[stem, what] = [np.asarray(array) for array in found]
            rows = [self._row_of[mark] for mark in _marks(images)]
            return [array[rows] for array in self._kept[stem, what]]
        if (stem, what) not in self._kept:
            found = super().features(images, compute, what, show=show)
            self._kept[stem, what] = [self._in_memory(array) for array in found]
        # Standardisation changes arrays in place.
        return [
            array if isinstance(array, LazyRows) else array.copy()
            for array in self._kept[stem, what]
        ]

    def _in_memory(self, array):
        return array if array.nbytes > self._room.memory_limit else np.asarray(array)


def _marks(images: np.ndarray | LazyRows) -> Iterator[str]:
    """Yields a fingerprint of each image's pixels."""
    for batch in in_batches(images, _BATCH_SIZE):
        for image in batch:
            yield fingerprint(iter([np.ascontiguousarray(image).data.cast("B")]))
