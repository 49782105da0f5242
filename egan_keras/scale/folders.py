"""Files anywhere: in local folders, and what fsspec opens, such as s3:// and gs://."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from egan_keras import files


def filesystem(place: str) -> tuple[Any, str]:
    """Returns what opens files at a place, a path or an address, and its path there.

    Raises:
        ValueError: If nothing installed here opens such an address.
    """
    if "://" not in place:
        # In an address, two colons would begin another one.
        path = os.path.abspath(os.path.expanduser(place))
        return fsspec.filesystem("file"), path
    try:
        return fsspec.core.url_to_fs(place)
    except (ImportError, ValueError) as error:
        raise ValueError(
            "There is nothing here that opens such an address; expected a path, or an "
            "address that fsspec knows, with the package for it on every machine. "
            f"Received: {place!r} ({error}). Install what it names."
        ) from error


def is_local(fs: Any) -> bool:
    """Tells whether a file system is this machine's."""
    return isinstance(fs, LocalFileSystem)


def is_damage(error: Exception) -> bool:
    """Tells whether Arrow found a file damaged, not where it lies out of reach.

    It has no type of its own for that: some are errors of the system without a number.
    """
    is_unnumbered = type(error) is OSError and error.errno is None
    return is_unnumbered or isinstance(error, pa.ArrowException)


class OutOfReachError(OSError):
    """A place elsewhere does not answer, or not to whom asks."""


class Folder:
    """A folder to write whole files into, on a local disk or elsewhere.

    Args:
        place: Path, or address such as `s3://bucket/scores`.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.fs, self.path = filesystem(place)

    def at(self, name: str) -> str:
        """Returns the path of a file in it."""
        return f"{self.path.rstrip('/')}/{name}"

    def exists(self, name: str) -> bool:
        """Tells whether a file is there, whoever wrote it.

        Raises:
            OSError: If that cannot be told, which fsspec's own answer is "no" to.
        """
        self.fs.invalidate_cache()
        try:
            with self._reached():
                self.fs.info(self.at(name))
        except FileNotFoundError:
            return False
        return True

    def names(self) -> list[str]:
        """Returns the names of what is there; none where there is no folder."""
        self.fs.invalidate_cache()
        try:
            with self._reached():
                found = self.fs.ls(self.path, detail=False)
        except FileNotFoundError:
            return []
        return [path.rstrip("/").rpartition("/")[2] for path in found]

    def read(self, name: str) -> bytes:
        """Returns what a file holds."""
        with self._reached():
            return self.fs.cat_file(self.at(name))

    def open(self, name: str) -> BinaryIO:
        """Opens a file to read; what goes wrong after that is the file system's own."""
        with self._reached():
            return self.fs.open(self.at(name))

    @contextlib.contextmanager
    def new_file(self, name: str) -> Iterator[BinaryIO]:
        """Gives a file to write, which has its name once all is written."""
        if is_local(self.fs):
            path = Path(self.at(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.whole_file(path) as temporary, temporary.open("wb") as file:
                yield file
            return
        # What is put into a bucket is there as a whole or not.
        with tempfile.NamedTemporaryFile() as file:
            yield file
            file.flush()
            try:
                with self._reached():
                    self.fs.put_file(file.name, self.at(name))
            except FileNotFoundError as error:
                raise self._out_of_reach(error) from error

    def write(self, name: str, content: bytes) -> None:
        """Writes a file as a whole."""
        with self.new_file(name) as file:
            file.write(content)

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        """Tells what a place elsewhere that does not answer is to be seen to for."""
        try:
            yield
        # Of these the last three are a program's mistakes.
        except (FileNotFoundError, TypeError, AttributeError, ImportError):
            raise
        # File systems raise errors of many types.
        except Exception as error:
            if is_local(self.fs):
                raise
            raise self._out_of_reach(error) from error

    def _out_of_reach(self, error: Exception) -> OutOfReachError:
        said = " ".join(str(error).split())[:200]
        return OutOfReachError(
            "The folder cannot be reached; expected a place to read from and to write "
            f"to. Received: {self.place!r} ({type(error).__name__}: {said}). Check the "
            "address, log in, or ask for the right."
        )

    @contextlib.contextmanager
    def for_one_job(self) -> Iterator[None]:
        """Lets no other job into a local folder meanwhile; a killed one unlocks it.

        Raises:
            ValueError: If there is another one, or the place is a file.
        """
        if not is_local(self.fs) or files.fcntl is None:
            yield
            return
        try:
            Path(self.path).mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise ValueError(
                "The place to write into is a file, or below one; expected a folder, "
                f"which is made where it is missing. Received: --out {self.place!r}. "
                "Name another place."
            ) from error
        with files.locked(Path(self.path)) as is_locked:
            if not is_locked:
                raise ValueError(
                    "Another job is writing into this folder; expected one at a time. "
                    f"Received: --out {self.place!r}. Wait for its end, or name "
                    "another folder."
                )
            yield
