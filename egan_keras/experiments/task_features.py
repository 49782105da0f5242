"""A task's images as shards hold their features, split as the images themselves are.

Rows of vectors stay in a file and are read when asked for; in memory are their numbers.
"""

import functools
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from egan_keras import data, logs
from egan_keras.backbones import Backbone
from egan_keras.data.folders import PARTS
from egan_keras.data.splits import Listing, Split
from egan_keras.experiments.grid import Pairing, Task
from egan_keras.experiments.task_images import Sample, SplitTask
from egan_keras.scale import FeatureTable
from egan_keras.text import printable

# Rows by the part of the images, None where they are in none, and by class.
Places = dict[tuple[str | None, str], list[int]]

_HASH = np.dtype("S16")
_MARK_DIGITS = 12


class SplitRows(NamedTuple):
    """Some images: the numbers of their rows, and 0 = majority or 1 = minority."""

    numbers: np.ndarray  # int64 (n,)
    labels: np.ndarray  # int32 (n,)


class _NamedRow(int):
    """The number of a row, called by the path of its image."""

    path = ""

    def __str__(self) -> str:
        """Return the path."""
        return self.path


class TaskFeatures(SplitTask):
    """The rows of a task in what `egan-keras features` wrote.

    An image's class is the folder that it lies in. Where folders called train and test
    hold those of the classes, they tell training from test, as of `load_folder`.

    `contents` is empty, since the hashes of so many images would be a large file.
    Features that are not there, or not all, are a ValueError, and so are an unknown
    class and images of both labels.
    """

    def __init__(self, task: Task) -> None:
        self.task, self._table = task, FeatureTable(task.data)
        self.contents: dict[str, str | None] = {}
        places, hashes, names, beside = self._read()
        where = f"the table of features {str(task.data)!r}"
        task.roles.check_known(names, where)
        advice = "Merge them, rename one"
        task.roles.check_case(names, "Folders of classes", where, advice)
        contents = self._named_copies(places, hashes)
        super().__init__(task, self._listing(places, beside), contents)
        self._divide = functools.lru_cache(maxsize=1)(self.divide)
        digest = hashlib.sha256(self._table.manifest["network_sha256"].encode())
        digest.update(hashes)
        for place, rows in sorted(places.items(), key=str):
            digest.update(str(place).encode() + np.array(rows, np.int64).tobytes())
        self._mark = digest.hexdigest()[:_MARK_DIGITS]

    def fingerprint(self) -> str:
        """Returns a fingerprint of the network, the images' contents and classes."""
        return self._mark

    def splits(self, count: int, seed: int) -> list[SplitRows]:
        """Returns the rows to train on, to validate with and to test on.

        They are those of the images that `load_folder` gives. Too few of them are a
        `ValueError`.
        """
        found = [self._rows(split) for split in self._divide(count, seed)[:3]]
        for name, rows, needed in zip(PARTS, found, (2, 1, 2), strict=True):
            numbers = np.bincount(rows.labels, minlength=2)
            if not all(numbers[:needed]):
                wanted = ("a majority image", "an image of each class")[needed - 1]
                raise ValueError(
                    f"There are too few images for the {name} split; expected {wanted} "
                    f"in it at least. Received: {numbers[0]:,} of the majority and "
                    f"{numbers[1]:,} of the minority, by the seed {seed}. Compute the "
                    "features of more images."
                )
        return found

    def sample(self, count: int, seed: int) -> Sample:
        """Returns what a run reads: rows that are not in memory."""
        train, validation, test = self.splits(count, seed)
        vectors = self._vectors
        layout = {
            "encoder_size": None,
            "discriminator_size": self._table.vector_sizes,
            "place_depths": 0,
        }
        inputs = [vectors.select(rows.numbers) for rows in (train, validation, test)]
        return Sample(
            inputs[0], train.labels, inputs[1], inputs[2], test.labels, layout
        )

    @functools.cached_property
    def _vectors(self) -> data.LazyRows:
        logs.tell(f"Vectors of {len(self._table):,} images of {self.task.label}")
        return self._table.vectors()

    def _rows(self, split: Split) -> SplitRows:
        numbers = np.fromiter((row for row, _ in split), np.int64, len(split))
        labels = {name: self.task.roles.label(name) for name in self.task.roles.names}
        own = np.fromiter((labels[name] for _, name in split), np.int32, len(split))
        return SplitRows(numbers, own)

    def _read(self) -> tuple[Places, np.ndarray, set[str], Counter[str]]:
        """Returns rows of classes, hashes of all, names of folders, what is beside."""
        places: Places = {}
        names: set[str] = set()
        known, beside = set(self.task.roles.names), Counter[str]()
        hashes = np.empty(len(self._table), _HASH)
        for row, path, mark in self._images():
            hashes[row] = bytes.fromhex(mark)
            part, name = _place(os.path.dirname(path))
            names.add(name)
            if name in known:
                places.setdefault((part, name), []).append(row)
            else:
                beside["of no class named"] += 1
        return places, hashes, names, beside

    def _images(self) -> Iterator[tuple[int, str, str]]:
        """Yields row, path and content hash of every image."""
        row = 0
        for batch in self._table.names():
            columns = (batch[name].to_pylist() for name in ("path", "content_hash"))
            for path, mark in zip(*columns, strict=True):
                yield row, path, mark
                row += 1

    def _named_copies(self, places: Places, hashes: np.ndarray) -> dict[int, bytes]:
        """Names the rows of equal contents in their places; returns their hashes."""
        order = np.argsort(hashes, kind="stable")
        is_next = hashes[order[1:]] == hashes[order[:-1]]
        is_copy = np.append(is_next, False) | np.insert(is_next, 0, False)
        copies = {int(row): _NamedRow(row) for row in order[is_copy]}
        if copies:
            for row, path, _ in self._images():
                if row in copies:
                    copies[row].path = path
            for place, rows in places.items():
                places[place] = [copies.get(row, row) for row in rows]
        return {row: bytes(hashes[row]) for row in copies}

    def _listing(self, places: Places, beside: Counter[str]) -> Listing:
        """Returns the rows as `load_folder` lists images."""
        names = self.task.roles.names
        parts = {
            part: {n: places[part, n] for n in names if (part, n) in places}
            for part in {part for part, _ in places}
        }
        if "train" not in parts or "test" not in parts:
            if len(parts) > 1:
                told = [part or "folders of another name" for part in parts]
                raise ValueError(
                    "The classes lie in parts that are not train and test; expected "
                    "these two, and perhaps validation, or one folder for all. "
                    f"Received: {', '.join(sorted(told))}. Move the images, and "
                    "compute their features again."
                )
            return Listing(*parts.values(), None, None, beside)
        if None in parts:
            n_others = sum(map(len, parts[None].values()))
            beside["in neither train nor test"] += n_others
        self._check_parts(parts)
        return Listing(parts["train"], parts.get("validation"), parts["test"], beside)

    def _check_parts(self, parts: dict[str | None, dict[str, list[int]]]) -> None:
        """Refuses parts that lack classes; the minority may be in the test alone."""
        roles = self.task.roles
        needed = {"train": roles.majority, "test": roles.names}
        if any(name in parts["train"] for name in roles.minority):
            needed["train"] = roles.names
        if "validation" in parts:
            needed["validation"] = roles.majority
        advice = "Put images of it there, and compute their features again."
        for part, names in needed.items():
            roles.check_known(parts[part], f"the part {part!r}", advice, names=names)


