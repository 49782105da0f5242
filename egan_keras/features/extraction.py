"""Labelled images through a stem, once, in their order."""

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np

from egan_keras import data
from egan_keras.data.lazy import FileRows, SelectedRows
from egan_keras.features.cache import STEM_BATCH_SIZE, FeatureStore
from egan_keras.features.stems import Features, StemFunction
from egan_keras.files import telling_full_disk

Batches = data.ArrayBatches | data.DatasetBatches


def by_class(
    batches: Batches,
    compute: StemFunction | None,
    *,
    cache: FeatureStore | None = None,
    verbose: int | str = 1,
) -> tuple[Features, Features]:
    """Splits the classes and computes the majority's features in one pass.

    Args:
        batches: Batches of images (n, h, w, 3) and labels (n,), 0 or 1.
        compute: Function for the majority images, see `StemFunction`; `None` keeps
            the images themselves.
        cache: Where the features go; `None` is memory. What a dataset's batches give
            goes to a temporary file where memory is not the place, since a dataset
            cannot be recognised by a later run.
        verbose: 0 is silent; 1 and "auto" show progress; 2 does not. Unless silent, a
            line says how many images were computed, how long it took and how much
            memory they fill.

    Returns:
        The majority's features, and the minority's images as a list of one array.
        Either is lazy where it is not in memory.
    """
    cache = cache or FeatureStore("memory", verbose=verbose)
    if batches.labels is None:
        return _by_class_in_one_pass(batches, compute, cache, verbose)
    images = batches.images
    majority, minority = (np.flatnonzero(batches.labels == label) for label in (0, 1))
    if isinstance(images, data.LazyRows):
        minority = images.select(minority)
        majority = images.select(majority)
    else:
        minority = images[minority]
        # With features of its own the majority needs no second copy.
        majority = SelectedRows(images, majority) if compute else images[majority]
    if compute:
        return cache.features(majority, compute, "majority"), [minority]
    return [majority], [minority]


def _by_class_in_one_pass(
    batches: Batches,
    compute: StemFunction | None,
    cache: FeatureStore,
    verbose: int | str,
) -> tuple[Features, Features]:
    """Does what `by_class` says for labels that only the batches know."""
    started = time.perf_counter()
    majority = _Buffer(compute or _images_themselves, cache)
    minority = _Buffer(_images_themselves, cache)
    message = "Computing frozen features" if compute else "Reading images"
    for images, labels in _shown(batches, verbose, message):
        majority.add(images[labels == 0])
        minority.add(images[labels == 1])
    result = majority.result()
    if verbose and compute:
        place = f", in a temporary file in {cache.folder}" if majority.on_disk else ""
        print(
            f"Frozen features of {majority.count:,} majority images: "
            f"{sum(array.nbytes for array in result) / 1e6:,.1f} MB{place}, computed "
            f"once in {time.perf_counter() - started:.1f} s instead of in every epoch."
        )
        if majority.on_disk:
            print(
                "A later run computes them again, because a tf.data.Dataset cannot be "
                "recognised: pass arrays, or images of load_folder(..., lazy=True)."
            )
    return result, minority.result()


def in_batches(
    compute: StemFunction, images: np.ndarray | data.LazyRows
) -> list[np.ndarray]:
    """Returns the features of images, computed batch by batch, in memory."""
    return FeatureStore("memory", verbose=0).features(images, compute, "")


def labelled(
    batches: Batches,
    compute: StemFunction,
    *,
    cache: FeatureStore | None = None,
) -> tuple[Features, np.ndarray]:
    """Computes the features of labelled images, keeping their order.

    Args:
        batches: Batches of images (n, h, w, 3) and labels (n,), 0 or 1.
        compute: See `StemFunction`.
        cache: As in `by_class`; `None` is memory, in silence.

    Returns:
        The features and the labels, int32 (n,).
    """
    cache = cache or FeatureStore("memory", verbose=0)
    if batches.labels is not None:
        return cache.features(batches.images, compute, "validation"), batches.labels
    buffer, labels = _Buffer(compute, cache), []
    for images, batch_labels in batches:
        buffer.add(images)
        labels.append(batch_labels)
    return buffer.result(), np.concatenate(labels)


class _Buffer:
    """Gathers images of one class and turns full batches into features.

    Where they exceed the cache's share of memory, they go on in temporary files,
    which have no name and so vanish with the program, however it ends.
    """

    def __init__(self, compute: StemFunction, cache: FeatureStore) -> None:
        self._compute = compute
        self._folder = cache.folder.expanduser()
        self._limit = cache.memory_limit
        self._images: list[np.ndarray] = []
        self._features: list[list[np.ndarray]] = []
        self._files: list | None = None
        self._types: list | None = None
        self.count = 0

    @property
    def on_disk(self) -> bool:
        """Whether the features are in temporary files."""
        return self._files is not None

    def add(self, images: np.ndarray) -> None:
        if len(images):
            self._images.append(images)
            self.count += len(images)
        if sum(map(len, self._images)) >= STEM_BATCH_SIZE:
            self._flush()

    def _flush(self) -> None:
        if self._images:
            batch = self._compute(np.concatenate(self._images))
            self._types = [(array.shape[1:], array.dtype) for array in batch]
            self._features.append(batch)
            self._images = []
            self._limit -= sum(array.nbytes for array in batch)
        if self._limit < 0 and self._features:
            self._spill()

    def _spill(self) -> None:
        """Moves the features from memory to the files."""
        with telling_full_disk(Path(self._folder) / "features"):
            if self._files is None:
                Path(self._folder).mkdir(parents=True, exist_ok=True)
                self._files = [
                    tempfile.TemporaryFile(dir=self._folder) for _ in self._types
                ]
            for batch in self._features:
                for file, array in zip(self._files, batch, strict=True):
                    file.write(np.ascontiguousarray(array).data)
                    file.flush()
        self._features = []

    def result(self) -> Features:
        self._flush()
        if self._files is not None:
            return [
                FileRows(file, 0, (self.count, *shape), dtype)
                for file, (shape, dtype) in zip(self._files, self._types, strict=True)
            ]
        if not self._features:
            return [np.empty((0,), "float32")]
        return [np.concatenate(parts) for parts in zip(*self._features, strict=True)]


def _images_themselves(images: np.ndarray) -> list[np.ndarray]:
    return [images]


def _shown(batches: Batches, verbose: int | str, message: str) -> Iterable:
    if verbose:
        print(message)
    # As in Keras, 2 is for log files.
    if verbose in (0, 2):
        yield from batches
        return
    progress = keras.utils.Progbar(getattr(batches, "n_batches", None))
    for batch in batches:
        yield batch
        progress.add(1)
    if progress.target is None:
        progress.update(progress._seen_so_far, finalize=True)
