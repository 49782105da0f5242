"""Rows of features for the steps of training and validation."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from egan_keras import data, keras_hooks
from egan_keras.features.stems import Features

# What "auto" keeps in memory at most is less than any device to train on has.
_LARGEST_BYTES = 1_000_000_000


def training_dataset(
    majority: Features,
    minority: Features,
    known_minority: Features,
    *,
    batch_size: int,
    minority_batch_size: int | None,
    minimum_steps: int = 1,
    shuffle: bool = True,
) -> "tuple[tf.data.Dataset | RowNumbers, Tables | None]":
    """Returns batches of majority, minority and known minority, for one epoch.

    An epoch passes over the majority once, or as often as the fewest steps need. Known
    minority is the discriminator's features of the minority, as many a step as of the
    majority, or all; `minority_batch_size=None` gives all of the generator's.

    Where the device keeps the features, batches hold the numbers of rows to take from
    the tables returned, of those parts that are not taken whole.
    """
    n_majority, n_minority = len(majority[0]), len(minority[0])
    batch_size = min(batch_size, n_majority)
    rows = max(n_majority, minimum_steps * batch_size)
    steps = -(-rows // batch_size)
    known_batch_size = batch_size if n_minority > batch_size else None
    parts = (majority, minority, known_minority)
    sizes = (batch_size, minority_batch_size, known_batch_size)
    are_whole = [size is None for size in sizes]
    drawn = [size for size in sizes if size is not None]
    orders = [epoch_order(n_majority, rows, shuffle)]
    orders += [epoch_order(n_minority, steps * size, shuffle) for size in drawn[1:]]
    tables = make_tables(parts, are_whole)
    if tables and keras.backend.backend() != "tensorflow":
        return RowNumbers(orders, drawn, steps), tables
    pairs = zip(orders, drawn, strict=True)
    dataset = tf.data.Dataset.zip(tuple(each.rebatch(size) for each, size in pairs))
    if not tables:
        parts = list(map(_in_tensors, parts, are_whole))
        # One function for all parts: to call one for each takes longer than its work.
        dataset = dataset.map(
            lambda *numbers: _rows_of(parts, are_whole, numbers, _gathered)
        )
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    return dataset.prefetch(tf.data.AUTOTUNE), tables


def labelled_dataset(
    features: Features, labels: np.ndarray, *, batch_size: int
) -> tf.data.Dataset:
    """Returns batches of (features, labels) in their order."""
    part, labels = _in_tensors(features), tf.constant(labels)
    numbers = tf.data.Dataset.range(len(labels)).batch(batch_size)
    return numbers.map(lambda own: (_one(_gathered(part, own)), tf.gather(labels, own)))


def epoch_order(count: int, rows: int, shuffle: bool) -> tf.data.Dataset:
    """Returns one tensor (rows,) of numbers below a count, another for each epoch.

    To draw its numbers one by one would take as long as a step. Its seed is drawn, so
    that no epoch repeats another, but every run does.
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

    Of each part they are so many a step, in the order that `epoch_order` gives.
    """

    num_batches = 0

    def __init__(
        self, orders: Sequence[tf.data.Dataset], sizes: Sequence[int], steps: int
    ) -> None:
        super().__init__()
        epochs = tf.data.Dataset.zip(tuple(orders)).repeat().prefetch(1)
        self._epochs = epochs.as_numpy_iterator()
        self._sizes, self.num_batches = list(sizes), steps

    def on_epoch_begin(self) -> None:
        """Takes the next epoch's orders."""
        self._orders, self._next = next(self._epochs), 0

    def take(self, count: int) -> list[tuple]:
        """Returns the batches of the next steps; fewer where the epoch ends."""
        first, self._next = self._next, min(self._next + count, self.num_batches)
        return [self[index] for index in range(first, self._next)]

    def __getitem__(self, index: int) -> tuple:
        """Returns the numbers (m,), int32, of each part at one step."""
        return tuple(
            order[index * size : (index + 1) * size]
            for order, size in zip(self._orders, self._sizes, strict=True)
        )


class Tables:
    """Features as variables on the device that trains, which are not copied at steps.

    Of the parts, such as majority and minority, a step takes all or some rows.

    Attributes:
        variables: All of them: state of the steps of a backend that have one.
    """

    def __init__(self, parts: Sequence[Features], are_whole: Sequence[bool]) -> None:
        options = {"trainable": False, "autocast": False}
        self._parts = [
            [keras.Variable(x, dtype=x.dtype.name, **options) for x in part]
            for part in parts
        ]
        self._are_whole = are_whole
        self.variables = [variable for part in self._parts for variable in part]

    def rows(self, numbers: Sequence) -> tuple:
        """Returns rows of each part: all, or those of the next numbers, ints (m,)."""

        def take(part, own):
            if own is None:
                return list(map(keras.ops.convert_to_tensor, part))
            return [keras.ops.take(variable, own, axis=0) for variable in part]

        return _rows_of(self._parts, self._are_whole, numbers, take)


def make_tables(parts: Sequence[Features], are_whole: Sequence[bool]) -> Tables | None:
    """Returns features as tables; `None` if slower, in files or over 1 GB."""
    arrays = [array for part in parts for array in part]
    fit = sum(array.nbytes for array in arrays) <= _LARGEST_BYTES
    fit = fit and all(isinstance(array, np.ndarray) for array in arrays)
    return Tables(parts, are_whole) if fit and tables_are_faster() else None


def tables_are_faster() -> bool:
    """Whether steps are: JAX and PyTorch wait for what tf.data hands over to them."""
    return keras.backend.backend() != "tensorflow" or keras_hooks.has_accelerator()


def _rows_of(
    parts: Sequence, are_whole: Sequence[bool], numbers: Sequence, take: Callable
) -> tuple:
    """Returns of each part what `take` does with its numbers; `None` stands for all."""
    left = iter(numbers)
    own = [None if is_whole else next(left) for is_whole in are_whole]
    return tuple(map(_one, map(take, parts, own)))


def _one(tensors: list):
    """Returns one tensor alone and several as a tuple, as tf.data takes them."""
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def _in_tensors(features: Features, is_whole: bool = False) -> list:
    """Returns features as tensors, unless they are in files and not taken whole."""
    if not is_whole and any(isinstance(rows, data.LazyRows) for rows in features):
        return features
    return [tf.constant(np.asarray(rows)) for rows in features]


def _gathered(part: list, numbers: tf.Tensor | None) -> list:
    """Returns rows of what `_in_tensors` returned; those in files are read."""
    if numbers is None:
        return part
    if all(map(tf.is_tensor, part)):
        return [tf.gather(tensor, numbers) for tensor in part]
    types = [tf.as_dtype(rows.dtype) for rows in part]
    tensors = tf.numpy_function(
        lambda own: [rows[own] for rows in part], [numbers], types, stateful=False
    )
    for tensor, rows in zip(tensors, part, strict=True):
        tensor.set_shape((None, *rows.shape[1:]))
    return tensors
