"""Rows of images or features that are read when asked for, a few at a time."""

import hashlib
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from egan_keras.data.contents import content_hashes

_ROWS_AT_ONCE = 128
_MOST_WORKERS = 8

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

    def identity(self) -> Iterator[bytes]:
        """Yield what changes where the rows do; unless told otherwise, the contents."""
        yield f"{self.shape} {self.dtype}".encode()
        for batch in self.batches(_ROWS_AT_ONCE):
            yield np.ascontiguousarray(batch).data.cast("B")

    def _read(self, rows: np.ndarray) -> np.ndarray:
        """Read the rows of these indices, int64 (m,), all valid."""
        raise NotImplementedError


class SelectedRows(LazyRows):
    """Those rows of an array or of other lazy rows whose indices are given."""

    def __init__(self, parent: np.ndarray | LazyRows, rows: np.ndarray) -> None:
        self._parent = parent
        self._rows = np.asarray(rows, np.int64)
        self.shape = (len(self._rows), *parent.shape[1:])
        self.dtype = parent.dtype

    def identity(self) -> Iterator[bytes]:
        """Yield the contents of an array's rows, or which rows of what."""
        if isinstance(self._parent, LazyRows):
            yield from self._parent.identity()
            yield self._rows.tobytes()
        else:
            yield from super().identity()

    def _read(self, rows: np.ndarray) -> np.ndarray:
        read = getattr(self._parent, "_read", self._parent.__getitem__)
        return read(self._rows[rows])


class WithMirrorImages(LazyRows):
    """Images, and behind them the mirror image of each, left and right exchanged."""

    def __init__(self, images: np.ndarray | LazyRows) -> None:
        self._images = images
        self.shape = (2 * len(images), *images.shape[1:])
        self.dtype = images.dtype

    def identity(self) -> Iterator[bytes]:
        """Yield what the images are recognised by, and that there are mirrored ones."""
        if isinstance(self._images, LazyRows):
            yield from self._images.identity()
            yield b"mirrored"
        else:
            yield from super().identity()

    def _read(self, rows: np.ndarray) -> np.ndarray:
        count = len(self._images)
        images = self._images[rows % count]
        images[rows >= count] = images[rows >= count][:, :, ::-1]
        return images


class FileRows(LazyRows):
    """Rows that stand one after the other in a file, from `offset`, in bytes, on.

    They are read, not mapped: of a file mapped as a whole, all that was once touched
    counts as the program's memory. The file is kept open.
    """

    def __init__(
        self, file: BinaryIO, offset: int, shape: tuple[int, ...], dtype: Any
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
        return cls(open(array.filename, "rb"), array.offset, array.shape, array.dtype)

    @property
    def path(self) -> Path | None:
        """The file; None for a temporary one without a name."""
        return Path(self._file.name) if isinstance(self._file.name, str) else None

    def identity(self) -> Iterator[bytes]:
        """Yield a hash of the file's contents, and the rows' place in it."""
        opened = os.fstat(self._file.fileno())
        # Another file may have the name by now.
        is_there = self.path and os.path.exists(self.path)
        if is_there and os.path.samestat(os.stat(self.path), opened):
            (mark,) = content_hashes([self.path])
            yield repr((mark, self._offset, self.shape, self.dtype.str)).encode()
        else:
            yield from super().identity()

    def _read(self, rows: np.ndarray) -> np.ndarray:
        result = np.empty((len(rows), *self.shape[1:]), self.dtype)
        row_bytes = result.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        ends = [*(np.flatnonzero(np.diff(rows) != 1) + 1), len(rows)]
        first = 0
        for end in ends if len(rows) else ():
            wanted = memoryview(result[first:end]).cast("B")
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
    """Rows of a shape that a function makes of others whenever they are read.

    The function takes an array (m, ...) of the others; None keeps their rows' shape.
    """

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


def in_batches(
    rows: np.ndarray | LazyRows, size: int, start: int = 0
) -> Iterator[np.ndarray]:
    """Yield rows in their order, so many at a time; lazy ones are read ahead."""
    if isinstance(rows, LazyRows):
        yield from rows.batches(size, start)
        return
    for first in range(start, len(rows), size):
        yield rows[first : first + size]


def fingerprint(*identities: Iterator[bytes]) -> str:
    """Return a fingerprint, 32 hexadecimal digits, of what identities yield."""
    digest = hashlib.blake2b(digest_size=16)
    for identity in identities:
        for part in identity:
            digest.update(part)
        digest.update(b"\0")
    return digest.hexdigest()


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
    waiting: deque[Future] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
