"""Reads a FlatBuffers file from bytes that may be damaged: no read leaves the file."""

import struct
from collections.abc import Iterator

import numpy as np

# Tables may share what they refer to, so that a small file can hold endless work.
_READS_PER_BYTE = 16


class DamagedError(ValueError):
    """The bytes are not what they claim to be; the message says where."""


class File:
    """The bytes of a FlatBuffers file.

    Args:
        data: the whole file.
        identifier: four bytes that stand at offset 4 in files of this kind.

    Raises:
        DamagedError: if the identifier is another.
    """

    def __init__(self, data: bytes, identifier: bytes) -> None:
        self._data = data
        self._left = _READS_PER_BYTE * len(data)
        if data[4:8] != identifier:
            raise DamagedError(
                f"the identifier at offset 4 is {data[4:8]!r}, not {identifier!r}"
            )

    def root(self) -> "Table":
        """Return the table that all others hang from."""
        return self.follow(0)

    def follow(self, position: int) -> "Table":
        """Return the table that the offset at `position` leads to."""
        return Table(self, position + self.number("<I", position))

    def number(self, kind: str, position: int) -> int | float:
        """Return the number of a kind of `struct` at a position."""
        return struct.unpack(kind, self.take(position, struct.calcsize(kind)))[0]

    def take(self, position: int, n_bytes: int) -> bytes:
        """Return bytes, refusing what lies outside the file."""
        if position < 0 or position + n_bytes > len(self._data):
            raise DamagedError(
                f"{n_bytes} bytes at offset {position} lie outside the file of "
                f"{len(self._data)} bytes"
            )
        self._left -= n_bytes
        if self._left < 0:
            raise DamagedError("its tables refer to the same bytes again and again")
        return self._data[position : position + n_bytes]

    def vector(self, position: int, item_bytes: int) -> tuple[int, int]:
        """Return the first item's position and the number of items of a vector.

        `position` is that of the offset that leads to the vector.
        """
        start = position + self.number("<I", position)
        count = self.number("<I", start)
        first = start + 4
        if first % item_bytes:
            raise DamagedError(f"the vector at offset {start} is not aligned")
        if first + count * item_bytes > len(self._data):
            raise DamagedError(
                f"the vector of {count} items at offset {start} leaves the file"
            )
        return first, count


class Table:
    """One table, whose fields have numbers; a field left out has its default."""

    def __init__(self, file: File, position: int) -> None:
        self._file = file
        self._position = position
        index = position - file.number("<i", position)
        n_bytes, self._size = struct.unpack("<HH", file.take(index, 4))
        if n_bytes < 4 or n_bytes % 2 or self._size < 4:
            raise DamagedError(f"the table at offset {position} has no valid index")
        file.take(position, self._size)
        entries = file.take(index + 4, n_bytes - 4)
        self._offsets = struct.unpack(f"<{len(entries) // 2}H", entries)
        if any(offset >= self._size for offset in self._offsets):
            raise DamagedError(f"a field of the table at {position} lies outside it")

    def number(self, field: int, kind: str, default: int = 0) -> int | float:
        """Return a number of a kind of `struct`."""
        position = self._place(field, struct.calcsize(kind))
        return default if position is None else self._file.number(kind, position)

    def table(self, field: int) -> "Table | None":
        """Return the table a field refers to."""
        position = self._place(field, 4)
        return None if position is None else self._file.follow(position)

    def tables(self, field: int) -> Iterator["Table"]:
        """Yield the tables in a vector."""
        position = self._place(field, 4)
        if position is not None:
            first, count = self._file.vector(position, 4)
            for item in range(count):
                yield self._file.follow(first + 4 * item)

    def numbers(self, field: int, kind: str) -> np.ndarray:
        """Return the numbers in a vector; `kind` is a little-endian NumPy type."""
        position = self._place(field, 4)
        item_bytes = np.dtype(kind).itemsize
        if position is None:
            return np.zeros(0, kind)
        first, count = self._file.vector(position, item_bytes)
        return np.frombuffer(self._file.take(first, count * item_bytes), kind)

    def text(self, field: int) -> str:
        """Return a string."""
        raw = self.numbers(field, "u1").tobytes()
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise DamagedError(f"the name {raw[:40]!r} is not UTF-8") from error

    def _place(self, field: int, n_bytes: int) -> int | None:
        """Return where in the file a field stands, None if it was left out."""
        if field >= len(self._offsets) or not self._offsets[field]:
            return None
        if self._offsets[field] + n_bytes > self._size:
            raise DamagedError(
                f"field {field} of the table at {self._position} leaves the table"
            )
        return self._position + self._offsets[field]
