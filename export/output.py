"""What `score.py` writes: to the standard output, which may fail, and to files."""

import contextlib
import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from text import printable

COLUMNS = ("path", "score", "is_minority")

Row = tuple[Path, float, int]


class Output:
    """The standard output, which may be full, or read by nobody any more.

    Attributes:
        is_needed: whether nothing goes on without it; else `tell_failure` tells.
    """

    def __init__(self) -> None:
        self.is_needed = True
        self._error: OSError | None = None

    def write(self, text: str) -> None:
        """Write, unless it has failed before."""
        self._try(lambda: sys.stdout.write(text))

    def flush(self) -> None:
        """Write what waits to be."""
        self._try(sys.stdout.flush)

    def tell_failure(self) -> None:
        """Raise what became of it, if it is needed.

        Raises:
            OSError: if it cannot be written.
        """
        if self._error is not None and self.is_needed:
            raise OSError(
                self._error.errno,
                "The standard output cannot be written; expected room for it. "
                f"Received: {self._error.strerror}. Write to a file with --csv FILE",
            )

    def _try(self, write: Callable[[], Any]) -> None:
        if self._error is None:
            try:
                write()
            except OSError as error:
                self._error = error
                # Python would try again as it ends, and complain.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                self.tell_failure()


@contextlib.contextmanager
def without_messages() -> Iterator[None]:
    """Hold back what the runtime prints past Python as it starts."""
    sys.stderr.flush()
    try:
        own = os.dup(2)
    except OSError:  # it was closed
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(own, 2)
        os.close(own)


def printed(file: Any, rows: Iterable[Row], paths: list[Path]) -> Iterator[Row]:
    """Yield the rows, and write each in columns for a person.

    Args:
        file: where to write.
        rows: path, score, and 1 for minority or 0.
        paths: all that may be among the rows.
    """
    width = max(len(printable(path)) for path in paths)
    file.write(f"{COLUMNS[0]:<{width}}  {COLUMNS[1]:>12}  {COLUMNS[2]}\n")
    for path, score, is_minority in rows:
        file.write(f"{printable(path):<{width}}  {score:>12.6g}  {is_minority}\n")
        yield path, score, is_minority


def write_csv(file: Any, rows: Iterable[Row]) -> None:
    """Write comma-separated values."""
    table = csv.writer(file, lineterminator="\n")
    table.writerow(COLUMNS)
    for path, score, is_minority in rows:
        # Nine digits name a float32 exactly.
        table.writerow([path, f"{score:.9g}", is_minority])


def write_json(file: Any, rows: Iterable[Row], count: Callable[[], dict]) -> None:
    """Write one object: the images' rows, and what `count` tells of all files then."""
    listed = [
        dict(zip(COLUMNS, (str(path), score, is_minority), strict=True))
        for path, score, is_minority in rows
    ]
    json.dump({"images": listed, **count()}, file, indent=2)
    file.write("\n")


def replace(path: Path, write: Callable[[Any], None]) -> None:
    """Write a file under another name and rename it, so that none is half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open(
            "w", encoding="utf-8", newline="", errors="surrogateescape"
        ) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
