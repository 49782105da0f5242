"""Statistics of features that are in files, kept beside them."""

import json
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from egan_keras.data import LazyRows
from egan_keras.data.lazy import FileRows, fingerprint
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
    if path is None or not path.is_file():
        return
    with np.load(path, allow_pickle=False) as arrays:
        for number, variable in enumerate(_variables(layers)):
            variable.assign(arrays[str(number)])


def save_statistics(
    rows: np.ndarray | LazyRows, layers: Sequence[keras.layers.Layer]
) -> None:
    """Keeps for `load_statistics` what layers took of these rows.

    Args:
        rows: The majority's features.
        layers: Layers with `statistics`, a list of variables.
    """
    path = _path(rows, layers)
    if path is None or path.is_file() or not os.access(path.parent, os.W_OK):
        return
    arrays = map(keras.ops.convert_to_numpy, _variables(layers))
    temporary = path.with_name(f".{uuid.uuid4().hex}.npz")
    np.savez(temporary, **{str(number): each for number, each in enumerate(arrays)})
    temporary.replace(path)


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
