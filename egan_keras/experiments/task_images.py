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
from egan_keras.data.duplicates import Duplicates
from egan_keras.data.finding import in_words
from egan_keras.data.images import decodable
from egan_keras.data.lazy import SelectedRows, content_hashes
from egan_keras.data.loading import Reading, read_splits
from egan_keras.data.splits import Listing, SplitRules
from egan_keras.experiments.grid import (
    REFERENCE,
    Run,
    Task,
    as_file_name,
    describe_weights,
    fingerprint,
)
from egan_keras.files import write_atomically
from egan_keras.model.on_features import FeatureRows, JoinedRows
from egan_keras.text import first_few, printable
from egan_keras.version import __version__


@dataclasses.dataclass(frozen=True, eq=False)
class ClassFolder:
    """The images of one class of one split, called as `cifar10/train/airplane`."""

    name: str
    paths: tuple[Path, ...]
    gray_range: tuple[float, float] | None


class SplitTask:
    """The images of a task as first found, however they are read, and their splits.

    `counts` is how many of them equal another one, as reports call them.
    """

    def __init__(
        self, task: Task, listing: Listing, contents: dict[int, bytes] | None = None
    ) -> None:
        self.task = task
        listing.warn(task.roles)
        if passed_over := listing.all_passed_over:
            print(f"Passed over in {task.label}: {in_words(passed_over)}")
        if task.skip_unreadable:
            listing = _readable(listing, task)
        self.listing = listing
        self._equal = Duplicates(listing, task.roles, task.duplicates, contents)
        self.counts = {
            "n_duplicates": self._equal.n_later,
            "n_dropped_duplicates": len(self._equal.dropped),
        }

    def divide(self, count: int, seed: int) -> tuple:
        """Returns the splits as `load_folder` draws them, unread."""
        rules = SplitRules(count, seed=seed, test_fraction=self.task.test_fraction)
        return self._equal.divide(rules)


class TaskImages(SplitTask):
    """The image files of a task.

    `contents` are their hashes by their names below the task's folder, as first found.
    A folder that is missing or empty is a FileNotFoundError, an unknown class, or files
    of both labels, a ValueError.
    """

    def __init__(self, task: Task) -> None:
        source = {"labels": task.labels, "groups": task.groups}
        super().__init__(task, data.list_labelled(task.data, task.roles, **source))
        listing = self.listing
        self._groups = listing.groups or {}
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

    def fingerprint(self) -> str:
        """Returns a fingerprint of the files' names and contents, as first found.

        Where names do not tell class, split and group, these are in it, too.
        """
        found: list[Any] = sorted(self.contents.items())
        if self.task.labels or self._groups:
            told = ((folder.name, path) for path, (folder, _) in self.places.items())
            found += sorted((n, str(p), self._groups.get(p)) for n, p in told)
        return fingerprint(found)

    def splits(self, count: int, seed: int, *, lazy: bool = True) -> data.Splits:
        """Returns the images of each split, as `load_folder` does.

        Too few, or some that cannot be read or have changed, are a `ValueError`.
        """
        task = self.task
        reading = Reading.checked(task.image_size, task.gray_range, lazy=lazy)
        splits = read_splits(self.divide(count, seed), task.roles, reading)
        if not lazy and self._read_contents() != self.contents:
            raise _changed("Images changed while they were compared", task.name)
        return splits

    def _read_contents(self) -> dict[str, str | None]:
        names = [path.relative_to(self.task.data).as_posix() for path in self.places]
        return dict(zip(names, content_hashes(list(self.places)), strict=True))


def _readable(listing: Listing, task: Task) -> Listing:
    """Returns a listing without what `load_folder` skips, and names some of it."""
    skipped = []
    for part in ("pool", "validation", "test"):
        kept = {}
        for name, paths in (getattr(listing, part) or {}).items():
            kept[name], damaged = decodable(paths, task.gray_range)
            skipped += damaged
        listing = listing._replace(**{part: kept or None})
    if skipped:
        what = f"{len(skipped)} unreadable files or images of a single colour"
        print(f"Skipped in {task.label} {what}: {first_few(skipped)}")
    return listing


def _changed(what: str, received: str) -> ValueError:
    return ValueError(
        f"{what}; expected files that stay as they are. Received: {received}. Run it "
        "again."
    )


