"""Features on the device that trains, so that steps need not copy rows to it."""

from collections.abc import Sequence

import keras
import numpy as np

from egan_keras import accelerators
from egan_keras.features.stems import Features

# What "auto" keeps in memory at most is less than any device to train on has.
_LARGEST_BYTES = 1_000_000_000


class Tables:
    """Features as variables, of which a step takes rows by their numbers.

    Args:
        parts: Features in memory, such as those of majority and minority.
        are_whole: For each part, whether each step takes all of it.
    """

    def __init__(self, parts: Sequence[Features], are_whole: Sequence[bool]) -> None:
        self._parts = [[_variable(array) for array in part] for part in parts]
        self._are_whole = list(are_whole)

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables: the state of a step on a backend whose steps have one."""
        return [variable for part in self._parts for variable in part]

    def rows(self, numbers: Sequence) -> tuple:
        """Returns rows of each part: one tensor, or a tuple of several.

        Args:
            numbers: For each part that is not taken whole, integers (m,).
        """
        left = iter(numbers)
        rows = []
        for part, is_whole in zip(self._parts, self._are_whole, strict=True):
            if is_whole:
                tensors = [keras.ops.convert_to_tensor(variable) for variable in part]
            else:
                own = next(left)
                tensors = [keras.ops.take(variable, own, axis=0) for variable in part]
            rows.append(unwrapped(tensors))
        return tuple(rows)


def tables(parts: Sequence[Features], are_whole: Sequence[bool]) -> Tables | None:
    """Returns features on the device that trains.

    Args:
        parts: Features, such as those of majority and minority.
        are_whole: For each part, whether each step takes all of it.

    Returns:
        `None` where that makes no step faster, where features are in files, and where
        they fill more than 1 GB.
    """
    arrays = [array for part in parts for array in part]
    in_memory = all(isinstance(array, np.ndarray) for array in arrays)
    if not in_memory or not make_steps_faster():
        return None
    fits = sum(array.nbytes for array in arrays) <= _LARGEST_BYTES
    return Tables(parts, are_whole) if fits else None


def make_steps_faster() -> bool:
    """Whether steps are faster with tables.

    They are on accelerators, and on processors but with TensorFlow: JAX and PyTorch
    wait for what tf.data hands over to them.
    """
    return keras.backend.backend() != "tensorflow" or accelerators.has_accelerator()


def unwrapped(tensors: list):
    """Returns one tensor alone and several as a tuple, as tf.data takes them."""
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def _variable(array: np.ndarray) -> keras.Variable:
    return keras.Variable(
        array, dtype=array.dtype.name, trainable=False, autocast=False
    )
