"""A task's images: found once, split as `load_folder` does, read when they are used."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

from egan_keras import data
from egan_keras.data.contents import content_hashes
from egan_keras.data.decoding import GrayRange
from egan_keras.data.duplicates import Duplicates
from egan_keras.data.finding import in_words
from egan_keras.data.images import decodable
from egan_keras.data.labelled import read_splits
from egan_keras.experiments.grid import Task, fingerprint


@dataclasses.dataclass(frozen=True, eq=False)
class ClassFolder:
    """The images of one class of one split, called as `cifar10/train/airplane`."""

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


class TaskImages:
    """The image files of a task.

    Attributes:
        places: where each file stands.
        contents: the hash of each file, by its name below the task's folder.
        counts: how many files equal another one, as reports call them.

    Raises:
        FileNotFoundError: if a folder is missing or empty.
        ValueError: for an unknown class, or files of both labels.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        listing = data.list_images(task.data, task.roles)
        listing.warn(task.roles)
        if listing.all_passed_over:
            print(f"Passed over in {task.label}: {in_words(listing.all_passed_over)}")
        if task.skip_unreadable:
            listing = self._readable(listing)
        self._equal = Duplicates(listing, task.roles, task.duplicates)
        parts = {"train/" if listing.test else "": listing.pool}
        parts |= {"validation/": listing.validation, "test/": listing.test}
        folders = [
            ClassFolder(f"{task.label}/{part}{name}", tuple(paths), task.gray_range)
            for part, by_class in parts.items()
            for name, paths in (by_class or {}).items()
        ]
        self.places = {
            path: Place(folder, row)
            for folder in folders
            for row, path in enumerate(folder.paths)
        }
        self.contents = self._read_contents()
        self.counts = {
            "n_duplicates": self._equal.n_later,
            "n_dropped_duplicates": len(self._equal.dropped),
        }

    def fingerprint(self) -> str:
        """Returns a fingerprint of the files' names and contents, as first found."""
        return fingerprint(sorted(self.contents.items()))

    def splits(self, count: int, seed: int, *, lazy: bool = True) -> data.Splits:
        """Returns the images of each split, as `load_folder` does.

        Raises:
            ValueError: if there are fewer minority images than asked for, or images
                that cannot be read or have changed since they were found.
        """
        task = self.task
        splits = read_splits(
            self._equal.divide(task.rules(count, seed)),
            task.roles,
            image_size=task.image_size,
            gray_range=task.gray_range,
            lazy=lazy,
        )
        if not lazy and self._read_contents() != self.contents:
            raise ValueError(
                "Images changed while they were compared; expected files that stay as "
                f"they are. Received: {task.name}. Run it again."
            )
        return splits

    def _readable(self, listing):
        """Returns a listing without the files that cannot be read, and counts them."""
        kept, n_skipped = {}, 0
        for part in ("pool", "validation", "test"):
            kept[part] = found = getattr(listing, part) and {}
            for name, paths in (getattr(listing, part) or {}).items():
                found[name], skipped = decodable(paths, self.task.gray_range)
                n_skipped += len(skipped)
        if n_skipped:
            print(f"Skipped in {self.task.label}: {n_skipped} that cannot be read")
        return listing._replace(**kept)

    def _read_contents(self) -> dict[str, str | None]:
        names = [path.relative_to(self.task.data).as_posix() for path in self.places]
        return dict(zip(names, content_hashes(list(self.places)), strict=True))
