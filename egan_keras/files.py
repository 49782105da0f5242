"""Files that are whole or not there, and folders that are exchanged in one step."""

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_HASHED_AT_ONCE = 1024**2


class FullDiskError(OSError):
    """A disk without the space that is needed; the message says what to do."""


def write_atomically(path: str | os.PathLike, write: Callable[[Path], Any]) -> Path:
    """Writes a file under a temporary name beside its target, then renames it.

    What was written is on the disk before it gets its name, so that a crash leaves the
    old file or the new one.

    Args:
        path: the file to write, in a folder that exists.
        write: called with the temporary path, which has the target's suffix.

    Returns:
        The path written.

    Raises:
        FileNotFoundError: if the folder does not exist.
        OSError: if it cannot be written, such as for want of space; the message names
            the target.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            "The folder to write to does not exist: expected an existing folder. "
            f"Received: path={str(path)!r}. Make {str(path.parent)!r} first."
        )
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        with telling_full_disk(path):
            write(temporary)
            sync(temporary)
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


@contextlib.contextmanager
def telling_full_disk(path: str | os.PathLike):
    """Makes the error of a full disk name what was to be written, and what to do.

    Raises:
        FullDiskError: of the same number, in place of one for want of space.
    """
    try:
        yield
    except OSError as error:
        is_told = isinstance(error, FullDiskError)
        if is_told or error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        folder = _existing_parent(Path(path))
        raise FullDiskError(
            error.errno,
            "The disk is full; expected room to write the file. Received: "
            f"{sized(free_bytes(folder))} free at {str(folder)!r}. Delete something "
            "there, or name a folder on another disk",
            os.fspath(path),
        ) from error


def check_space(path: str | os.PathLike, n_bytes: float, what: str) -> None:
    """Refuses to begin what a disk has no room for.

    Args:
        path: where it is to be written; it need not exist.
        n_bytes: how much is about to be written.
        what: what it is, for the message, such as "a run".

    Raises:
        FullDiskError: if there are fewer bytes free.
    """
    folder = _existing_parent(Path(path))
    free = free_bytes(folder)
    if free < n_bytes:
        raise FullDiskError(
            errno.ENOSPC,
            f"The disk lacks the space for {what}; expected {sized(n_bytes)}. "
            f"Received: {sized(free)} free at {str(folder)!r}. Delete something there, "
            "or name a folder on another disk",
        )


def sized(n_bytes: float) -> str:
    """Returns a number of bytes in words.

    >>> sized(1234), sized(2_345_678), sized(3e9)
    ('1.2 kB', '2.3 MB', '3.0 GB')
    """
    unit, name = next(
        (unit, name)
        for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
        if n_bytes >= unit or name == "kB"
    )
    return f"{n_bytes / unit:,.1f} {name}"


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
    (Linux); else the older one is aside for a moment.

    Args:
        made: what was written, on the target's file system.
        target: where it belongs.
    """
    if not target.is_dir() or target.is_symlink():
        os.replace(made, target)
        return
    if _exchange(made, target):
        shutil.rmtree(made, ignore_errors=True)
        return
    aside = made.with_name(f"{made.name}.replaced")
    target.rename(aside)
    try:
        made.rename(target)
    except OSError:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def content_hash(path: str | os.PathLike) -> str:
    """Returns the BLAKE2 hash of a file's contents, 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while part := file.read(_HASHED_AT_ONCE):
            digest.update(part)
    return digest.hexdigest()


def _existing_parent(path: Path) -> Path:
    """Returns the nearest folder above a path that exists."""
    return next(each for each in path.absolute().parents if each.is_dir())


def _exchange(made: Path, target: Path) -> bool:
    """Exchanges two names in one step; tells whether the system could."""
    if sys.platform != "linux":
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    names = os.fsencode(made), os.fsencode(target)
    return rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0
