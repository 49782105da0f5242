"""Batches of features for training and validation."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from egan_keras.data import LazyRows
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
    on_device: bool = True,
) -> tuple[tf.data.Dataset, Tables | None]:
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
        on_device: Whether features may be kept on the device that trains.

    Returns:
        The dataset and, where the features are kept on the device, the tables of which
        its batches hold the numbers of rows; else its batches hold rows.
    """
    n_majority, n_minority = len(majority[0]), len(minority[0])
    batch_size = min(batch_size, n_majority)
    rows = max(n_majority, minimum_steps * batch_size)
    steps = -(-rows // batch_size)
    known_batch_size = batch_size if n_minority > batch_size else None
    dataset = tf.data.Dataset.zip(
        (
            _order(n_majority, batch_size, rows, shuffle),
            _order_at_each_step(n_minority, minority_batch_size, steps, shuffle),
            _order_at_each_step(n_minority, known_batch_size, steps, shuffle),
        )
    )
    parts = (majority, minority, known_minority)
    kept = tables(parts) if on_device else None
    if kept is None:
        sizes = (batch_size, minority_batch_size, known_batch_size)
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
        return tuple(read(each) for read, each in zip(readers, numbers, strict=True))

    return read


def _fixed(features: Features) -> Callable:
    tensors = unwrapped([tf.constant(np.asarray(array)) for array in features])
    return lambda numbers: tensors


def _gatherer(features: Features) -> Callable:
    if any(isinstance(rows, LazyRows) for rows in features):
        return reader(features)
    tensors = [tf.constant(array) for array in features]

    def gather(indices):
        return unwrapped([tf.gather(tensor, indices) for tensor in tensors])

    return gather


def _order_at_each_step(
    count: int, batch_size: int | None, steps: int, shuffle: bool
) -> tf.data.Dataset:
    """Returns numbers below a count for each step, all of them without a size."""
    if batch_size is None:
        return tf.data.Dataset.from_tensors(tf.range(count)).repeat(steps)
    return _order(count, batch_size, steps * batch_size, shuffle)


def _order(count: int, batch_size: int, rows: int, shuffle: bool) -> tf.data.Dataset:
    """Returns batches of numbers below a count, going round where there are fewer.

    An epoch's order is one tensor: to draw its numbers one by one takes as long as a
    step. Its seed is drawn, so that no epoch repeats another, but every run does.
    """

    def order(seed):
        numbers = tf.range(rows)
        if shuffle:
            places = tf.random.stateless_uniform(
                (rows,), seed, minval=None, maxval=None, dtype=tf.int64
            )
            numbers = tf.argsort(places)
        return numbers % count

    seeds = tf.data.Dataset.random(rerandomize_each_iteration=True).batch(2).take(1)
    return seeds.map(order).rebatch(batch_size)


def _all_of(features: Features):
    fixed = unwrapped([tf.constant(np.asarray(array)) for array in features])
    return lambda numbers: fixed


def labelled_dataset(
    features: Features, labels: np.ndarray, *, batch_size: int
) -> tf.data.Dataset:
    """Returns batches of (features, labels) in their order."""
    indices = tf.data.Dataset.range(len(labels))
    gather, label_tensor = _gatherer(features), tf.constant(labels)
    return indices.batch(batch_size).map(
        lambda i: (gather(i), tf.gather(label_tensor, i))
    )
