"""Rows of images or features, read when asked for; what files are recognised by.

A file's hash is kept in an index in the cache folder under its path, size, times of
change and inode; as long as these stay, its contents do, and it is not read again. The
time of change of the inode (ctime) is the file system's own, which no copying with kept
times (`cp -p`, `rsync -t`, `touch -d`) sets back; on Windows there is none, and the
time of writing decides.
"""

import contextlib
import hashlib
import mmap
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import BufferedReader
from multiprocessing.pool import ThreadPool
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from egan_keras import logs
from egan_keras.files import cache_folder, content_hash

INDEX = "contents.sqlite"
# More than cores, for disks that are far away.
THREADS = min(32, (os.cpu_count() or 1) + 4)

_ROWS_AT_ONCE = 128
_CHUNK = 32
_MOST_WORKERS = 8
# The oldest go first. A row takes about 60 bytes.
_MOST_ROWS = 2_000_000
# A file changed that shortly ago might change again within one tick of its times.
_UNSETTLED_NS = 2 * 10**9
_NS_BEFORE_TELLING = 2 * 10**9
_CHECK_BYTES, _MARK_BYTES = 4, 16

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class LazyRows:
    """What an array of n images or rows of features offers, without being in memory.

    It has `shape`, `dtype` and a length, and an index (an int, a slice, an array of
    ints or of booleans) reads what it names; many rows are read by several threads.
    `numpy.asarray` reads everything.
    """

    shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Number of bytes that all rows fill in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __getitem__(self, index: Any) -> np.ndarray:
        """Read rows as an array; of an int, the row itself."""
        if isinstance(index, slice):
            rows = np.arange(*index.indices(len(self)))
        else:
            rows = np.asarray(index)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        rows = np.where(rows < 0, rows + len(self), rows).astype(np.int64)
        if rows.size and not (rows.min() >= 0 and rows.max() < len(self)):
            raise IndexError(
                f"There is no such row; expected one of {len(self)}. Received: "
                f"index={index!r}."
            )
        if rows.ndim == 0:
            return self._read(rows[None])[0]
        if len(rows) <= _ROWS_AT_ONCE:
            return self._read(rows)
        result = np.empty((len(rows), *self.shape[1:]), self.dtype)
        start = 0
        for part in work_ahead(self._read, in_batches(rows, _ROWS_AT_ONCE)):
            result[start : start + len(part)] = part
            start += len(part)
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read everything."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def batches(self, size: int, start: int = 0) -> Iterator[np.ndarray]:
        """Yield the rows from `start` on, so many at a time, read ahead by threads."""
        yield from work_ahead(self._read, in_batches(np.arange(len(self)), size, start))

    def select(self, rows: np.ndarray) -> "LazyRows":
        """Return the rows of some indices, int (m,), unread."""
        return SelectedRows(self, rows)

    def identity(self) -> Iterator[bytes | memoryview]:
        """Yield what changes where the rows do; unless told otherwise, the contents."""
        yield f"{self.shape} {self.dtype}".encode()
        for batch in self.batches(_ROWS_AT_ONCE):
            yield np.ascontiguousarray(batch).data.cast("B")

    def _read(self, rows: np.ndarray) -> np.ndarray:
        """Read the rows of these indices, int64 (m,), all valid."""
        raise NotImplementedError


class SelectedRows(LazyRows):
    """Those rows of an array or of other lazy rows whose indices are given."""

    # What to recognise the selection by; None is the indices.
    _mark: bytes | None = None

    def __init__(self, parent: np.ndarray | LazyRows, rows: np.ndarray) -> None:
        self._parent = parent
        self._rows = np.asarray(rows, np.int64)
        self.shape = (len(self._rows), *parent.shape[1:])
        self.dtype = parent.dtype

    def identity(self) -> Iterator[bytes | memoryview]:
        """Yield the contents of an array's rows, or which rows of what."""
        if isinstance(self._parent, LazyRows):
            yield from self._parent.identity()
            yield self._mark or self._rows.tobytes()
        else:
            yield from super().identity()

    def _read(self, rows: np.ndarray) -> np.ndarray:
        read = getattr(self._parent, "_read", self._parent.__getitem__)
        return read(self._rows[rows])


class WithMirrorImages(SelectedRows):
    """Images, and behind them the mirror image of each, left and right exchanged."""

    _mark = b"mirrored"

    def __init__(self, images: np.ndarray | LazyRows) -> None:
        super().__init__(images, np.tile(np.arange(len(images)), 2))

    def _read(self, rows: np.ndarray) -> np.ndarray:
        images, is_mirrored = super()._read(rows), 2 * rows >= len(self)
        images[is_mirrored] = images[is_mirrored][:, :, ::-1]
        return images


