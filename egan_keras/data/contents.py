"""Which files hold the same: hashes of contents, taken again only of changed files.

A file is read once. Its hash is kept in an index in the cache folder under its path,
size, times of change and inode; as long as these stay, its contents do. The time of
change of the inode (ctime) is the file system's own, which no copying with kept times
(`cp -p`, `rsync -t`, `touch -d`) sets back; on Windows there is none, and the time of
writing decides.
"""

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from typing import TypeVar

from egan_keras.files import cache_folder, content_hash

INDEX = "contents.sqlite"

# The oldest go first. A row takes about 60 bytes.
_MOST_ROWS = 2_000_000
# A file changed that shortly ago might change again within one tick of its times.
_UNSETTLED_NS = 2 * 10**9
_CHUNK = 32
_ASKED_AT_ONCE = 500
_SECONDS_BEFORE_TELLING = 2.0
_CHECK_BYTES = 4
_MARK_BYTES = 16

Answer = TypeVar("Answer")


def content_hashes(paths: Sequence[str | PathLike[str]]) -> list[str | None]:
    """Return a hash of each file's contents, reading only what the index lacks.

    Args:
        paths: the files.

    Returns:
        32 hexadecimal digits for each; None for a file that cannot be read.
    """
    started = time.time_ns()
    states = [_state(path) for path in paths]
    hashes = _look_up([mark for mark, _ in states])
    missing = [row for row, found in enumerate(hashes) if found is None]
    for row, found in zip(missing, _read([paths[row] for row in missing]), strict=True):
        hashes[row] = found
    settled = [row for row in missing if states[row][1] < started - _UNSETTLED_NS]
    # Of a file that was changed while it was read, nothing is known.
    _keep({states[r][0]: hashes[r] for r in settled if _state(paths[r]) == states[r]})
    return hashes


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
    return mark, found.st_mtime_ns if os.name == "nt" else found.st_ctime_ns


def _read(paths: Sequence[str | PathLike[str]]) -> Iterator[str | None]:
    """Yield the hash of each file in order, several at a time."""
    chunks = [paths[i : i + _CHUNK] for i in range(0, len(paths), _CHUNK)]
    started, told = time.monotonic(), False
    with ThreadPoolExecutor() as pool:
        for hashes in pool.map(lambda chunk: [_hash(path) for path in chunk], chunks):
            yield from hashes
            if not told and time.monotonic() - started > _SECONDS_BEFORE_TELLING:
                print(f"Reading {len(paths):,} files to recognise them", flush=True)
                told = True


def _hash(path: str | PathLike[str]) -> str | None:
    try:
        return content_hash(path)
    except OSError:  # who reads it as an image says why
        return None


def _look_up(marks: Sequence[bytes]) -> list[str | None]:
    """Return the hashes that the index holds."""

    def look_up(index: sqlite3.Connection) -> list[str | None]:
        found = {}
        for start in range(0, len(marks), _ASKED_AT_ONCE):
            asked = marks[start : start + _ASKED_AT_ONCE]
            places = ",".join("?" * len(asked))
            query = f"SELECT mark, hash FROM hashes WHERE mark IN ({places})"
            found.update(index.execute(query, asked))
        return [_whole(mark, found.get(mark)) for mark in marks]

    return _with_index(look_up) or [None] * len(marks)


def _keep(hashes: dict[bytes, str | None]) -> None:
    """Add hashes to the index."""
    known = {mark: bytes.fromhex(found) for mark, found in hashes.items() if found}
    if not known:
        return
    rows = [(mark, _checked(mark, found)) for mark, found in known.items()]

    def keep(index: sqlite3.Connection) -> None:
        with index:
            index.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?)", rows)
            index.execute(
                "DELETE FROM hashes WHERE rowid <= (SELECT max(rowid) FROM hashes) - ?",
                (_MOST_ROWS,),
            )

    _with_index(keep)


def _checked(mark: bytes, found: bytes) -> bytes:
    """Return a hash with bytes behind it that tell whether a row is damaged."""
    check = hashlib.blake2b(mark + found, digest_size=_CHECK_BYTES).digest()
    return found + check


def _whole(mark: bytes, row: object) -> str | None:
    """Return the hash of a row; None if it is damaged."""
    if isinstance(row, bytes) and row == _checked(mark, row[:_MARK_BYTES]):
        return row[:_MARK_BYTES].hex()
    return None


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
