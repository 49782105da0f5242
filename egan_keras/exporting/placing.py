"""Putting what was written under a temporary name into its place."""

import contextlib
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def workplace(target: Path) -> Iterator[Path]:
    """Gives a temporary folder beside a target, which is removed in the end.

    Raises:
        FileNotFoundError: If the target's folder does not exist.
    """
    if not target.parent.is_dir():
        raise FileNotFoundError(
            "The folder to write to does not exist; expected an existing folder. "
            f"Received: path={str(target)!r}. Make {str(target.parent)!r} first."
        )
    folder = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.unfinished"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
