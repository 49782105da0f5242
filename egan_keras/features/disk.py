"""Features in files: written once, resumable, and never read half-written.

A set of features is a folder with one .npy file for each tensor. Until it is complete
it has the suffix `.partial`, and `progress.json` in it says how many rows are safe.
"""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from egan_keras.data.lazy import FileRows
from egan_keras.features.stems import Features
from egan_keras.files import check_space

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

_PROGRESS = "progress.json"
_LOCK = "lock"
_SECONDS_BETWEEN_CHECKPOINTS = 1.0


class Layout(NamedTuple):
    """What the files of a set of features hold.

    Attributes:
        count: number of rows.
        row_types: shape and dtype of a row, for each file.
    """

    count: int
    row_types: list[tuple[tuple[int, ...], np.dtype]]

    @property
    def nbytes(self) -> int:
        """Number of bytes of all rows."""
        return self.count * sum(
            int(np.prod(shape)) * dtype.itemsize for shape, dtype in self.row_types
        )


def read_or_compute(
    folder: Path,
    layout: Layout,
    compute: Callable[[int], Iterable[list[np.ndarray]]],
) -> tuple[Features, int]:
    """Reads features from their folder, or computes what is missing of them.

    Where another process computes the same, its end is waited for.

    Args:
        folder: Where the features are, or are to be. Its name must tell features of
            other images or another stem apart.
        layout: What the files hold.
        compute: Called with the first row missing; gives the features from there on,
            batch by batch.

    Returns:
        The features, and how many rows were there already.

    Raises:
        OSError: If the disk lacks the space, or cannot be written.
    """
    if not _is_complete(folder, layout):
        partial = folder.with_name(folder.name + ".partial")
        with _locked(partial):
            # Another process may have completed it in the meantime.
            if _is_complete(folder, layout):
                shutil.rmtree(partial, ignore_errors=True)
            else:
                done = _complete(partial, layout, compute)
                shutil.rmtree(folder, ignore_errors=True)
                partial.replace(folder)
                return _opened(folder, layout), done
    return _opened(folder, layout), layout.count


def _complete(
    partial: Path,
    layout: Layout,
    compute: Callable[[int], Iterable[list[np.ndarray]]],
) -> int:
    """Computes and writes the rows that are missing, and returns how many were not."""
    done = row = _rows_done(partial, layout)
    if done == 0:
        _create(partial, layout)
    with contextlib.ExitStack() as stack:
        paths = _paths(partial, layout)
        files = [stack.enter_context(path.open("r+b")) for path in paths]
        for file, path in zip(files, paths, strict=True):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            file.seek(array.offset + done * array.strides[0])
        latest = time.monotonic()
        for batch in compute(done) if done < layout.count else ():
            for file, array in zip(files, batch, strict=True):
                file.write(np.ascontiguousarray(array).data)
            row += len(batch[0])
            if time.monotonic() - latest >= _SECONDS_BETWEEN_CHECKPOINTS:
                _checkpoint(partial, files, row)
                latest = time.monotonic()
        _checkpoint(partial, files, row)
    return done


def _create(partial: Path, layout: Layout) -> None:
    """Makes files of the full size, whose rows are yet to be written."""
    check_space(partial / _PROGRESS, layout.nbytes, "the features")
    paths = _paths(partial, layout)
    for path, (shape, dtype) in zip(paths, layout.row_types, strict=True):
        np.lib.format.open_memmap(path, "w+", dtype, (layout.count, *shape)).flush()


def _checkpoint(partial: Path, files: list, rows: int) -> None:
    """Notes that so many rows are on the disk."""
    for file in files:
        file.flush()
        os.fsync(file.fileno())
    temporary = partial / f".{_PROGRESS}"
    temporary.write_text(json.dumps({"rows": rows}), "utf-8")
    temporary.replace(partial / _PROGRESS)


def _rows_done(partial: Path, layout: Layout) -> int:
    """Returns how many rows of a partial folder are safe."""
    progress = partial / _PROGRESS
    if not progress.is_file() or not _fits(partial, layout):
        return 0
    return int(json.loads(progress.read_text("utf-8"))["rows"])


def _is_complete(folder: Path, layout: Layout) -> bool:
    return _rows_done(folder, layout) == layout.count


def _fits(folder: Path, layout: Layout) -> bool:
    """Whether files are there, of the expected shape, dtype and size."""
    paths = _paths(folder, layout)
    for path, (shape, dtype) in zip(paths, layout.row_types, strict=True):
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            return False
        if array.shape != (layout.count, *shape) or array.dtype != dtype:
            return False
    return True


def _opened(folder: Path, layout: Layout) -> Features:
    return [
        FileRows.from_memmap(np.load(path, mmap_mode="r", allow_pickle=False))
        for path in _paths(folder, layout)
    ]


def _paths(folder: Path, layout: Layout) -> list[Path]:
    return [folder / f"{number}.npy" for number in range(len(layout.row_types))]


@contextlib.contextmanager
def _locked(partial: Path) -> Iterator[None]:
    """Lets one process at a time into a folder; a killed one leaves no lock behind."""
    while True:
        partial.mkdir(parents=True, exist_ok=True)
        try:
            file = (partial / _LOCK).open("w")
            break
        except FileNotFoundError:  # it was completed, and so renamed
            continue
    with file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
