"""Frozen features: what a stem puts out, computed once, in memory.

A stem is frozen, so its output depends on the image alone. Features are lists of
arrays, one for each tensor on the stem's frontier; images themselves are the features
of a network without a stem.
"""

import time
from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

Features = list[np.ndarray]
StemFunction = Callable[[np.ndarray], Features]

_STEM_BATCH_SIZE = 128


def stem_function(stem: keras.Model) -> StemFunction:
    """Returns a compiled function from images to the stem's features.

    Args:
        stem: Model from images (n, h, w, 3) to one tensor or several.
    """
    signature = tf.TensorSpec((None, *stem.input_shape[1:]), stem.inputs[0].dtype)

    @tf.function(input_signature=[signature])
    def run(images):
        return keras.tree.flatten(stem(images, training=False))

    def compute(images: np.ndarray) -> Features:
        return [tensor.numpy() for tensor in run(tf.cast(images, signature.dtype))]

    return compute


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


def _unwrap(tensors: list):
    """Returns one tensor alone and several as a tuple, as tf.data takes them."""
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def training_dataset(
    majority: Features,
    minority: Features,
    known_minority: Features,
    *,
    batch_size: int,
    minority_batch_size: int | None,
    minimum_steps: int = 1,
    shuffle: bool = True,
) -> tf.data.Dataset:
    """Returns batches of majority, minority and known minority, for one epoch.

    An epoch passes over the majority once, or as often as the fewest steps need. The
    minority is drawn again and again.

    Args:
        majority: Features of n majority images, from the discriminator's stem.
        minority: Features of m minority images, from the generator's stem.
        known_minority: Features of the same images, from the discriminator's stem.
        batch_size: Majority images, and known minority images at most, a step.
        minority_batch_size: Minority images a step; `None` gives all m at each.
        minimum_steps: Steps of an epoch at least.
        shuffle: Whether each epoch has an order of its own.
    """
    n_majority, n_minority = len(majority[0]), len(minority[0])
    batch_size = min(batch_size, n_majority)
    rows = max(n_majority, minimum_steps * batch_size)
    steps = -(-rows // batch_size)
    known_batch_size = batch_size if n_minority > batch_size else None
    dataset = tf.data.Dataset.zip(
        _batches(majority, batch_size, rows, shuffle),
        _drawn(minority, minority_batch_size, steps, shuffle),
        _drawn(known_minority, known_batch_size, steps, shuffle),
    )
    return dataset.prefetch(tf.data.AUTOTUNE)


def _batches(
    features: Features, batch_size: int, rows: int, shuffle: bool
) -> tf.data.Dataset:
    """Returns batches of so many rows in all, going round where there are fewer.

    The rows are finite: where tf.data reads ahead in endless ones, how far it comes
    would decide the order of the next epoch, and no run would repeat another.
    """
    indices = tf.data.Dataset.range(len(features[0])).repeat().take(rows)
    if shuffle:
        indices = indices.shuffle(rows)
    return indices.batch(batch_size).map(_gatherer(features))


def _drawn(
    features: Features, batch_size: int | None, steps: int, shuffle: bool
) -> tf.data.Dataset:
    """Returns a batch for each step; without a size, all rows at each."""
    if batch_size is None:
        fixed = _unwrap([tf.constant(array) for array in features])
        return tf.data.Dataset.from_tensors(fixed).repeat(steps)
    return _batches(features, batch_size, steps * batch_size, shuffle)


def _gatherer(features: Features):
    tensors = [tf.constant(array) for array in features]

    def gather(indices):
        return _unwrap([tf.gather(tensor, indices) for tensor in tensors])

    return gather


def labelled_dataset(
    features: Features, labels: np.ndarray, *, batch_size: int
) -> tf.data.Dataset:
    """Returns batches of (features, labels) in their order."""
    indices = tf.data.Dataset.range(len(labels))
    gather, label_tensor = _gatherer(features), tf.constant(labels)
    return indices.batch(batch_size).map(
        lambda i: (gather(i), tf.gather(label_tensor, i))
    )
