"""Where an export is written before it gets its name, and what tells of its steps."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from egan_keras import files, logs
from egan_keras.text import printable


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
    with files.leftovers(target) as left:
        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)
            print(f"Removed what a killed export had left: {printable(folder)}")
    files.check_space(target, n_bytes, "an export")
    with files.telling_full_disk(target), files.workplace(target) as folder:
        yield folder


def telling(verbose: int | str) -> Callable[[str], None]:
    """Returns what names a step as it begins, or says nothing."""
    return logs.tell if verbose else (lambda step: None)
