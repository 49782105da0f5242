"""Features in files: written once, resumable, and never read half-written.

A set of features is a folder with one .npy file for each tensor. Until it is complete
it has the suffix `.partial`, and `progress.json` in it says how many rows are safe.
"""

import contextlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from egan_keras import schemas
from egan_keras.data.lazy import FileRows
from egan_keras.features.stems import Features
from egan_keras.files import (
    check_space,
    remove,
    telling_full_disk,
    write_atomically,
)

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

_PROGRESS = "progress.json"
_PROGRESS_SCHEMA = schemas.record({"rows": schemas.COUNT})
_MOST_PROGRESS_BYTES = 1000
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
        with _locked(partial), telling_full_disk(partial):
            # Another process may have completed it in the meantime.
            if _is_complete(folder, layout):
                shutil.rmtree(partial, ignore_errors=True)
            else:
                if os.path.lexists(folder):
                    _warn(folder, _state(folder, layout)[1])
                done = _complete(partial, layout, compute)
                return _opened(_in_place(partial, folder), layout), done
    return _opened(folder, layout), layout.count


def _in_place(partial: Path, folder: Path) -> Path:
    """Renames what is complete, and returns where it is."""
    try:
        remove(folder)
        return partial.replace(folder)
    except OSError as error:
        warnings.warn(
            f"What is at {str(folder)!r} cannot be replaced ({error}); the features "
            f"stay in {str(partial)!r}.",
            stacklevel=2,
        )
        return partial


def _complete(
    partial: Path,
    layout: Layout,
    compute: Callable[[int], Iterable[list[np.ndarray]]],
) -> int:
    """Computes and writes the rows that are missing, and returns how many were not."""
    done, reason = _state(partial, layout)
    # Without it, no row was noted yet.
    if reason and os.path.lexists(partial / _PROGRESS):
        _warn(partial, reason)
    missing = layout.nbytes * (1 - done / max(layout.count, 1))
    check_space(partial, missing, "the features")
    if done == 0:
        _create(partial, layout)
    row = done
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
    for left in partial.iterdir():
        if left.name != _LOCK:
            remove(left)
    paths = _paths(partial, layout)
    for path, (shape, dtype) in zip(paths, layout.row_types, strict=True):
        np.lib.format.open_memmap(path, "w+", dtype, (layout.count, *shape)).flush()


def _checkpoint(partial: Path, files: list, rows: int) -> None:
    """Notes that so many rows are on the disk."""
    for file in files:
        file.flush()
        os.fsync(file.fileno())
    text = json.dumps({"rows": rows})
    write_atomically(
        partial / _PROGRESS, lambda target: target.write_text(text, "utf-8")
    )


def _is_complete(folder: Path, layout: Layout) -> bool:
    return _state(folder, layout)[0] == layout.count


def _state(folder: Path, layout: Layout) -> tuple[int, str | None]:
    """Returns how many rows of a folder are safe, and what is wrong with it if any."""
    try:
        progress = folder / _PROGRESS
        rows = schemas.read(progress, _PROGRESS_SCHEMA, _MOST_PROGRESS_BYTES)["rows"]
        if rows > layout.count:
            raise ValueError(f"{_PROGRESS} tells of {rows} rows of {layout.count}")
        for path, (shape, dtype) in zip(
            _paths(folder, layout), layout.row_types, strict=True
        ):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            found = array.shape, array.dtype, array.flags.c_contiguous
            if found != ((layout.count, *shape), dtype, True):
                raise ValueError(f"{path.name} holds {array.dtype} {array.shape}")
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
                if not _is_at(file, partial / _LOCK):
                    continue
            yield
            return


def _is_at(file: IO, path: Path) -> bool:
    """Whether an open file still has its name: it was waited for."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
