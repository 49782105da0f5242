"""Images through a stem, once, in their order."""

import time
from collections.abc import Iterable

import keras
import numpy as np

from egan_keras.features.stems import Features, StemFunction

_STEM_BATCH_SIZE = 128


class _Buffer:
    """Gathers images of one class and turns full batches into features."""

    def __init__(self, compute: StemFunction) -> None:
        self._compute = compute
        self._images: list[np.ndarray] = []
        self._features: list[Features] = []
        self.count = 0

    def add(self, images: np.ndarray) -> None:
        if len(images):
            self._images.append(images)
            self.count += len(images)
        if sum(map(len, self._images)) >= _STEM_BATCH_SIZE:
            self._flush()

    def _flush(self) -> None:
        if self._images:
            self._features.append(self._compute(np.concatenate(self._images)))
            self._images = []

    def result(self) -> Features:
        self._flush()
        if not self._features:
            return [np.empty((0,), "float32")]
        return [np.concatenate(parts) for parts in zip(*self._features, strict=True)]


def _shown(batches: Iterable, verbose: int, message: str) -> Iterable:
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


def by_class(
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    compute: StemFunction | None,
    *,
    verbose: int | str = 1,
) -> tuple[Features, Features]:
    """Splits the classes and computes the majority's features in one pass.

    Args:
        batches: Batches of images (n, h, w, 3) and labels (n,), 0 or 1.
        compute: Function for the majority images, see `stem_function`; `None` keeps
            the images themselves.
        verbose: 0 is silent; 1 and "auto" show progress; 2 does not. Unless silent, a
            line says how many images were computed, how long it took and how much
            memory they fill.

    Returns:
        The majority's features, and the minority's images as a list of one array.
    """
    started = time.perf_counter()
    majority = _Buffer(compute or _images_themselves)
    minority = _Buffer(_images_themselves)
    message = "Computing frozen features" if compute else "Reading images"
    for images, labels in _shown(batches, verbose, message):
        majority.add(images[labels == 0])
        minority.add(images[labels == 1])
    result = majority.result()
    if verbose and compute:
        print(
            f"Frozen features of {majority.count:,} majority images: "
            f"{sum(array.nbytes for array in result) / 1e6:,.1f} MB, computed once in "
            f"{time.perf_counter() - started:.1f} s instead of in every epoch."
        )
    return result, minority.result()


def _images_themselves(images: np.ndarray) -> Features:
    return [images]


def in_batches(compute: StemFunction, images: np.ndarray) -> Features:
    """Returns the features of an array of images, computed batch by batch."""
    buffer = _Buffer(compute)
    for start in range(0, len(images), _STEM_BATCH_SIZE):
        buffer.add(images[start : start + _STEM_BATCH_SIZE])
    return buffer.result()


def labelled(
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    compute: StemFunction,
) -> tuple[Features, np.ndarray]:
    """Computes the features of labelled images, keeping their order.

    Args:
        batches: Batches of images (n, h, w, 3) and labels (n,), 0 or 1.
        compute: See `stem_function`.

    Returns:
        The features and the labels, int32 (n,).
    """
    buffer, labels = _Buffer(compute), []
    for images, batch_labels in batches:
        buffer.add(images)
        labels.append(batch_labels)
    return buffer.result(), np.concatenate(labels)
