"""A task's images, split as `load_folder` does, their features, and what runs read.

Features are frozen, of whole class folders, computed once and kept on disk.
"""

import dataclasses
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from egan_keras import data, features, networks
from egan_keras.backbones import Backbone
from egan_keras.data.finding import in_words
from egan_keras.data.images import decodable, read_splits
from egan_keras.data.lazy import content_hashes
from egan_keras.data.splits import Duplicates, SplitRules
from egan_keras.experiments.grid import (
    REFERENCE,
    Run,
    Task,
    as_file_name,
    describe_weights,
    fingerprint,
)
from egan_keras.files import write_atomically
from egan_keras.text import first_few, printable


@dataclasses.dataclass(frozen=True, eq=False)
class ClassFolder:
    """The images of one class of one split, called as `cifar10/train/airplane`."""

    name: str
    paths: tuple[Path, ...]
    gray_range: tuple[float, float] | None


class TaskImages:
    """The image files of a task.

    `contents` are their hashes by their names below the task's folder, as first found;
    `counts` is how many of them equal another one, as reports call them.

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
        # Where each file stands: its class folder, and the row among the files of that.
        self.places: dict[Path, tuple[ClassFolder, int]] = {}
        for part, by_class in parts.items():
            for name, paths in (by_class or {}).items():
                name = f"{task.label}/{part}{name}"
                folder = ClassFolder(name, tuple(paths), task.gray_range)
                self.places |= {path: (folder, row) for row, path in enumerate(paths)}
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
            ValueError: if there are too few, or some cannot be read or have changed.
        """
        task = self.task
        rules = SplitRules(count, seed=seed, test_fraction=task.test_fraction)
        options = {"image_size": task.image_size, "gray_range": task.gray_range}
        splits = read_splits(
            self._equal.divide(rules), task.roles, lazy=lazy, **options
        )
        if not lazy and self._read_contents() != self.contents:
            raise _changed("Images changed while they were compared", task.name)
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


def _changed(what: str, received: str) -> ValueError:
    return ValueError(
        f"{what}; expected files that stay as they are. Received: {received}. Run it "
        "again."
    )


class Extractor(NamedTuple):
    """What makes pooled features of images, of (height, width) and perhaps mirrored."""

    backbone: str
    network_size: int
    own_preprocessing: bool
    depths: int
    image_size: tuple[int, int]
    mirrored: bool = False

    @classmethod
    def of(cls, backbone: str, run: Run, image_size: tuple[int, int]) -> "Extractor":
        """Returns what makes the features that a run reads of one of its backbones."""
        recipe = run.method.recipe or networks.get_recipe(REFERENCE)
        size = recipe.network_size or run.network_size
        if size is None:
            size = networks.network_size(Backbone.parse(backbone), (*image_size, 3))
        return cls(backbone, size, recipe.own_preprocessing, recipe.depths, image_size)

    def build(self, weights: str | None) -> tuple[keras.Model, list[int]]:
        """Returns the model, from pixels 0..255, and the length of each depth."""
        # So that random weights are the same for all folders, in every process.
        keras.utils.set_random_seed(0)
        names = ("depths", "network_size", "own_preprocessing")
        choices = {name: getattr(self, name) for name in names}
        recipe, shape = networks.get_recipe("default", **choices), (*self.image_size, 3)
        backbone = Backbone.parse(self.backbone)
        return networks.pooled_features(backbone, recipe, shape, weights=weights)

    @functools.lru_cache  # noqa: B019 (an extractor is a small tuple)
    def sizes(self) -> tuple[int, ...]:
        """Returns the length of the feature vector of each depth."""
        return tuple(self.build(None)[1])


