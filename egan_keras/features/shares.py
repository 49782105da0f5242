"""Features that several machines compute together, each image once.

Each worker computes the features of its share of the images, and keeps them as it would
those of its own images: in memory, or in files that a later start on the same machine
reads. Then the shares are sent to all workers, since training may give any row to any
worker. Nothing is asked of the machines but the connection that training needs anyway;
a folder that all share would have to be waited for, and missed where there is none.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from egan_keras.data.lazy import FileRows, SelectedRows
from egan_keras.features.cache import FeatureCache, Images
from egan_keras.features.stems import Features, StemFunction
from egan_keras.features.workers import Workers

_ROWS_COMPARED = 64


class SharedCache:
    """A `FeatureCache` whose work is divided among workers.

    Args:
        cache: Where this worker keeps its share.
        workers: All workers.
    """

    def __init__(self, cache: FeatureCache, workers: Workers) -> None:
        self._cache = cache
        self._workers = workers

    @property
    def folder(self) -> Path:
        """The folder for files."""
        return self._cache.folder

    @property
    def memory_limit(self) -> float:
        """Bytes of features above which they go to files."""
        return self._cache.memory_limit

    def divided(self, compute: Callable) -> Callable:
        """Returns a function that computes features of images with all workers.

        All of them must be given the same images; each computes some.
        """

        def compute_together(images: np.ndarray) -> list[np.ndarray]:
            self._workers.check_alike(images, "images")
            bounds = self._bounds(len(images))
            first, last = bounds[self._workers.index : self._workers.index + 2]
            return [self._workers.gathered(x) for x in compute(images[first:last])]

        return compute_together

    def features(
        self, images: Images, compute: StemFunction, what: str, *, show: bool = True
    ) -> Features:
        """Returns the features of all images, as `FeatureCache.features` does.

        Raises:
            ValueError: If the workers do not see the same images.
        """
        sample = np.unique(np.linspace(0, len(images) - 1, _ROWS_COMPARED).astype(int))
        self._workers.check_alike(images[sample], f"{what} images")
        bounds = self._bounds(len(images))
        first, last = bounds[self._workers.index : self._workers.index + 2]
        own = SelectedRows(images, np.arange(first, last))
        what = f"{what} (worker {self._workers.index + 1} of {self._workers.count})"
        shares = self._cache.features(own, compute, what, show=show)
        return self._joined(shares, np.diff(bounds).tolist())

    def _bounds(self, rows: int) -> list[int]:
        count = self._workers.count
        return [worker * rows // count for worker in range(count + 1)]

    def _joined(self, shares: Features, counts: list[int]) -> Features:
        total = sum(counts)
        row_bytes = sum(
            int(np.prod(each.shape[1:])) * each.dtype.itemsize for each in shares
        )
        types = [((total, *each.shape[1:]), each.dtype) for each in shares]
        if total * row_bytes <= self.memory_limit:
            arrays = [np.empty(shape, dtype) for shape, dtype in types]

            def keep(number: int, place: int, rows: np.ndarray) -> None:
                arrays[number][place : place + len(rows)] = rows

            self._workers.joined(shares, counts, keep)
            return arrays
        folder = self.folder.expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        files = [tempfile.TemporaryFile(dir=folder) for _ in types]

        def write(number: int, place: int, rows: np.ndarray) -> None:
            if len(rows):
                files[number].seek(place * rows[0].nbytes)
                files[number].write(np.ascontiguousarray(rows).data)

        self._workers.joined(shares, counts, write)
        return [
            FileRows(file, 0, shape, dtype)
            for file, (shape, dtype) in zip(files, types, strict=True)
        ]
