"""Batches of features for training and validation."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from egan_keras.data import LazyRows
from egan_keras.features.orders import RowNumbers, epoch_order
from egan_keras.features.reading import reader
from egan_keras.features.stems import Features
from egan_keras.features.tables import Tables, tables, unwrapped


def training_dataset(
    majority: Features,
    minority: Features,
    known_minority: Features,
    *,
    batch_size: int,
    minority_batch_size: int | None,
    minimum_steps: int = 1,
    shuffle: bool = True,
) -> tuple[tf.data.Dataset | RowNumbers, Tables | None]:
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

    Returns:
        The dataset and, where the features are kept on the device, the tables from
        which steps take rows: its batches hold their numbers, of those parts that are
        not taken whole. Else its batches hold rows.
    """
    n_majority, n_minority = len(majority[0]), len(minority[0])
    batch_size = min(batch_size, n_majority)
    rows = max(n_majority, minimum_steps * batch_size)
    steps = -(-rows // batch_size)
    known_batch_size = batch_size if n_minority > batch_size else None
    parts = (majority, minority, known_minority)
    sizes = (batch_size, minority_batch_size, known_batch_size)
    drawn = [size for size in sizes if size is not None]
    orders = [epoch_order(n_majority, rows, shuffle)]
    orders += [epoch_order(n_minority, steps * size, shuffle) for size in drawn[1:]]
    kept = tables(parts, [size is None for size in sizes])
    if kept is not None and keras.backend.backend() != "tensorflow":
        return RowNumbers(orders, drawn, steps), kept
    batches = [each.rebatch(size) for each, size in zip(orders, drawn, strict=True)]
    dataset = tf.data.Dataset.zip(tuple(batches))
    if kept is None:
        dataset = dataset.map(_reader_of_all(parts, sizes))
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    return dataset.prefetch(tf.data.AUTOTUNE), kept


def _reader_of_all(parts: Sequence[Features], sizes: Sequence[int | None]) -> Callable:
    """Returns a function from numbers to rows of each part, all without a size.

    To call one function for each part takes longer than what they do.
    """
    readers = [
        _fixed(part) if size is None else _gatherer(part)
        for part, size in zip(parts, sizes, strict=True)
    ]

    def read(*numbers):
        left = iter(numbers)
        return tuple(
            read() if size is None else read(next(left))
            for read, size in zip(readers, sizes, strict=True)
        )

    return read


def _fixed(features: Features) -> Callable:
    tensors = unwrapped([tf.constant(np.asarray(array)) for array in features])
    return lambda: tensors


def _gatherer(features: Features) -> Callable:
    if any(isinstance(rows, LazyRows) for rows in features):
        return reader(features)
    tensors = [tf.constant(array) for array in features]

    def gather(indices):
        return unwrapped([tf.gather(tensor, indices) for tensor in tensors])

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