class FolderFeatures:
    """Features of class folders, in files of a folder that later runs read."""

    def __init__(self, folder: Path, weights: str | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._weights = folder, weights
        self._of_folder = functools.cache(self._read)
        self._build = functools.lru_cache(maxsize=1)(Extractor.build)
        verbose = 1 if sys.stdout.isatty() else 2
        self._store = features.FeatureStore("memory", verbose=verbose)

    def rows(self, places: Sequence[tuple], extractor: Extractor) -> np.ndarray:
        """Returns the features of images, float32 (n, d), in their order."""
        rows = [self._of_folder(folder, extractor)[row] for folder, row in places]
        return np.stack(rows, dtype=np.float32)

    def _read(self, folder: ClassFolder, extractor: Extractor) -> np.ndarray:
        path = self._path(folder, extractor)
        try:
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):  # not there, or damaged
            self._compute(folder, extractor, path)
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        return mapped.view(np.ndarray)

    def _path(self, folder: ClassFolder, extractor: Extractor) -> Path:
        contents = fingerprint(content_hashes(folder.paths))
        own = [contents, *extractor, describe_weights(self._weights)]
        mark = fingerprint(own + [folder.gray_range] * (folder.gray_range is not None))
        text = f"{folder.name}_{extractor.backbone}_{extractor.network_size}px"
        text += "_mirrored" if extractor.mirrored else ""
        return self._folder / f"{as_file_name(text)}_{mark}.npy"

    def _compute(self, folder: ClassFolder, extractor: Extractor, path: Path) -> None:
        model, _ = self._build(extractor, self._weights)
        how = ", mirrored" if extractor.mirrored else ""
        how += f", again: {printable(path)} is damaged" if path.exists() else ""
        print(f"{extractor.backbone} at {extractor.network_size} pixels{how}")
        images = data.ImageFiles(folder.paths, extractor.image_size, folder.gray_range)
        if extractor.mirrored:
            count = len(images)
            images = data.WithMirrorImages(images).select(np.arange(count, 2 * count))
        compute = features.compiled(model)
        (rows,) = self._store.features(images, compute, folder.name)
        if path != self._path(folder, extractor):
            what = "Images or weights changed while features were made of them"
            raise _changed(what, folder.name)
        write_atomically(path, lambda t: np.save(t, rows, allow_pickle=False))


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
        self._store, self.images = store, images
        self._splits = functools.lru_cache(maxsize=1)(TaskImages.splits)
        self._latest: tuple[Any, Sample | None] = None, None

    def of(self, run: Run) -> Sample:
        """Returns what a run reads."""
        images, recipe = self.images[run.task], run.method.recipe
        which, used = (images, run.count, run.seed), ()
        if not run.method.needs_images:
            size = self._splits(*which).train.images.shape[1:3]
            backbones = dict.fromkeys(run.backbones)
            used = tuple(Extractor.of(backbone, run, size) for backbone in backbones)
        key = which, used, bool(recipe and recipe.mirrored_minority)
        if self._latest[0] != key:
            # Let go of before the next one takes as much memory.
            self._latest = None, None
            if used:
                sample = self._features(*key)
            else:
                train, validation, test = images.splits(*which[1:], lazy=False)
                seen = train.images, train.labels, validation.images, test.images
                sample = Sample(*seen, test.labels)
            self._latest = key, sample
        return self._latest[1]

    def _features(
        self, which: tuple, used: tuple[Extractor, ...], mirrors: bool
    ) -> Sample:
        """Returns rows of features, the encoder's before the discriminator's."""

        def rows(paths: Sequence[str], mirrored: bool = False) -> np.ndarray:
            places = [which[0].places[Path(path)] for path in paths]
            each = [extractor._replace(mirrored=mirrored) for extractor in used]
            return np.concatenate([self._store.rows(places, e) for e in each], axis=1)

        train, validation, test = self._splits(*which)
        inputs, labels = rows(train.paths), train.labels
        if mirrors:
            minority = [train.paths[row] for row in np.flatnonzero(labels)]
            inputs = np.concatenate([inputs, rows(minority, mirrored=True)])
            labels = np.append(labels, np.ones(len(minority), labels.dtype))
        held_out = rows(validation.paths), rows(test.paths), test.labels
        encoder_size = sum(used[0].sizes()) if len(used) == 2 else None
        return Sample(inputs, labels, *held_out, encoder_size, used[-1].sizes())
