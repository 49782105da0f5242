"""Files that are whole or not there, and folders that are exchanged in one step."""

import contextlib
import csv
import ctypes
import errno
import functools
import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

CACHE_VARIABLE = "EGAN_KERAS_CACHE"
# Names whose bytes are no text keep their bytes.
CSV_FORM = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_UNFINISHED = ".unfinished"
REPLACED = ".replaced"


class FullDiskError(OSError):
    """There was no room to write a file; the message says where, and what to do."""

    def __str__(self) -> str:
        """Returns the message alone."""
        return self.strerror


def write_atomically(path: str | os.PathLike, write: Callable[[Path], Any]) -> Path:
    """Writes a file under a temporary name beside its target, then renames it.

    What was written is on the disk before it gets its name, so that a crash leaves the
    old file or the new one. The temporary path has the target's suffix.
    """
    with whole_file(path) as temporary:
        write(temporary)
    return Path(path)


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Writes a text to a file in UTF-8, as `write_atomically` does."""
    return write_atomically(path, lambda target: target.write_text(text, "utf-8"))


def write_json(path: str | os.PathLike, values: Any, **options: Any) -> Path:
    """Writes values as JSON, with options of `json.dumps`, as `write_atomically`."""
    return write_text(path, json.dumps(values, **options) + "\n")


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """Gives a temporary path; what is written there becomes the file, as above."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            "The folder to write to does not exist: expected an existing folder. "
            f"Received: path={str(path)!r}. Make {str(path.parent)!r} first."
        )
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        with telling_full_disk(path):
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_table(path: str | os.PathLike, columns: Sequence[str]) -> Iterator[Any]:
    """Gives a writer of rows, as `csv.writer`; they become the file, as above."""
    with whole_file(path) as temporary, temporary.open("w", **CSV_FORM) as file:
        table = csv.writer(file)
        table.writerow(columns)
        yield table


@contextlib.contextmanager
def telling_full_disk(path: str | os.PathLike) -> Iterator[None]:
    """Makes the error of a full disk a `FullDiskError` that names what was written."""
    try:
        yield
    except FullDiskError:
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        problem = f"The disk is full; expected room to write {os.fspath(path)!r}"
        raise _full_disk(problem, Path(path), error.errno) from error


def check_space(path: str | os.PathLike, n_bytes: float, what: str) -> None:
    """Refuses, as a FullDiskError, to begin what a disk has no room for.

    The path need not exist; `what` is written to it, such as "a run", for the message.
    """
    path = Path(path)
    if free_bytes(_existing_parent(path)) < n_bytes:
        problem = f"The disk lacks the space for {what}; expected {in_units(n_bytes)}"
        raise _full_disk(problem, path)


def cache_folder() -> Path:
    """Returns the folder of what later runs read again, where none is named.

    It is what the environment variable EGAN_KERAS_CACHE names, else `egan_keras` in
    the user's cache folder (XDG_CACHE_HOME, or ~/.cache). A user without a home, as in
    some containers, has one that ends with the process.
    """
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named)
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        base = _temporary_folder().name
    return Path(base) / "egan_keras"


@functools.cache
def _temporary_folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="egan_keras-")


def in_units(n_bytes: float) -> str:
    """Returns a number of bytes for people.

    >>> in_units(512), in_units(20_480), in_units(3.2e9)
    ('512 bytes', '20.5 kB', '3.2 GB')
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:,.1f} {unit}"
    return f"{n_bytes:.0f} bytes"


def remove(path: Path) -> None:
    """Removes a file, a link, or a folder with all in it; nothing may be there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def free_bytes(folder: str | os.PathLike) -> int:
    """Returns how many bytes are free on the disk of a folder that exists."""
    return shutil.disk_usage(folder).free


def sync(path: Path) -> None:
    """Waits until a file, or all files of a folder, are on the disk."""
    for each in path.rglob("*") if path.is_dir() else [path]:
        if each.is_file():
            with each.open("rb+") as file:
                os.fsync(file.fileno())