class FileRows(LazyRows):
    """Rows that stand one after the other in a file, from `offset`, in bytes, on.

    They are read, not mapped: of a file mapped as a whole, all that was once touched
    counts as the program's memory. The file is kept open.
    """

    def __init__(
        self, file: BufferedReader, offset: int, shape: tuple[int, ...], dtype: Any
    ) -> None:
        self._file = file
        self._offset = offset
        # The place in a file is one for all threads.
        self._lock = threading.Lock()
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)

    @classmethod
    def from_memmap(cls, array: np.memmap) -> "FileRows":
        """Read a whole mapped array, as `numpy.load(file, mmap_mode="r")` gives it."""
        file = open(str(array.filename), "rb")
        return cls(file, array.offset, array.shape, array.dtype)

    @property
    def path(self) -> Path | None:
        """The file; None for a temporary one without a name."""
        return Path(self._file.name) if isinstance(self._file.name, str) else None

    def identity(self) -> Iterator[bytes | memoryview]:
        """Yield a hash of the file's contents, and the rows' place in it."""
        opened = os.fstat(self._file.fileno())
        # Another file may have the name by now.
        path = self.path
        if path and path.exists() and os.path.samestat(path.stat(), opened):
            (mark,) = content_hashes([path])
            yield repr((mark, self._offset, self.shape, self.dtype.str)).encode()
        else:
            yield from super().identity()

    def _read(self, rows: np.ndarray) -> np.ndarray:
        result = np.empty((len(rows), *self.shape[1:]), self.dtype)
        row_bytes = result.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        ends = [*(np.flatnonzero(np.diff(rows) != 1) + 1), len(rows)]
        first = 0
        for end in ends if len(rows) else ():
            wanted = result[first:end].data.cast("B")
            with self._lock:
                self._file.seek(self._offset + int(rows[first]) * row_bytes)
                n_bytes = self._file.readinto(wanted)
            if n_bytes != len(wanted):
                raise OSError(
                    f"A file of rows ends too early; expected {len(self)} rows of "
                    f"{row_bytes} bytes. Received: {self._file.name!r}. Make it anew."
                )
            first = end
        return result


class MappedRows(LazyRows):
    """Rows that a function makes of others, of the same shape or of `row_shape`."""

    def __init__(
        self,
        function: Callable[[np.ndarray], np.ndarray],
        parent: np.ndarray | LazyRows,
        row_shape: tuple[int, ...] | None = None,
    ) -> None:
        self._function = function
        self._parent = parent
        self.shape = (len(parent), *(row_shape or parent.shape[1:]))
        self.dtype = np.dtype(np.float32)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        return self._function(self._parent[rows])


def as_lazy(rows: Any) -> Any:
    """Return a whole array mapped from a file as lazy rows, anything else as it is."""
    if (
        isinstance(rows, np.memmap)
        # A part of one does not know where it begins.
        and isinstance(rows.base, mmap.mmap)
        and rows.flags.c_contiguous
        and rows.ndim > 1
        and rows.dtype in (np.uint8, np.float32)
        and rows.filename is not None
    ):
        return FileRows.from_memmap(rows)
    return rows


def selected(images: np.ndarray | LazyRows, rows: np.ndarray) -> Any:
    """Return some rows of an array as an array, and of lazy rows as lazy rows."""
    return images.select(rows) if isinstance(images, LazyRows) else images[rows]


def in_batches(
    rows: np.ndarray | LazyRows, size: int, start: int = 0
) -> Iterator[np.ndarray]:
    """Yield rows in their order, so many at a time; lazy ones are read ahead."""
    if isinstance(rows, LazyRows):
        yield from rows.batches(size, start)
        return
    for first in range(start, len(rows), size):
        yield rows[first : first + size]


def fingerprint(*identities: Iterator[bytes | memoryview]) -> str:
    """Return a fingerprint, 32 hexadecimal digits, of what identities yield."""
    digest = hashlib.blake2b(digest_size=16)
    for identity in identities:
        for part in identity:
            digest.update(part)
        digest.update(b"\0")
    return digest.hexdigest()


