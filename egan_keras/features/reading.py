"""Lazy rows as tensors: read by the training's input, batch by batch."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from egan_keras.features.stems import Features


def reader(features: Features) -> Callable:
    """Returns a function that reads rows for `tf.data.Dataset.map`.

    Args:
        features: Arrays or lazy rows, each of n rows.

    Returns:
        A function from indices, an int64 tensor (m,), to these rows: one tensor, or a
        tuple of several.
    """
    types = [tf.as_dtype(rows.dtype) for rows in features]

    def read(indices: np.ndarray) -> list[np.ndarray]:
        return [rows[indices] for rows in features]

    def gather(indices: tf.Tensor):
        tensors = tf.numpy_function(read, [indices], types, stateful=False)
        for tensor, rows in zip(tensors, features, strict=True):
            tensor.set_shape((None, *rows.shape[1:]))
        return tensors[0] if len(tensors) == 1 else tuple(tensors)

    return gather
