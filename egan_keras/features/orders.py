"""In which order each epoch of training takes rows, as their numbers."""

from collections.abc import Sequence

import keras
import tensorflow as tf


def epoch_order(count: int, rows: int, shuffle: bool) -> tf.data.Dataset:
    """Returns one tensor (rows,) of numbers below a count, another for each epoch.

    It goes round where there are fewer numbers than rows. An order is one tensor since
    to draw its numbers one by one takes as long as a step. Its seed is drawn, so that
    no epoch repeats another, but every run does.
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
    return seeds.map(order)


class RowNumbers(keras.utils.PyDataset):
    """Batches of numbers, for backends that tf.data hands its batches over to slowly.

    They are the same as those of the orders' tf.data datasets, cut in Python.

    Args:
        orders: `epoch_order` of each part.
        sizes: Numbers of each part a step.
        steps: Steps of an epoch.
    """

    def __init__(
        self, orders: Sequence[tf.data.Dataset], sizes: Sequence[int], steps: int
    ) -> None:
        super().__init__()
        epochs = tf.data.Dataset.zip(tuple(orders)).repeat().prefetch(1)
        self._epochs = epochs.as_numpy_iterator()
        self._sizes, self._steps = list(sizes), steps

    @property
    def num_batches(self) -> int:
        """Steps of an epoch."""
        return self._steps

    def on_epoch_begin(self) -> None:
        """Takes the next epoch's orders."""
        self._orders, self._next = next(self._epochs), 0

    def take(self, count: int) -> list[tuple]:
        """Returns the batches of the next steps; fewer where the epoch ends."""
        first, self._next = self._next, min(self._next + count, self._steps)
        return [self[index] for index in range(first, self._next)]

    def __getitem__(self, index: int) -> tuple:
        """Returns the numbers (m,), int32, of each part at one step."""
        return tuple(
            order[index * size : (index + 1) * size]
            for order, size in zip(self._orders, self._sizes, strict=True)
        )
