"""Networks as compiled functions of arrays; frozen ones by LiteRT where that pays.

What LiteRT runs is converted from a SavedModel, and kept for later runs.
"""

import contextlib
import ctypes
import functools
import hashlib
import math
import os
import platform
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2 as with_constants,
)

from egan_keras import keras_hooks, logs
from egan_keras.data.lazy import fingerprint
from egan_keras.files import cache_folder, write_atomically
from egan_keras.litert import LiteRTFunction, threads

# What TensorFlow Serving and LiteRT call the only thing that a model does.
SIGNATURE = "serving_default"
# Weights in the graph are written and converted sooner than variables, but take forty
# times their size of memory meanwhile.
_MOST_BYTES_IN_GRAPH = 40_000_000
_DIGEST_SIZE = 16
# Multiplications at once, and images.
_WORK_AT_ONCE, _FEWEST, _MOST = 2e9, 8, 128
# Multiplications that a processor does in about the time that a conversion takes.
_WORTH_CONVERTING = 1.5e10
_TRIED_WITH, _TRIALS = 8, 3
# Times differ from run to run, which are to give the same features.
_HARDLY_LATER = 1.25
# Root mean square of what features may differ by, in their standard deviations.
_TOLERANCE = 1e-4


class Inference:
    """A functional model in inference mode, as a compiled function of arrays."""

    def __init__(self, network: keras.Model) -> None:
        self._network = network
        inputs = keras.tree.flatten(network.inputs)
        self._dtypes = [tf.as_dtype(each.dtype) for each in inputs]

    @functools.cached_property
    def function(self):
        """The network as one function of TensorFlow's, for any number of rows."""

        @tf.function
        def traced(*arrays):
            arrays = arrays[0] if len(arrays) == 1 else list(arrays)
            return keras.tree.flatten(self._network(arrays, training=False))

        inputs = keras.tree.flatten(self._network.inputs)
        signature = [tf.TensorSpec(each.shape, each.dtype) for each in inputs]
        # Not called itself: it would warn of being traced in each of many models.
        return traced.get_concrete_function(*signature)

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        """Returns what the network puts out, one array for each tensor."""
        pairs = zip(arrays, self._dtypes, strict=True)
        if keras.backend.backend() == "tensorflow":
            tensors = [tf.cast(*pair) for pair in pairs]
            return [each.numpy() for each in self.function(*tensors)]
        rows = [np.asarray(x, dtype.as_numpy_dtype) for x, dtype in pairs]
        count = len(rows[0])
        if keras.backend.backend() == "jax":
            # XLA compiles anew for each number of rows.
            missing = (1 << (count - 1).bit_length()) - count
            rows = [np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1)) for x in rows]
        rows = rows[0] if len(rows) == 1 else rows
        found = keras.tree.flatten(self._network.predict_on_batch(rows))
        return [each[:count] for each in found]


