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
        fixed = _unwrap([tf.constant(np.asarray(array)) for array in features])
        return tf.data.Dataset.from_tensors(fixed).repeat(steps)
    return _batches(features, batch_size, steps * batch_size, shuffle)


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