def content_hashes(paths: Sequence[str | PathLike[str]]) -> list[str | None]:
    """Return a hash of each file's contents, reading only what the index lacks.

    It has 32 hexadecimal digits, and is None for a file that cannot be read.
    """
    started = time.time_ns()
    states = [_state(path) for path in paths]
    hashes = _with_index(lambda index: _look_up(index, [mark for mark, _ in states]))
    hashes = hashes or [None] * len(paths)
    missing = [row for row, found in enumerate(hashes) if found is None]
    is_told = False
    found = by_threads(_hash, [paths[row] for row in missing], "files")
    for row, mark in zip(missing, found, strict=True):
        hashes[row] = mark
        if not is_told and time.time_ns() - started > _NS_BEFORE_TELLING:
            logs.tell(f"Reading {len(missing):,} files to recognise them")
            is_told = True
    settled = [row for row in missing if states[row][1] < started - _UNSETTLED_NS]
    # Of a file that was changed while it was read, nothing is known.
    known = {
        states[row][0]: bytes.fromhex(mark)
        for row in settled
        if (mark := hashes[row]) and _state(paths[row]) == states[row]
    }
    if known:
        _with_index(lambda index: _keep(index, known))
    return hashes


def work_ahead(
    function: Callable[[Item], Answer], items: Iterable[Item]
) -> Iterator[Answer]:
    """Yields `function(item)` for each item in order, computed by threads.

    While an answer is used, the next ones are computed, one for each core, but at most
    8; no more are in memory. An error is raised at its item's turn.

    >>> list(work_ahead(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    workers = min(os.cpu_count() or 1, _MOST_WORKERS)
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[Answer]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def by_threads(
    function: Callable[[Item], Answer], items: Sequence[Item], unit: str = "images"
) -> Iterator[Answer]:
    """Yields `function(item)` for each item in order, by threads; progress is shown."""
    with ThreadPool(THREADS) as pool:
        # In chunks, because small images take no longer than handing them to a thread.
        yield from logs.shown(pool.imap(function, items, _CHUNK), len(items), unit)


def _state(path: str | PathLike[str]) -> tuple[bytes, int]:
    """Return what a file is known by in the index, and when it last changed."""
    try:
        found = os.stat(path)
    except OSError:
        return b"", 0
    times = found.st_mtime_ns, found.st_ctime_ns
    text = repr((found.st_size, *times, found.st_ino)).encode()
    name = os.fsencode(os.path.abspath(path))
    mark = hashlib.blake2b(name + b"\0" + text, digest_size=_MARK_BYTES).digest()
    # A time of writing may be any, even one to come.
    return mark, times[0] if os.name == "nt" else times[1]


def _hash(path: str | PathLike[str]) -> str | None:
    try:
        return content_hash(path)
    except OSError:  # who reads it as an image says why
        return None


def _look_up(index: sqlite3.Connection, marks: Sequence[bytes]) -> list[str | None]:
    """Return the hashes that the index holds; None for damaged ones, too."""
    hashes, query = [], "SELECT hash FROM hashes WHERE mark = ?"
    for mark in marks:
        (row,) = index.execute(query, (mark,)).fetchone() or (None,)
        found = row[:_MARK_BYTES] if isinstance(row, bytes) else b""
        hashes.append(found.hex() if row == _checked(mark, found) else None)
    return hashes


def _keep(index: sqlite3.Connection, hashes: Mapping[bytes, bytes]) -> None:
    rows = [(mark, _checked(mark, found)) for mark, found in hashes.items()]
    with index:
        index.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?)", rows)
        old = "rowid <= (SELECT max(rowid) FROM hashes) - ?"
        index.execute(f"DELETE FROM hashes WHERE {old}", (_MOST_ROWS,))


def _checked(mark: bytes, found: bytes) -> bytes:
    """Return a hash with bytes behind it that tell whether a row is damaged."""
    return found + hashlib.blake2b(mark + found, digest_size=_CHECK_BYTES).digest()


def _with_index(action: Callable[[sqlite3.Connection], Answer]) -> Answer | None:
    """Return what an action gives; None where there can be no index: it only helps."""
    try:
        path = cache_folder().expanduser() / INDEX
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(path)) as index:
            index.execute(
                "CREATE TABLE IF NOT EXISTS hashes (mark BLOB PRIMARY KEY, hash BLOB)"
            )
            return action(index)
    # No place for it, or another process keeps it for long.
    except (OSError, RuntimeError, sqlite3.OperationalError):
        return None
    except sqlite3.DatabaseError:  # it is damaged, and made anew next time
        for name in (INDEX, f"{INDEX}-journal"):
            path.with_name(name).unlink(missing_ok=True)
        return None
