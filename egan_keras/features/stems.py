"""A frozen stem as a function from images to features."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

Features = list[np.ndarray]
StemFunction = Callable[[np.ndarray], Features]


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