def put_in_place(made: Path, target: Path) -> None:
    """Renames a file or folder; what was at the target is gone only when it is there.

    A folder is exchanged with the one that was there in one step, where the system can
    (Linux); else the older one is aside for a moment. Both are on one file system.
    """
    if not target.is_dir() or target.is_symlink():
        os.replace(made, target)
        return
    aside = made.with_name(f"{made.name}{REPLACED}")
    with locked(target):
        if _exchange(made, target):
            # From here on `leftovers` knows that it may go.
            made.rename(aside)
        else:
            target.rename(aside)
            try:
                made.rename(target)
            except OSError:
                aside.rename(target)
                raise
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def workplace(target: Path) -> Iterator[Path]:
    """Gives a new folder beside a target; what is still there in the end is removed.

    It is locked until then, so that `leftovers` tells it from that of a process which
    was killed. Folders above the target are made.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex[:8]
    folder = target.with_name(f".{target.name}.{mark}{_UNFINISHED}")
    with contextlib.ExitStack() as stack:
        # Between both, `leftovers` would take it for one.
        with locked(folder.parent, wait=True):
            folder.mkdir()
            stack.enter_context(locked(folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def leftovers(target: Path) -> Iterator[list[Path]]:
    """Gives the work places of a target whose processes have been killed.

    They are locked meanwhile. Where that cannot be told, as on Windows, there are none.
    A folder that another one was about to replace is put back in its place.
    """
    start, end = re.escape(f".{target.name}."), re.escape(_UNFINISHED)
    pattern = re.compile(f"{start}[0-9a-f]{{8}}{end}.*")
    with contextlib.ExitStack() as stack:
        with locked(target.parent, wait=True):
            folders = target.parent.iterdir() if target.parent.is_dir() else ()
            found = [
                path
                for path in folders
                if pattern.fullmatch(path.name) and stack.enter_context(locked(path))
            ]
        for path in [path for path in found if path.suffix == REPLACED]:
            if not target.exists():
                path.rename(target)
                found.remove(path)
        yield sorted(found)


def size_of(folder: Path) -> int:
    """Returns how many bytes the files in a folder fill."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def reserve(path: Path, n_bytes: int) -> None:
    """Takes room on a disk by a file without contents, to be deleted when it is needed.

    As far as the system can tell the disk so; it is a FullDiskError if there is less.
    """
    with telling_full_disk(path), path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, n_bytes)


def content_hash(path: str | os.PathLike) -> str:
    """Returns the BLAKE2 hash of a file's contents, 32 hexadecimal digits."""
    with open(path, "rb") as file:
        make = functools.partial(hashlib.blake2b, digest_size=16)
        return hashlib.file_digest(file, make).hexdigest()


def _existing_parent(path: Path) -> Path:
    """Returns the nearest folder above a path that exists."""
    return next(each for each in path.absolute().parents if each.is_dir())


def _full_disk(problem: str, path: Path, number: int = errno.ENOSPC) -> FullDiskError:
    """Returns the error that says how much is free, where, and what to do."""
    folder = _existing_parent(path)
    free = in_units(free_bytes(folder))
    while not folder.is_mount():
        folder = folder.parent
    return FullDiskError(
        number,
        f"{problem}. Received: {free} free on the disk at {str(folder)!r}. Delete "
        "something there, or name a folder on another disk.",
        os.fspath(path),
    )


def _exchange(made: Path, target: Path) -> bool:
    """Exchanges two names in one step; tells whether the system could."""
    # Only Linux has it; elsewhere there may be no such library at all.
    with contextlib.suppress(OSError, AttributeError, TypeError):
        rename = ctypes.CDLL(None).renameat2
        names = os.fsencode(made), os.fsencode(target)
        here = _AT_FDCWD
        return rename(here, names[0], here, names[1], _RENAME_EXCHANGE) == 0
    return False


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Locks a folder; the end of the process, whatever its kind, unlocks it.

    Gives whether it is locked now: not where another process has locked it, and not
    where folders cannot be locked.
    """
    with contextlib.ExitStack() as stack:
        is_locked = False
        if fcntl is not None:
            with contextlib.suppress(OSError):
                descriptor = os.open(folder, os.O_RDONLY)
                stack.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                is_locked = True
        yield is_locked


@contextlib.contextmanager
def reading(what: str, command: str, path: Path, advice: str) -> Iterator[None]:
    """Refuses a file that a command of this package wrote, and that was damaged since.

    `what` begins the sentence, such as "A result"; `advice` ends the message.
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{what} cannot be read; expected what `egan-keras {command}` wrote. "
            f"Received: {str(path)!r} ({error}). {advice}"
        ) from error