class Extractor(NamedTuple):
    """What makes features of images, of (height, width) and perhaps mirrored."""

    backbone: str
    network_size: int
    own_preprocessing: bool
    depths: int
    place_depths: int
    image_size: tuple[int, int]
    mirrored: bool = False

    @classmethod
    def of(cls, backbone: str, run: Run, image_size: tuple[int, int]) -> "Extractor":
        """Returns what makes the features that a run reads of one of its backbones."""
        recipe = run.method.recipe or networks.get_recipe(REFERENCE)
        size = recipe.network_size or run.network_size
        if size is None:
            size = networks.network_size(Backbone.parse(backbone), (*image_size, 3))
        # The encoder reads vectors alone.
        judged = backbone == run.pairing.discriminator
        depths = recipe.depths, recipe.place_depths * judged
        return cls(backbone, size, recipe.own_preprocessing, *depths, image_size)

    def build(self, weights: str | None) -> tuple[keras.Model, list[int]]:
        """Returns the model, from pixels 0..255, and the length of each depth."""
        # So that random weights are the same for all folders, in every process.
        keras.utils.set_random_seed(0)
        names = ("depths", "network_size", "own_preprocessing")
        choices = {name: getattr(self, name) for name in names}
        recipe, shape = networks.get_recipe("default", **choices), (*self.image_size, 3)
        backbone = Backbone.parse(self.backbone)
        return networks.pooled_features(
            backbone, recipe, shape, weights=weights, place_depths=self.place_depths
        )

    @functools.lru_cache  # noqa: B019 (an extractor is a small tuple)
    def shapes(self) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
        """Returns the length of each depth's vector, and the shape of each map."""
        model, sizes = self.build(None)
        outputs = keras.tree.flatten(model.outputs)
        return tuple(sizes), [tuple(each.shape[1:]) for each in outputs[1:]]


class FolderFeatures:
    """Features of class folders, in files of a folder that later runs read."""

    def __init__(self, folder: Path, weights: str | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._weights = folder, weights
        self._of_folder = functools.cache(self._read)
        self._build = functools.lru_cache(maxsize=1)(Extractor.build)
        verbose = 1 if sys.stdout.isatty() else 2
        self._store = features.FeatureStore("memory", verbose=verbose)

    def rows(
        self, places: Sequence[tuple[ClassFolder, int]], extractor: Extractor
    ) -> FeatureRows:
        """Returns the features of images in their order."""
        folders = list(dict.fromkeys(folder for folder, _ in places))
        found = [self._of_folder(folder, extractor) for folder in folders]
        counts = [len(folder.paths) for folder in folders]
        starts = dict(zip(folders, np.cumsum([0, *counts]), strict=False))
        numbers = np.array([starts[folder] + row for folder, row in places])
        vectors, *maps = (
            JoinedRows(sets).select(numbers) for sets in zip(*found, strict=True)
        )
        return FeatureRows(np.asarray(vectors), maps)

    def _read(self, folder: ClassFolder, extractor: Extractor) -> list[np.ndarray]:
        paths = self._paths(folder, extractor)
        try:
            mapped = [np.load(x, mmap_mode="r", allow_pickle=False) for x in paths]
        except (OSError, ValueError, EOFError):  # not there, or damaged
            self._compute(folder, extractor, paths)
            mapped = [np.load(x, mmap_mode="r", allow_pickle=False) for x in paths]
        return [each.view(np.ndarray) for each in mapped]

    def _paths(self, folder: ClassFolder, extractor: Extractor) -> list[Path]:
        """Returns a file for the vectors, and one for each depth's maps."""
        contents = fingerprint(content_hashes(folder.paths))
        own = contents, *extractor, describe_weights(self._weights)
        mark = fingerprint([*own, folder.gray_range, __version__])
        text = f"{folder.name}_{extractor.backbone}_{extractor.network_size}px"
        text += "_mirrored" if extractor.mirrored else ""
        names = [f"{as_file_name(text)}_{mark}"]
        names += [f"{names[0]}_maps{k}" for k, _ in enumerate(extractor.shapes()[1], 1)]
        return [self._folder / f"{name}.npy" for name in names]

    def _compute(
        self, folder: ClassFolder, extractor: Extractor, paths: list[Path]
    ) -> None:
        model, _ = self._build(extractor, self._weights)
        how = ", mirrored" if extractor.mirrored else ""
        how += f", again: {printable(paths[0])} is damaged" * paths[0].exists()
        print(f"{extractor.backbone} at {extractor.network_size} pixels{how}")
        images = data.ImageFiles(folder.paths, extractor.image_size, folder.gray_range)
        if extractor.mirrored:
            count = len(images)
            images = data.WithMirrorImages(images).select(np.arange(count, 2 * count))
        compute = features.compiled(model)
        vectors, *maps = self._store.features(images, compute, folder.name)
        if paths != self._paths(folder, extractor):
            what = "Images or weights changed while features were made of them"
            raise _changed(what, folder.name)
        found = [vectors, *(each.astype(np.float16) for each in maps)]
        for path, rows in zip(paths, found, strict=True):
            write_atomically(
                path, lambda t, rows=rows: np.save(t, rows, allow_pickle=False)
            )


class Sample(NamedTuple):
    """Inputs and labels of the splits of one run; validation is majority alone.

    Inputs are rows of features, or images, uint8 (n, h, w, 3). Rows of mirrored
    minority images, where a recipe trains on them, stand last in training.
    """

    train: np.ndarray | data.LazyRows
    train_labels: np.ndarray  # 0 = majority, 1 = minority, int32 (n,)
    validation: np.ndarray | data.LazyRows
    test: np.ndarray | data.LazyRows
    test_labels: np.ndarray
    # Of features, what `EGAN.from_features` takes.
    layout: dict[str, Any] = {}

    @property
    def is_in_files(self) -> bool:
        """Whether rows are read from files whenever they are asked for."""
        return isinstance(self.train, SelectedRows)
