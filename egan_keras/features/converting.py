"""Networks as SavedModels and as .tflite files, which later runs read again."""

import contextlib
import ctypes
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2 as with_constants,
)

from egan_keras import logs
from egan_keras.data.lazy import fingerprint
from egan_keras.files import cache_folder, write_atomically
from egan_keras.litert import threads
from egan_keras.version import __version__

# What TensorFlow Serving and LiteRT call the only thing that a model does.
SIGNATURE = "serving_default"
# Weights in the graph are written and converted sooner than variables, but take forty
# times their size of memory meanwhile.
_MOST_BYTES_IN_GRAPH = 40_000_000
_DIGEST_SIZE = 16


def save_function(
    function: Callable[[Any], dict[str, Any]],
    images: tf.TensorSpec,
    folder: str | os.PathLike,
    *,
    to_convert: bool = True,
) -> None:
    """Writes a function of images as a SavedModel, `serve` and its only signature.

    Args:
        function: Returns tensors by their names.
        images: What it takes.
        folder: Where to write.
        to_convert: Whether nothing but a converter reads it. Otherwise weights are
            variables, so that it computes exactly what the function does.
    """
    serve = tf.function(function, input_signature=[images])
    traced, module = serve.get_concrete_function(), tf.Module()
    n_bytes = sum(
        each.dtype.size * each.shape.num_elements() for each in traced.variables
    )
    if to_convert and n_bytes <= _MOST_BYTES_IN_GRAPH:
        frozen, named = with_constants(traced), traced.structured_outputs
        serve = tf.function(
            lambda images: tf.nest.pack_sequence_as(named, frozen(images)),
            input_signature=[images],
        )
    else:
        module.kept = traced.variables
    module.serve = serve
    # Gradients, which nobody takes, may capture what is no variable of the module.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, folder, signatures={SIGNATURE: serve}, options=options)


def to_litert(function: Any) -> bytes:
    """Returns a network's compiled function as a .tflite file's bytes."""
    (images,) = tf.nest.flatten(function.structured_input_signature)

    def numbered(images):
        outputs = enumerate(tf.nest.flatten(function(images)))
        return {f"{number:03}": each for number, each in outputs}

    # All of these tell on it what they do, past Python.
    with logs.without_stderr(), tempfile.TemporaryDirectory() as folder:
        save_function(numbered, images, folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=[SIGNATURE]
        )
        content = converter.convert()
    give_back_memory()
    return content


def give_back_memory() -> None:
    """Makes glibc hand what was freed to the system: hundreds of MB by a converter."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


class ConvertedFile:
    """A converted network for later runs on this kind of machine, with its hash."""

    def __init__(self, network: keras.Model) -> None:
        where = f"{tf.__version__} {platform.machine()} {threads()}".encode()
        name = fingerprint(identity(network), iter([where]))
        self._path = cache_folder().expanduser() / "converted" / name

    def read(self) -> bytes | None:
        """Returns the converted network; `None` if it is not there, or damaged."""
        try:
            found = self._path.read_bytes()
        except OSError:
            return None
        content, digest = found[:-_DIGEST_SIZE], found[-_DIGEST_SIZE:]
        return content if digest == _digest(content) else None

    def write(self, content: bytes) -> None:
        """Keeps the converted network where that is possible."""
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            whole = content + _digest(content)
            write_atomically(self._path, lambda target: target.write_bytes(whole))


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_SIZE).digest()


def identity(network: keras.Model) -> Iterator[bytes]:
    """Yields what a network's outputs depend on: its layers, weights and versions."""
    backend = keras.backend.backend()
    yield f"{__version__} {keras.__version__} {backend}".encode()
    config = json.loads(network.to_json())
    # Names hold counters that depend on what else was built before.
    names = dict.fromkeys(_names(config["config"]))
    numbers = {name: f"layer {number}" for number, name in enumerate(names)}
    yield json.dumps(_renamed(config, numbers), sort_keys=True).encode()
    for weight in network.weights:
        array = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
        yield f"{array.shape} {array.dtype}".encode()
        yield array.tobytes()


def _renamed(config: Any, names: dict[str, str]) -> Any:
    """Returns a configuration with texts exchanged, wherever they stand."""
    if isinstance(config, dict):
        return {key: _renamed(value, names) for key, value in config.items()}
    if isinstance(config, list):
        return [_renamed(value, names) for value in config]
    return names.get(config, config) if isinstance(config, str) else config


def _names(config: dict) -> Iterator[str]:
    """Yields the names of a layer or an operation, and of all those in it."""
    yield config["name"]
    for inner in config.get("layers", []):
        yield from _names(inner["config"])
