"""Features on the device that trains, so that steps need not copy rows to it."""

from collections.abc import Sequence

import keras
import numpy as np

from egan_keras.features import devices
from egan_keras.features.stems import Features

# What "auto" keeps in memory at most is less than any device to train on has.
_LARGEST_BYTES = 1_000_000_000


class Tables:
    """Features as variables, of which a step takes rows by their numbers.

    Args:
        parts: Features in memory, such as those of majority and minority.
    """

    def __init__(self, parts: Sequence[Features]) -> None:
        self._parts = [[_variable(array) for array in part] for part in parts]

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables: the state of a step on a backend whose steps have one."""
        return [variable for part in self._parts for variable in part]

    def rows(self, numbers: Sequence) -> tuple:
        """Returns rows of each part: one tensor, or a tuple of several.

        Args:
            numbers: For each part, integers (m,).
        """
        return tuple(
            unwrapped([keras.ops.take(variable, own, axis=0) for variable in part])
            for part, own in zip(self._parts, numbers, strict=True)
        )


def tables(parts: Sequence[Features]) -> Tables | None:
    """Returns features on the accelerator that trains.

    Returns:
        `None` where there is no accelerator (on processors steps take as long with
        TensorFlow and PyTorch, and a fifth less with JAX, which compiling anew for
        each training costs), where features are in files, and where they fill more
        than 1 GB.
    """
    arrays = [array for part in parts for array in part]
    in_memory = all(isinstance(array, np.ndarray) for array in arrays)
    if not in_memory or not devices.has_accelerator():
        return None
    fits = sum(array.nbytes for array in arrays) <= _LARGEST_BYTES
    return Tables(parts) if fits else None


def unwrapped(tensors: list):
    """Returns one tensor alone and several as a tuple, as tf.data takes them."""
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def _variable(array: np.ndarray) -> keras.Variable:
    return keras.Variable(
        array, dtype=array.dtype.name, trainable=False, autocast=False
    )
