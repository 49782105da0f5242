"""Features in files: written once, resumable, and never read half-written.

A set of features is a folder with one .npy file for each tensor. Until it is complete
it has the suffix `.partial`, and `progress.json` in it says how many rows are safe.
Statistics that layers took of the rows are kept beside them.
"""

import contextlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from egan_keras import schemas
from egan_keras.data.lazy import FileRows, fingerprint
from egan_keras.features.stems import Features, Layout
from egan_keras.files import check_space, remove, telling_full_disk, write_atomically
from egan_keras.version import __version__

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

_PROGRESS = "progress.json"
_PROGRESS_SCHEMA = schemas.record({"rows": schemas.COUNT})
_MOST_PROGRESS_BYTES = 1000
_LOCK = "lock"
_SECONDS_BETWEEN_CHECKPOINTS = 1.0


def read_or_compute(
    folder: Path, layout: Layout, compute: Callable[[int], Iterable[list[np.ndarray]]]
) -> tuple[Features, int]:
    """Reads features from their folder, or computes what is missing of them.

    The folder's name tells images and stem. `compute` gives batches from a row on.
    Where another process computes the same, its end is waited for. Returns how many
    rows were there already, too.
    """
    if _state(folder, layout)[0] == layout.count:
        return _opened(folder, layout), layout.count
    partial = folder.with_name(folder.name + ".partial")
    with _locked(partial), telling_full_disk(partial):
        rows, reason = _state(folder, layout)
        if rows == layout.count:  # another process has completed it in the meantime
            shutil.rmtree(partial, ignore_errors=True)
            return _opened(folder, layout), rows
        if os.path.lexists(folder):
            _warn(folder, reason)
        rows, reason = _state(partial, layout)
        # Without it, no row was noted yet.
        if reason and os.path.lexists(partial / _PROGRESS):
            _warn(partial, reason)
        _complete(partial, layout, compute, rows)
        try:
            remove(folder)
            partial.replace(folder)
        except OSError as error:
            warnings.warn(
                f"What is at {str(folder)!r} cannot be replaced ({error}); the "
                f"features stay in {str(partial)!r}.",
                stacklevel=3,
            )
            folder = partial
    return _opened(folder, layout), rows


def _complete(partial: Path, layout: Layout, compute: Callable, row: int) -> None:
    """Computes and writes what is missing from a row on."""
    missing = layout.nbytes * (1 - row / max(layout.count, 1))
    check_space(partial, missing, "the features")
    if row == 0:
        for left in partial.iterdir():
            if left.name != _LOCK:
                remove(left)
        # Of the full size from the start.
        for number, (shape, dtype) in enumerate(layout.row_types):
            path, shape = partial / f"{number}.npy", (layout.count, *shape)
            np.lib.format.open_memmap(path, "w+", dtype, shape).flush()
    with contextlib.ExitStack() as stack:
        files = []
        for array in _mapped(partial, layout):
            files.append(stack.enter_context(open(array.filename, "r+b")))
            files[-1].seek(array.offset + row * array.strides[0])
        latest = time.monotonic()
        for batch in compute(row) if row < layout.count else ():
            for file, array in zip(files, batch, strict=True):
                file.write(np.ascontiguousarray(array).data)
            row += len(batch[0])
            if time.monotonic() - latest >= _SECONDS_BETWEEN_CHECKPOINTS:
                _checkpoint(partial, files, row)
                latest = time.monotonic()
        _checkpoint(partial, files, row)


def _checkpoint(partial: Path, files: list, rows: int) -> None:
    """Notes that so many rows are on the disk."""
    for file in files:
        file.flush()
        os.fsync(file.fileno())
    text = json.dumps({"rows": rows})
    write_atomically(
        partial / _PROGRESS, lambda target: target.write_text(text, "utf-8")
    )


def _state(folder: Path, layout: Layout) -> tuple[int, str | None]:
    """Returns how many rows of a folder are safe, and what is wrong with it if any."""
    try:
        progress = folder / _PROGRESS
        rows = schemas.read(progress, _PROGRESS_SCHEMA, _MOST_PROGRESS_BYTES)["rows"]
        if rows > layout.count:
            raise ValueError(f"{_PROGRESS} tells of {rows} rows of {layout.count}")
        _mapped(folder, layout)
    # NumPy answers damaged files with many types of exception.
    except Exception as error:
        return 0, f"{type(error).__name__}: {error}"
    return rows, None


