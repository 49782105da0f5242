"""Batches of features for training and validation."""

import numpy as np
import tensorflow as tf

from egan_keras.data import LazyRows
from egan_keras.features.reading import reader
from egan_keras.features.stems import Features


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
    parts = (
        _drawn(majority, batch_size, rows, shuffle),
        _at_each_step(minority, minority_batch_size, steps, shuffle),
        _at_each_step(known_minority, known_batch_size, steps, shuffle),
    )
    orders, readers = zip(*parts, strict=True)

    # One call for all parts: to start three takes longer than what they do.
    def read(*numbers):
        return tuple(read(each) for read, each in zip(readers, numbers, strict=True))

    dataset = tf.data.Dataset.zip(orders).map(read)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    return dataset.prefetch(tf.data.AUTOTUNE)


def _drawn(features: Features, batch_size: int, rows: int, shuffle: bool) -> tuple:
    """Returns batches of row numbers, so many in all, and what reads these rows."""
    return _order(len(features[0]), batch_size, rows, shuffle), _gatherer(features)


def _at_each_step(
    features: Features, batch_size: int | None, steps: int, shuffle: bool
) -> tuple:
    """Returns numbers for each step and what reads them; all rows without a size."""
    if batch_size is not None:
        return _drawn(features, batch_size, steps * batch_size, shuffle)
    fixed = _unwrap([tf.constant(np.asarray(array)) for array in features])
    return tf.data.Dataset.range(steps), lambda _: fixed


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


def _gatherer(features: Features):
    if any(isinstance(rows, LazyRows) for rows in features):
        return reader(features)
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
