"""What a run reads: rows of features or images, with labels, by split."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from egan_keras import data, networks
from egan_keras.data.splits import Division
from egan_keras.experiments.files import TaskFiles
from egan_keras.experiments.frozen import Extractor, FolderFeatures, extractor
from egan_keras.experiments.grid import VALIDATION_FRACTION, Run, Task


class Sample(NamedTuple):
    """Inputs and labels of the splits of one run.

    Attributes:
        train: rows of features, float32 (n, d), or images, uint8 (n, h, w, 3). Rows of
            mirrored minority images, where a recipe trains on them, stand last.
        train_labels: 0 = majority, 1 = minority, int32 (n,).
        validation: the same of the validation split, majority alone.
        test: the same of the test split.
        test_labels: its labels.
        encoder_size: length of the encoder's features, which stand first in a row;
            None for images, and where both backbones are the same.
        discriminator_sizes: lengths of the discriminator's feature vectors, one for
            each depth; empty for images.
    """

    train: np.ndarray
    train_labels: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    encoder_size: int | None = None
    discriminator_sizes: tuple[int, ...] = ()


class Samples:
    """Prepares what runs read, and keeps the latest for the next method.

    Args:
        store: where frozen features are kept.
        files: the files of each task.
    """

    def __init__(self, store: FolderFeatures, files: dict[Task, TaskFiles]) -> None:
        self._store = store
        self._files = files
        self._latest: tuple[Any, Sample] | None = None

    def of(self, run: Run) -> Sample:
        """Returns what a run reads.

        Raises:
            ValueError: if an image cannot be read.
            OSError: if ImageNet weights cannot be had.
        """
        files = self._files[run.cell.task]
        if run.method.needs_images:
            return self._remembered(
                (run.cell.task, run.cell.count, run.seed), lambda: _images(run, files)
            )
        division = files.divide(run.cell.count, run.seed)
        extractors = _extractors(run, files.image_size(division))
        mirrored = bool(run.method.recipe and run.method.recipe.mirrored_minority)
        return self._remembered(
            (run.cell.task, run.cell.count, run.seed, extractors, mirrored),
            lambda: self._features(files, division, extractors, mirrored),
        )

    def counts(self, run: Run) -> dict[str, int]:
        """Returns how many of a run's files equal another one."""
        return self._files[run.cell.task].counts

    def _remembered(self, key: tuple, make: Callable[[], Sample]) -> Sample:
        if self._latest is None or self._latest[0] != key:
            # Let go of before the next one takes as much memory.
            self._latest = None
            self._latest = key, make()
        return self._latest[1]

    def _features(
        self,
        files: TaskFiles,
        division: Division[Path],
        extractors: tuple[Extractor, ...],
        mirrored: bool,
    ) -> Sample:
        """Returns rows of features, the encoder's before the discriminator's."""

        def rows(split: Sequence[tuple[Path, str]], mirrored: bool) -> np.ndarray:
            places = [files.places[path] for path, _ in split]
            used = [each._replace(mirrored=mirrored) for each in extractors]
            return np.concatenate([self._store.rows(places, e) for e in used], axis=1)

        splits = [
            rows(split, mirrored=False)
            for split in (division.train, division.validation, division.test)
        ]
        train_labels = files.labels(division.train)
        if mirrored:
            minority = [
                x for x, y in zip(division.train, train_labels, strict=True) if y
            ]
            splits[0] = np.concatenate([splits[0], rows(minority, mirrored=True)])
            train_labels = np.append(train_labels, files.labels(minority))
        encoder_size = sum(extractors[0].sizes()) if len(extractors) == 2 else None
        return Sample(
            splits[0],
            train_labels,
            splits[1],
            splits[2],
            files.labels(division.test),
            encoder_size,
            extractors[-1].sizes(),
        )


def _extractors(run: Run, image_size: tuple[int, int]) -> tuple[Extractor, ...]:
    """Returns what makes the features of a run, each once, the encoder's first."""
    recipe = run.method.recipe or networks.get_recipe("default")
    return tuple(
        extractor(backbone, recipe, image_size, run.network_size)
        for backbone in dict.fromkeys(run.backbones)
    )


def _images(run: Run, files: TaskFiles) -> Sample:
    task = run.cell.task
    splits = data.load_folder(
        task.data,
        majority=task.majority,
        minority=task.minority,
        minority_count=run.cell.count,
        image_size=task.image_size,
        gray_range=task.gray_range,
        seed=run.seed,
        validation_fraction=VALIDATION_FRACTION,
        test_fraction=task.test_fraction,
        duplicates=task.duplicates,
    )
    files.check_unchanged()
    return Sample(
        splits.train.images,
        splits.train.labels,
        splits.validation.images,
        splits.test.images,
        splits.test.labels,
    )