@functools.lru_cache(4096)
def _place(folder: str) -> tuple[str | None, str]:
    """Returns the part of the images that a folder is below, if any, and its name.

    >>> _place("/images/Training/good")
    ('train', 'good')
    """
    path = Path(folder)
    above = path.parent.name.lower()
    parts = (part for part, names in PARTS.items() if above in names)
    return next(parts, None), path.name


def origin(place: Path | str) -> tuple[Pairing, str]:
    """Returns the networks that features come from, by name, and in words."""
    manifest = FeatureTable(place).manifest
    model, mark = manifest["job"]["model"], manifest["network_sha256"][:_MARK_DIGITS]
    if "pairing" in model:
        # Both networks read what the discriminator's backbone puts out.
        name = str(Backbone.parse(model["pairing"].rpartition("->")[2].strip()))
        weights = model["weights"] or "none"
        if weights not in ("imagenet", "none"):
            weights = f"of a file with SHA-256 {weights[:_MARK_DIGITS]}"
        told = f"{name} at {model['image_size']} pixels, weights {weights}"
    else:
        name = f"run {model['sha256'][:_MARK_DIGITS]}"
        told = f"the backbone of the run whose model.keras has SHA-256 {name[4:]}"
    dtype = manifest["job"]["dtype"]
    told += f", in {dtype}; SHA-256 of the network {mark}"
    return Pairing(name, name), printable(told)
