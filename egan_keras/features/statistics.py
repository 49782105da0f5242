"""Statistics of features that are in files, kept beside them."""

import contextlib
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from egan_keras.data import LazyRows
from egan_keras.data.lazy import FileRows, fingerprint
from egan_keras.files import remove, write_atomically
from egan_keras.version import __version__


def load_statistics(
    rows: np.ndarray | LazyRows, layers: Sequence[keras.layers.Layer]
) -> None:
    """Gives layers the statistics that they took of these rows in an earlier run.

    Nothing happens where there are none, or the rows are in memory.

    Args:
        rows: The majority's features.
        layers: Layers with `statistics`, a list of variables.
    """
    path = _path(rows, layers)
    if path is None or not os.path.lexists(path):
        return
    variables = _variables(layers)
    try:
        with np.load(path, allow_pickle=False) as kept:
            arrays = [kept[str(number)] for number in range(len(variables))]
        for array, variable in zip(arrays, variables, strict=True):
            shape, dtype = tuple(variable.shape), np.dtype(variable.dtype)
            if (array.shape, array.dtype) != (shape, dtype):
                raise ValueError(f"{array.dtype} {array.shape} in place of {shape}")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError("NaN or infinite numbers")
    # NumPy answers damaged files with many types of exception.
    except Exception as error:
        warnings.warn(
            f"The statistics in {str(path)!r} cannot be used ({type(error).__name__}: "
            f"{error}); they are computed again.",
            stacklevel=2,
        )
        with contextlib.suppress(OSError):
            remove(path)
        return
    for array, variable in zip(arrays, variables, strict=True):
        variable.assign(array)


def save_statistics(
    rows: np.ndarray | LazyRows, layers: Sequence[keras.layers.Layer]
) -> None:
    """Keeps for `load_statistics` what layers took of these rows.

    Args:
        rows: The majority's features.
        layers: Layers with `statistics`, a list of variables.
    """
    path = _path(rows, layers)
    if path is None or os.path.lexists(path) or not os.access(path.parent, os.W_OK):
        return
    arrays = map(keras.ops.convert_to_numpy, _variables(layers))
    named = {str(number): each for number, each in enumerate(arrays)}
    try:
        write_atomically(path, lambda target: np.savez(target, **named))
    except OSError as error:
        warnings.warn(f"Statistics are not kept for later runs: {error}", stacklevel=2)


def _path(
    rows: np.ndarray | LazyRows, layers: Sequence[keras.layers.Layer]
) -> Path | None:
    """Returns where the statistics belong, in the folder of the features."""
    # A temporary file has no name.
    if not layers or not isinstance(rows, FileRows) or rows.path is None:
        return None
    mark = fingerprint(_identity(layers))
    return rows.path.with_name(f"statistics_{mark}.npz")


def _identity(layers: Sequence[keras.layers.Layer]) -> Iterator[bytes]:
    yield __version__.encode()
    for layer in layers:
        shapes = [tuple(variable.shape) for variable in layer.statistics]
        config = json.dumps(layer.get_config(), sort_keys=True, default=str)
        yield f"{type(layer).__name__} {config} {shapes}".encode()


def _variables(layers: Sequence[keras.layers.Layer]) -> list[keras.Variable]:
    return [variable for layer in layers for variable in layer.statistics]
