"""A task's image files: found once, split as `load_folder` does, without decoding."""

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from egan_keras import data
from egan_keras.data.decoding import UnreadableError, read_header
from egan_keras.data.images import DEFAULT_SIZE
from egan_keras.data.splits import Division, divide
from egan_keras.experiments.grid import Task, fingerprint


@dataclasses.dataclass(frozen=True, eq=False)
class ClassFolder:
    """The images of one class of one split.

    Attributes:
        name: the folder as it is to be called, such as `cifar10/train/airplane`.
        paths: its image files, sorted.
    """

    name: str
    paths: tuple[Path, ...]

    def fingerprint(self) -> str:
        """Returns a fingerprint of its files' names, sizes and times of change."""
        common = os.path.commonpath([path.parent for path in self.paths])
        states = [(path.relative_to(common), path.stat()) for path in self.paths]
        return fingerprint(
            [(str(name), state.st_size, state.st_mtime_ns) for name, state in states]
        )


class Place(NamedTuple):
    """Where an image stands: the row among the files of a class folder."""

    folder: ClassFolder
    row: int


class TaskFiles:
    """The image files of a task.

    Args:
        task: the task.

    Raises:
        FileNotFoundError: if a folder is missing or empty.
        ValueError: for an unknown class.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        listing = data.list_images(task.data, task.roles)
        self._pool, self._test = listing.pool, listing.test
        kinds = {"train/" if self._test else "": self._pool, "test/": self._test or {}}
        self._folders = [
            ClassFolder(f"{task.label}/{kind}{name}", tuple(paths))
            for kind, by_class in kinds.items()
            for name, paths in by_class.items()
        ]
        self._sizes: dict[Path, tuple[int, int]] | None = None
        self.places = {
            path: Place(folder, row)
            for folder in self._folders
            for row, path in enumerate(folder.paths)
        }

    def fingerprint(self) -> str:
        """Returns a fingerprint of the files' names and sizes.

        Unlike that of a class folder it holds no times, so that results outlive a
        copy of the images.
        """
        names = {path: str(path.relative_to(self.task.data)) for path in self.places}
        return fingerprint(sorted((n, p.stat().st_size) for p, n in names.items()))

    def divide(self, count: int, seed: int) -> Division[Path]:
        """Returns the files of each split, as `load_folder` makes them.

        Raises:
            ValueError: if there are fewer minority images than asked for.
        """
        rules = self.task.rules(count, seed)
        return divide(self._pool, self._test, self.task.roles, rules)

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
