"""What the GPU benchmark asks of the backend that Keras runs on."""

import resource
from collections.abc import Callable

import keras


class _TensorFlow:
    def __init__(self) -> None:
        import tensorflow as tf

        self._tf = tf
        self._gpus = tf.config.list_physical_devices("GPU")

    def device(self) -> str:
        if not self._gpus:
            return "CPU"
        details = self._tf.config.experimental.get_device_details(self._gpus[0])
        return details.get("device_name", "GPU")

    def compiled(self, function: Callable) -> Callable:
        return self._tf.function(function, jit_compile=bool(self._gpus))

    def peak_bytes(self) -> int | None:
        if not self._gpus:
            return None
        return self._tf.config.experimental.get_memory_info("GPU:0")["peak"]


class _JAX:
    def __init__(self) -> None:
        import jax

        self._jax = jax
        self._first = jax.devices()[0]

    def device(self) -> str:
        is_cpu = self._first.platform == "cpu"
        return "CPU" if is_cpu else self._first.device_kind

    def compiled(self, function: Callable) -> Callable:
        return self._jax.jit(function)

    def peak_bytes(self) -> int | None:
        return (self._first.memory_stats() or {}).get("peak_bytes_in_use")


class _PyTorch:
    def __init__(self) -> None:
        import torch

        self._torch = torch

    def device(self) -> str:
        cuda = self._torch.cuda
        return cuda.get_device_name(0) if cuda.is_available() else "CPU"

    def compiled(self, function: Callable) -> Callable:
        def run(*arguments):
            with self._torch.inference_mode():
                return function(*arguments)

        return run

    def peak_bytes(self) -> int | None:
        cuda = self._torch.cuda
        return cuda.max_memory_allocated() if cuda.is_available() else None


BACKEND = {"tensorflow": _TensorFlow, "jax": _JAX, "torch": _PyTorch}[
    keras.backend.backend()
]()


def is_gpu() -> bool:
    """Whether there is an accelerator."""
    return BACKEND.device() != "CPU"


def peak_bytes() -> int:
    """Returns the most memory used so far: the device's, or without one the host's."""
    found = BACKEND.peak_bytes()
    if found is not None:
        return found
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def wait_for(tensor) -> None:
    """Waits until a tensor is computed, by fetching one number of it."""
    first = keras.ops.ravel(keras.tree.flatten(tensor)[0])[:1]
    keras.ops.convert_to_numpy(keras.ops.cast(first, "float32"))