class FrozenInference(Inference):
    """The same of a network of images whose weights stay as they are.

    On a processor with TensorFlow, LiteRT runs passes over so many images that its
    conversion pays: small networks two to four times as fast. Who runs a pass depends
    on its length, not on what was passed before, so that runs repeat bit for bit.
    Keras keeps what LiteRT does otherwise or slower, and images outside of passes.
    What LiteRT was given and did well is kept in `cache_folder()` for later runs.

    Attributes:
        engine: Who ran it the last time, and why not LiteRT, for messages.
        at_once: How many images to give at once; more take memory and hardly less time.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__(network)
        self.engine = self._keras = keras.backend.backend()
        self._on_processor = (
            keras.backend.backend() == "tensorflow"
            and len(network.input_shape) == 4
            and not keras_hooks.has_accelerator()
        )
        types = {layer.compute_dtype for layer in keras_hooks.every_layer(network)}
        self._may_convert = self._on_processor and types == {"float32"}
        self._work = _multiplications(network)
        self.at_once = _MOST
        if self._on_processor:
            at_once = int(_WORK_AT_ONCE / max(self._work, 1.0))
            self.at_once = max(_FEWEST, min(_MOST, at_once))
        self._litert: LiteRTFunction | None = None
        self._converted = 0
        # LiteRT's interpreter is for one thread at a time; features are read in many.
        self._lock = threading.Lock()
        self._open_passes = self._images_seen = 0
        self._count: int | None = None

    @contextlib.contextmanager
    def pass_over(self, count: int | None = None) -> Iterator[None]:
        """Makes a pass over so many images of all calls in it.

        Where the number is not known, LiteRT takes over once it pays. A pass within
        another belongs to it.
        """
        with self._lock:
            if not self._open_passes:
                self._count, self._images_seen = count, 0
                if self._litert and self._checksum() != self._converted:
                    # Other weights have been loaded.
                    self._litert = None
            self._open_passes += 1
        try:
            yield
        finally:
            with self._lock:
                self._open_passes -= 1
            give_back_memory()

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """Returns what the network puts out for images, one array for each tensor."""
        if not self._on_processor or not len(images):
            return super().__call__(images)
        with self._lock:
            self._images_seen += len(images)
            count = self._images_seen if self._count is None else self._count
            is_long = self._open_passes and count * self._work > _WORTH_CONVERTING
            if is_long and self._may_convert and not self._litert:
                self._try_litert(images)
            # The trial may have ended in favour of Keras.
            if is_long and self._may_convert:
                self.engine = "LiteRT"
                return self._litert(images)
            self.engine = self._keras
            return super().__call__(images)

    def _checksum(self) -> int:
        checksum = 0
        for weight in self._network.weights:
            array = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
            checksum = zlib.crc32(array, checksum)
        return checksum

    def _try_litert(self, images: np.ndarray) -> None:
        """Takes LiteRT if it gives the same for some images, and hardly later."""
        file = ConvertedFile(self._network)
        kept = file.read()
        try:
            content = kept or to_litert(self.function)
            litert = LiteRTFunction(content)
            # What is kept has passed the trial.
            problem = None if kept else self._compared(litert, images[:_TRIED_WITH])
        # The converter answers with errors of many types.
        except Exception as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            problem = f"LiteRT cannot: {said[:200]}"
        if problem:
            self._may_convert, self._keras = False, f"{self._keras} ({problem})"
            return
        self._litert, self._converted = litert, self._checksum()
        if not kept:
            file.write(content)

    def _compared(self, litert: LiteRTFunction, images: np.ndarray) -> str | None:
        """Returns why LiteRT is not to be taken; `None` if it is."""
        run_keras = super().__call__
        # The first calls take longer than those that follow.
        found, expected = litert(images), run_keras(images)
        pairs = [(litert, run_keras)] * _TRIALS
        seconds = [[_seconds(run, images) for run in pair] for pair in pairs]
        by_litert, by_keras = map(min, zip(*seconds, strict=True))
        if not all(map(_same, found, expected)):
            return "LiteRT's features differ"
        return "LiteRT is slower" if by_litert > _HARDLY_LATER * by_keras else None


def _seconds(run, images: np.ndarray) -> float:
    started = time.perf_counter()
    run(images)
    return time.perf_counter() - started


def _same(found: np.ndarray, expected: np.ndarray) -> bool:
    if found.shape != expected.shape:
        return False
    difference = np.sqrt(np.mean((found - expected) ** 2))
    # A comparison with NaN is false.
    return bool(difference <= _TOLERANCE * expected.std() + np.finfo("float32").eps)


def _multiplications(network: keras.Model) -> float:
    """Returns about how many one image takes: weights times places they are used at."""
    total = 0.0
    for layer in keras_hooks.every_layer(network):
        if isinstance(layer, keras.Model):
            continue
        output = keras.tree.flatten(layer.output)[0].shape
        places = math.prod(output[1:3]) if len(output) == 4 else 1
        kernels = [weight.shape for weight in layer.weights if len(weight.shape) > 1]
        total += places * sum(map(math.prod, kernels))
    return total


def save_function(
    function: Callable[[Any], dict[str, Any]],
    images: tf.TensorSpec,
    folder: str | os.PathLike,
    *,
    to_convert: bool = True,
) -> None:
    """Writes a function of images as a SavedModel, `serve` and its only signature.

    It returns tensors by their names. Where more than a converter is to read it,
    weights are variables, so that it computes exactly what the function does.
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
        name = fingerprint(keras_hooks.identity(network), iter([where]))
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
