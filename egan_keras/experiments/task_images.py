"""A task's images: found once, split as `load_folder` does; and what runs read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from egan_keras import data, networks
from egan_keras.data.finding import in_words
from egan_keras.data.images import decodable, read_splits
from egan_keras.data.lazy import content_hashes
from egan_keras.data.splits import Duplicates, SplitRules
from egan_keras.experiments.frozen import Extractor, FolderFeatures, extractor
from egan_keras.experiments.grid import (
    REFERENCE,
    ClassFolder,
    Place,
    Run,
    Task,
    fingerprint,
)
from egan_keras.text import first_few


def rules(test_fraction: float, count: int = 1, seed: int = 0) -> SplitRules:
    """Returns how a task is split, which is `load_folder`'s way."""
    return SplitRules(minority_count=count, seed=seed, test_fraction=test_fraction)


class TaskImages:
    """The image files of a task.

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
        # Where each file stands, and its hash by its name below the task's folder.
        self.places = {
            path: Place(folder, row)
            for folder in folders
            for row, path in enumerate(folder.paths)
        }
        self.contents = self._read_contents()
        # How many files equal another one, as reports call them.
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
            ValueError: if there are too few, or some cannot be read or have changed.
        """
        task = self.task
        splits = read_splits(
            self._equal.divide(rules(task.test_fraction, count, seed)),
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
        """Returns a listing without what `load_folder` skips, and names some of it."""
        skipped = []
        for part in ("pool", "validation", "test"):
            kept = {}
            for name, paths in (getattr(listing, part) or {}).items():
                kept[name], damaged = decodable(paths, self.task.gray_range)
                skipped += damaged
            listing = listing._replace(**{part: kept or None})
        if skipped:
            what = f"{len(skipped)} unreadable files or images of a single colour"
            print(f"Skipped in {self.task.label} {what}: {first_few(skipped)}")
        return listing

    def _read_contents(self) -> dict[str, str | None]:
        names = [path.relative_to(self.task.data).as_posix() for path in self.places]
        return dict(zip(names, content_hashes(list(self.places)), strict=True))


class Sample(NamedTuple):
    """Inputs and labels of the splits of one run; validation is majority alone.

    Inputs are rows of features, float32 (n, d), or images, uint8 (n, h, w, 3). Rows of
    mirrored minority images, where a recipe trains on them, stand last in training.
    """

    train: np.ndarray
    train_labels: np.ndarray  # 0 = majority, 1 = minority, int32 (n,)
    validation: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    # Of features: the encoder's length, which stand first, None where both backbones
    # are the same; and the discriminator's, one for each depth.
    encoder_size: int | None = None
    discriminator_sizes: tuple[int, ...] = ()


class Samples:
    """Prepares what runs read, and keeps the latest for the next method."""

    def __init__(self, store: FolderFeatures, images: dict[Task, TaskImages]) -> None:
        self._store = store
        self._images = images
        self._splits: tuple[Any, data.Splits | None] = None, None
        self._latest: tuple[Any, Sample | None] = None, None

    def of(self, run: Run) -> Sample:
        """Returns what a run reads."""
        images, recipe = self._images[run.cell.task], run.method.recipe
        which = images, run.cell.count, run.seed
        used, mirrors = (), bool(recipe and recipe.mirrored_minority)
        if not run.method.needs_images:
            if self._splits[0] != which:
                self._splits = which, images.splits(*which[1:])
            size = self._splits[1].train.images.shape[1:3]
            recipe = recipe or networks.get_recipe(REFERENCE)
            used = tuple(
                extractor(backbone, recipe, size, run.network_size)
                for backbone in dict.fromkeys(run.backbones)
            )
        key = which, used, mirrors
        if self._latest[0] != key:
            # Let go of before the next one takes as much memory.
            self._latest = None, None
            if used:
                sample = self._features(images, used, mirrors)
            else:
                train, validation, test = images.splits(*which[1:], lazy=False)
                seen = train.images, train.labels, validation.images, test.images
                sample = Sample(*seen, test.labels)
            self._latest = key, sample
        return self._latest[1]

    def counts(self, run: Run) -> dict[str, int]:
        """Returns how many of a run's files equal another one."""
        return self._images[run.cell.task].counts

    def _features(
        self, images: TaskImages, used: tuple[Extractor, ...], mirrors: bool
    ) -> Sample:
        """Returns rows of features, the encoder's before the discriminator's."""

        def rows(paths: Sequence[str], mirrored: bool = False) -> np.ndarray:
            places = [images.places[Path(path)] for path in paths]
            each = [extractor._replace(mirrored=mirrored) for extractor in used]
            return np.concatenate([self._store.rows(places, e) for e in each], axis=1)

        train, validation, test = self._splits[1]
        inputs, labels = rows(train.paths), train.labels
        if mirrors:
            minority = [train.paths[row] for row in np.flatnonzero(labels)]
            inputs = np.concatenate([inputs, rows(minority, mirrored=True)])
            labels = np.append(labels, np.ones(len(minority), labels.dtype))
        return Sample(
            inputs,
            labels,
            rows(validation.paths),
            rows(test.paths),
            test.labels,
            sum(used[0].sizes()) if len(used) == 2 else None,
            used[-1].sizes(),
        )
