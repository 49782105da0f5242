"""Putting what was written under a temporary name into its place."""

import contextlib
import glob
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from egan_keras.files import check_space, telling_full_disk
from egan_keras.text import printable

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None


@contextlib.contextmanager
def workplace(target: Path, n_bytes: float) -> Iterator[Path]:
    """Gives a temporary folder beside a target, which is removed in the end.

    Folders above the target are made. What a killed export left beside it is removed.

    Args:
        target: What is to be written.
        n_bytes: About how much is about to be written.

    Raises:
        NotADirectoryError: If a folder above the target is a file.
        OSError: If the disk lacks the space.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(
            "A file stands where the folder to write to would be; expected a folder "
            f"or nothing. Received: path={str(target)!r}. Name another one."
        ) from error
    _remove_leftovers(target)
    check_space(target, n_bytes, "an export")
    folder = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.unfinished")
    folder.mkdir()
    with _locked(folder), telling_full_disk(target):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def telling(verbose: int | str) -> Callable[[str], None]:
    """Returns what names a step as it begins, or says nothing."""
    return (lambda step: print(step, flush=True)) if verbose else (lambda step: None)


def _remove_leftovers(target: Path) -> None:
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.unfinished"):
        with _locked(left) as is_free:
            if is_free:
                shutil.rmtree(left, ignore_errors=True)
                print(f"Removed what a killed export had left: {printable(left)}")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Locks a folder while it is used; tells whether no other process has done so.

    The lock of a process that was killed is gone with it.
    """
    if fcntl is None:
        yield False
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)
