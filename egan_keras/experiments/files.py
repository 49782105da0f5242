"""A task's image files: found once, split as `load_folder` does, without decoding."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from egan_keras import data
from egan_keras.data.contents import Duplicates, content_hashes
from egan_keras.data.decoding import (
    GrayRange,
    UnreadableError,
    check_depths,
    deep_among,
    read_header,
)
from egan_keras.data.images import DEFAULT_SIZE
from egan_keras.data.splits import Division
from egan_keras.experiments.grid import Task, fingerprint


@dataclasses.dataclass(frozen=True, eq=False)
class ClassFolder:
    """The images of one class of one split.

    Attributes:
        name: the folder as it is to be called, such as `cifar10/train/airplane`.
        paths: its image files, sorted.
        gray_range: as for `egan_keras.load_folder`.
    """

    name: str
    paths: tuple[Path, ...]
    gray_range: GrayRange | None = None

    def fingerprint(self) -> str:
        """Returns a fingerprint of its files' contents, in their order."""
        return fingerprint(content_hashes(self.paths))


class Place(NamedTuple):
    """Where an image stands: the row among the files of a class folder."""

    folder: ClassFolder
    row: int


class TaskFiles:
    """The image files of a task.

    Args:
        task: the task.

    Attributes:
        places: where each file stands.
        contents: the hash of each file, by its name below the task's folder.

    Raises:
        FileNotFoundError: if a folder is missing or empty.
        ValueError: for an unknown class, or files of both labels.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self._listing = listing = data.list_images(task.data, task.roles)
        listing.warn(task.roles)
        self._equal = Duplicates(listing, task.roles, task.duplicates)
        kinds = {
            "train/" if listing.test else "": listing.pool,
            "validation/": listing.validation or {},
            "test/": listing.test or {},
        }
        self._folders = [
            ClassFolder(f"{task.label}/{kind}{name}", tuple(paths), task.gray_range)
            for kind, by_class in kinds.items()
            for name, paths in by_class.items()
        ]
        self._sizes: dict[Path, tuple[int, int]] | None = None
        self.places = {
            path: Place(folder, row)
            for folder in self._folders
            for row, path in enumerate(folder.paths)
        }
        self.contents = self._read_contents()

    @property
    def counts(self) -> dict[str, int]:
        """How many files equal another one, as reports call them."""
        return {
            "n_duplicates": self._equal.n_later,
            "n_dropped_duplicates": len(self._equal.dropped),
        }

    @property
    def passed_over(self) -> Counter[str]:
        """Number of other files and folders below the task's, by reason."""
        return self._listing.all_passed_over

    def check_depths(self) -> None:
        """Refuses images of more than 8 bits that need a range of grays.

        Raises:
            ValueError: if there are such; a few of each class are opened.
        """
        groups = {each.name: deep_among(each.paths) for each in self._folders}
        check_depths(groups, self.task.gray_range)

    def fingerprint(self) -> str:
        """Returns a fingerprint of the files' names and contents, as first found."""
        return fingerprint(sorted(self.contents.items()))

    def check_unchanged(self) -> None:
        """Refuses files that have other contents by now.

        Raises:
            ValueError: if there are such.
        """
        if self._read_contents() != self.contents:
            raise ValueError(
                "Images changed while they were compared; expected files that stay as "
                f"they are. Received: {self.task.name}. Run it again."
            )

    def _read_contents(self) -> dict[str, str | None]:
        names = [path.relative_to(self.task.data).as_posix() for path in self.places]
        return dict(zip(names, content_hashes(list(self.places)), strict=True))

    def divide(self, count: int, seed: int) -> Division[Path]:
        """Returns the files of each split, as `load_folder` makes them.

        Raises:
            ValueError: if there are fewer minority images than asked for.
        """
        return self._equal.divide(self.task.rules(count, seed))

    def image_size(self, division: Division[Path]) -> tuple[int, int]:
        """Returns the (height, width) that `load_folder` would stretch images to.

        Raises:
            ValueError: if a file cannot be read.
        """
        if self.task.image_size:
            return self.task.image_size, self.task.image_size
        if self._sizes is None:
            self._sizes = _read_sizes(tuple(self.places))
        # Test images have no say in the size that others are trained at.
        used = {
            self._sizes[path] for path, _ in (*division.train, *division.validation)
        }
        return used.pop() if len(used) == 1 else DEFAULT_SIZE

    def labels(self, split: Sequence[tuple[Path, str]]) -> np.ndarray:
        """Returns the labels of a split, int32 (n,), 0 = majority, 1 = minority."""
        roles = self.task.roles
        return np.array([roles.label(name) for _, name in split], np.int32)


def _read_sizes(paths: tuple[Path, ...]) -> dict[Path, tuple[int, int]]:
    """Returns every image's (height, width), from the headers.

    Raises:
        ValueError: if a file cannot be read.
    """

    def attempt(path: Path) -> tuple[int, int]:
        try:
            return read_header(path).size
        except UnreadableError as error:
            raise ValueError(
                "An image cannot be read, so its methods cannot be compared. "
                f"Received: {path} ({error}). Repair or remove it."
            ) from error

    with ThreadPoolExecutor() as pool:
        return dict(zip(paths, pool.map(attempt, paths, chunksize=64), strict=True))
