"""A frozen stem as a function from images to features."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from egan_keras.data import LazyRows, row_hashes
from egan_keras.version import __version__

Features = list[np.ndarray | LazyRows]


class StemFunction:
    """A compiled function from images (n, h, w, 3) to the stem's features.

    Args:
        stem: Model from images (n, h, w, 3) to one tensor or several.

    Attributes:
        stem: The model.
    """

    def __init__(self, stem: keras.Model) -> None:
        self.stem = stem
        self._dtype = tf.as_dtype(stem.inputs[0].dtype)
        outputs = keras.tree.flatten(stem.outputs)
        self._types = [_type_in_files(output.dtype) for output in outputs]
        self._run = _RUNNERS[keras.backend.backend()](stem, self._dtype)

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """Returns the features, one array for each tensor that the stem puts out."""
        features = zip(self._run(images), self._types, strict=True)
        return [np.asarray(each, dtype) for each, dtype in features]

    def row_types(
        self, image_shape: tuple[int, ...]
    ) -> list[tuple[tuple[int, ...], np.dtype]]:
        """Returns shape and dtype of one image's features, for each tensor put out."""
        outputs = keras.tree.flatten(self.stem.outputs)
        if any(None in each.shape[1:] for each in outputs):
            images = keras.KerasTensor((1, *image_shape), self._dtype.name)
            outputs = keras.tree.flatten(self.stem.compute_output_spec(images))
        return [
            (tuple(each.shape[1:]), dtype)
            for each, dtype in zip(outputs, self._types, strict=True)
        ]

    def identity(self) -> Iterator[bytes]:
        """Yields what the features depend on beside the images.

        These are the versions of the package and of Keras, its backend, the layers
        with their options (so resizing, preprocessing and the cut), and the weights.
        """
        backend = keras.backend.backend()
        yield f"{__version__} {keras.__version__} {backend}".encode()
        config = json.loads(self.stem.to_json())
        yield json.dumps(_without_names(config, self.stem), sort_keys=True).encode()
        for weight in self.stem.weights:
            array = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
            yield f"{array.shape} {array.dtype}".encode()
            yield array.tobytes()


class RecognisingStem:
    """A stem's function that also returns what images are recognised by.

    So that no image is read a second time for it.

    Args:
        compute: Function from images to features.

    Attributes:
        stem: The frozen layers.
    """

    def __init__(self, compute: StemFunction) -> None:
        self._compute = compute
        self.stem = compute.stem

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """Returns the features, and behind them `data.row_hashes` of the images."""
        return [*self._compute(images), row_hashes(images)]

    def row_types(
        self, image_shape: tuple[int, ...]
    ) -> list[tuple[tuple[int, ...], np.dtype]]:
        """Returns shape and dtype of a row of each array that it returns."""
        return [*self._compute.row_types(image_shape), ((), np.dtype(np.uint64))]

    def identity(self) -> Iterator[bytes]:
        """Yields what the arrays depend on beside the images."""
        yield from self._compute.identity()
        yield b"with row hashes"


def _type_in_files(dtype: str) -> np.dtype:
    """Returns the type that features are kept in: NumPy has no bfloat16."""
    return np.dtype("float32" if dtype == "bfloat16" else dtype)


def _by_tensorflow(stem: keras.Model, dtype: tf.DType) -> Callable:
    @tf.function(input_signature=[tf.TensorSpec((None, *stem.input_shape[1:]), dtype)])
    def run(images):
        return keras.tree.flatten(stem(images, training=False))

    return lambda images: [each.numpy() for each in run(tf.cast(images, dtype))]


def _by_jax(stem: keras.Model, dtype: tf.DType) -> Callable:
    run = _by_keras(stem, dtype)

    def run_padded(images):
        # XLA compiles anew for each number of images.
        full = 1 << (len(images) - 1).bit_length()
        padding = [(0, full - len(images)), *[(0, 0)] * (images.ndim - 1)]
        return [each[: len(images)] for each in run(np.pad(images, padding))]

    return run_padded


def _by_keras(stem: keras.Model, dtype: tf.DType) -> Callable:
    def run(images):
        rows = np.asarray(images, dtype.as_numpy_dtype)
        return keras.tree.flatten(stem.predict_on_batch(rows))

    return run


_RUNNERS = {"tensorflow": _by_tensorflow, "jax": _by_jax, "torch": _by_keras}


def _without_names(config: Any, stem: keras.Model) -> Any:
    """Returns a configuration with layers numbered.

    Names hold counters that depend on what else was built before.
    """
    numbers = {name: f"layer {n}" for n, name in enumerate(_layer_names(stem))}

    def numbered(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: numbered(value) for key, value in part.items()}
        if isinstance(part, list):
            return [numbered(value) for value in part]
        return numbers.get(part, part) if isinstance(part, str) else part

    return numbered(config)


def _layer_names(layer: keras.layers.Layer) -> list[str]:
    names = [layer.name]
    for inner in getattr(layer, "layers", []):
        names += _layer_names(inner)
    return list(dict.fromkeys(names))