def _warn(folder: Path, reason: str | None) -> None:
    warnings.warn(
        f"The feature files in {str(folder)!r} cannot be used ({reason}); they are "
        "computed again.",
        stacklevel=2,
    )


def _opened(folder: Path, layout: Layout) -> Features:
    return [FileRows.from_memmap(array) for array in _mapped(folder, layout)]


def _mapped(folder: Path, layout: Layout) -> list[np.memmap]:
    """Returns the arrays in files that hold what they should."""
    arrays = []
    for number, (shape, dtype) in enumerate(layout.row_types):
        path = folder / f"{number}.npy"
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        found = array.shape, array.dtype, array.flags.c_contiguous
        if found != ((layout.count, *shape), dtype, True):
            raise ValueError(f"{path.name} holds {array.dtype} {array.shape}")
        arrays.append(array)
    return arrays


@contextlib.contextmanager
def _locked(partial: Path) -> Iterator[None]:
    """Lets one process at a time into a folder; a killed one leaves no lock behind."""
    while True:
        if partial.is_file() or partial.is_symlink():
            partial.unlink(missing_ok=True)
        try:
            partial.mkdir(parents=True, exist_ok=True)
            file = (partial / _LOCK).open("w")
        # It was completed, and so renamed, between two of these calls.
        except (FileExistsError, FileNotFoundError):
            continue
        except IsADirectoryError:
            remove(partial / _LOCK)
            continue
        with file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
                try:
                    now = (partial / _LOCK).stat()
                except FileNotFoundError:
                    continue
                # It was waited for, and may be of a folder completed meanwhile.
                if not os.path.samestat(os.fstat(file.fileno()), now):
                    continue
            yield
            return


@contextlib.contextmanager
def kept_statistics(
    rows: FileRows, layers: Sequence[keras.layers.Layer]
) -> Iterator[None]:
    """Gives layers the `statistics` that they took of these rows in an earlier run.

    Else those that they take inside are kept for later runs, beside rows in files.
    """
    variables = [variable for layer in layers for variable in layer.statistics]
    # A temporary file has no name.
    if not layers or rows.path is None:
        yield
        return
    parts = [__version__]
    for layer in layers:
        shapes = [tuple(variable.shape) for variable in layer.statistics]
        config = json.dumps(layer.get_config(), sort_keys=True, default=str)
        parts.append(f"{type(layer).__name__} {config} {shapes}")
    mark = fingerprint(part.encode() for part in parts)
    path = rows.path.with_name(f"statistics_{mark}.npz")
    try:
        if os.path.lexists(path):
            _load_statistics(path, variables)
    # NumPy answers damaged files with many types of exception.
    except Exception as error:
        warnings.warn(
            f"The statistics in {str(path)!r} cannot be used ({type(error).__name__}: "
            f"{error}); they are computed again.",
            stacklevel=3,
        )
        with contextlib.suppress(OSError):
            remove(path)
    yield
    if os.path.lexists(path) or not os.access(path.parent, os.W_OK):
        return
    arrays = map(keras.ops.convert_to_numpy, variables)
    named = {str(number): each for number, each in enumerate(arrays)}
    try:
        write_atomically(path, lambda target: np.savez(target, **named))
    except OSError as error:
        warnings.warn(f"Statistics are not kept for later runs: {error}", stacklevel=3)


def _load_statistics(path: Path, variables: list[keras.Variable]) -> None:
    with np.load(path, allow_pickle=False) as kept:
        arrays = [kept[str(number)] for number in range(len(variables))]
    for array, variable in zip(arrays, variables, strict=True):
        shape, dtype = tuple(variable.shape), np.dtype(variable.dtype)
        if (array.shape, array.dtype) != (shape, dtype):
            raise ValueError(f"{array.dtype} {array.shape} in place of {shape}")
        if not np.isfinite(array).all():
            raise ValueError("NaN or infinite numbers")
    for array, variable in zip(arrays, variables, strict=True):
        variable.assign(array)
