"""Frozen pooled features of whole class folders, computed once and kept on disk."""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from egan_keras import features, networks
from egan_keras.backbones import Backbone
from egan_keras.data import ImageFiles, WithMirrorImages
from egan_keras.experiments.grid import (
    ClassFolder,
    Place,
    as_file_name,
    describe_weights,
    fingerprint,
)
from egan_keras.files import write_atomically
from egan_keras.text import printable

FOLDER = "features"


class Extractor(NamedTuple):
    """What makes pooled features of images, of (height, width) and perhaps mirrored."""

    backbone: str
    network_size: int
    own_preprocessing: bool
    depths: int
    image_size: tuple[int, int]
    mirrored: bool = False

    def build(self, weights: str | None) -> tuple[keras.Model, list[int]]:
        """Returns the model, from pixels 0..255, and the length of each depth."""
        recipe = networks.get_recipe(
            "default",
            depths=self.depths,
            network_size=self.network_size,
            own_preprocessing=self.own_preprocessing,
        )
        backbone, shape = Backbone.parse(self.backbone), (*self.image_size, 3)
        return networks.pooled_features(backbone, recipe, shape, weights=weights)

    @functools.lru_cache  # noqa: B019 (an extractor is a small tuple)
    def sizes(self) -> tuple[int, ...]:
        """Returns the length of the feature vector of each depth."""
        return tuple(self.build(None)[1])


def extractor(
    backbone: str,
    recipe: networks.Recipe,
    image_size: tuple[int, int],
    network_size: int | None,
) -> Extractor:
    """Returns what makes the features that a recipe trains on.

    Images of (height, width) are resized to the recipe's network size, else to the one
    given, else to the backbone's.
    """
    size = recipe.network_size or network_size
    if size is None:
        size = networks.network_size(Backbone.parse(backbone), (*image_size, 3))
    choices = recipe.own_preprocessing, recipe.depths
    return Extractor(backbone, size, *choices, image_size)


class FolderFeatures:
    """Features of class folders, in files of a folder that later runs read."""

    def __init__(self, folder: Path, weights: str | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._weights = folder, weights
        self._kept: dict[tuple[ClassFolder, Extractor], np.ndarray] = {}
        self._latest: tuple[Extractor, keras.Model] | None = None
        verbose = 1 if sys.stdout.isatty() else 2
        self._store = features.FeatureStore("memory", verbose=verbose)

    def rows(self, places: Sequence[Place], extractor: Extractor) -> np.ndarray:
        """Returns the features of images, float32 (n, d), in their order."""
        for folder in dict.fromkeys(place.folder for place in places):
            if (folder, extractor) not in self._kept:
                path = self._path(folder, extractor)
                try:
                    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
                except (OSError, ValueError, EOFError):  # not there, or damaged
                    self._compute(folder, extractor, path)
                    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
                self._kept[folder, extractor] = mapped.view(np.ndarray)
        rows = [self._kept[place.folder, extractor][place.row] for place in places]
        return np.stack(rows, dtype=np.float32)

    def _path(self, folder: ClassFolder, extractor: Extractor) -> Path:
        weights = describe_weights(self._weights)
        own = [folder.fingerprint(), *extractor, weights]
        mark = fingerprint(own + [folder.gray_range] * (folder.gray_range is not None))
        text = f"{folder.name}_{extractor.backbone}_{extractor.network_size}px"
        text += "_mirrored" if extractor.mirrored else ""
        return self._folder / f"{as_file_name(text)}_{mark}.npy"

    def _compute(self, folder: ClassFolder, extractor: Extractor, path: Path) -> None:
        if self._latest is None or self._latest[0] != extractor:
            # So that random weights are the same for all folders, in every process.
            keras.utils.set_random_seed(0)
            self._latest = extractor, extractor.build(self._weights)[0]
        how = ", mirrored" if extractor.mirrored else ""
        how += f", again: {printable(path)} is damaged" if path.exists() else ""
        print(f"{extractor.backbone} at {extractor.network_size} pixels{how}")
        images = ImageFiles(folder.paths, extractor.image_size, folder.gray_range)
        if extractor.mirrored:
            count = len(images)
            images = WithMirrorImages(images).select(np.arange(count, 2 * count))
        compute = features.compiled(self._latest[1])
        (rows,) = self._store.features(images, compute, folder.name)
        if path != self._path(folder, extractor):
            raise ValueError(
                "Images or weights changed while features were made of them; expected "
                f"files that stay as they are. Received: {folder.name}. Run it again."
            )
        write_atomically(path, lambda t: np.save(t, rows, allow_pickle=False))
