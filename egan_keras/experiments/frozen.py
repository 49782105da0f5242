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

FOLDER = "features"


class Extractor(NamedTuple):
    """What makes pooled features of images.

    Attributes:
        backbone: as written for `Backbone.parse`.
        network_size: side to which images are resized inside the network.
        own_preprocessing: as in a recipe.
        depths: as in a recipe.
        image_size: (height, width) to which files are stretched when they are read.
        mirrored: whether each image is mirrored.
    """

    backbone: str
    network_size: int
    own_preprocessing: bool
    depths: int
    image_size: tuple[int, int]
    mirrored: bool = False

    def build(self, weights: str | None) -> keras.Model:
        """Returns the model from images, pixels 0..255, to features (n, d)."""
        # So that random weights are the same for all folders, in every process.
        keras.utils.set_random_seed(0)
        return self._pooled(weights)[0]

    @functools.lru_cache  # noqa: B019 (an extractor is a small tuple)
    def sizes(self) -> tuple[int, ...]:
        """Returns the length of the feature vector of each depth."""
        return tuple(self._pooled(None)[1])

    def _pooled(self, weights: str | None) -> tuple[keras.Model, list[int]]:
        recipe = networks.get_recipe(
            "default",
            depths=self.depths,
            network_size=self.network_size,
            own_preprocessing=self.own_preprocessing,
        )
        backbone = Backbone.parse(self.backbone)
        return networks.pooled_features(
            backbone, recipe, (*self.image_size, 3), weights=weights
        )


def extractor(
    backbone: str,
    recipe: networks.Recipe,
    image_size: tuple[int, int],
    network_size: int | None,
) -> Extractor:
    """Returns what makes the features that a recipe trains on.

    Args:
        backbone: as written for `Backbone.parse`.
        recipe: the recipe.
        image_size: (height, width) of the images.
        network_size: side to which images are resized where the recipe names none.
    """
    size = recipe.network_size or network_size
    if size is None:
        size = networks.network_size(Backbone.parse(backbone), (*image_size, 3))
    return Extractor(
        backbone, size, recipe.own_preprocessing, recipe.depths, image_size
    )


class FolderFeatures:
    """Features of class folders, in files that later runs and processes read.

    Args:
        folder: where the files are kept; it is made.
        weights: of the backbones, as for `Backbone.build`.
    """

    def __init__(self, folder: Path, weights: str | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._weights = weights
        self._kept: dict[tuple[ClassFolder, Extractor], np.ndarray] = {}
        self._stem: tuple[Extractor, features.StemFunction] | None = None

    def rows(self, places: Sequence[Place], extractor: Extractor) -> np.ndarray:
        """Returns the features of images, float32 (n, d), in their order.

        Raises:
            ValueError: if an image cannot be read.
            OSError: if ImageNet weights cannot be had.
        """
        by_folder: dict[ClassFolder, list[int]] = {}
        for index, place in enumerate(places):
            by_folder.setdefault(place.folder, []).append(index)
        parts = {each: self._features(each, extractor) for each in by_folder}
        width = next(iter(parts.values())).shape[1]
        rows = np.empty((len(places), width), np.float32)
        for folder, indices in by_folder.items():
            rows[indices] = parts[folder][[places[index].row for index in indices]]
        return rows

    def _features(self, folder: ClassFolder, extractor: Extractor) -> np.ndarray:
        """Returns the features of a whole folder, mapped from disk."""
        key = folder, extractor
        if key not in self._kept:
            path = self._path(folder, extractor)
            if not path.is_file():
                self._compute(folder, extractor, path)
            self._kept[key] = np.load(path, mmap_mode="r", allow_pickle=False)
        return self._kept[key]

    def _path(self, folder: ClassFolder, extractor: Extractor) -> Path:
        weights = describe_weights(self._weights)
        own = [folder.fingerprint(), *extractor, weights]
        mark = fingerprint(own + [folder.gray_range] * (folder.gray_range is not None))
        text = f"{folder.name}_{extractor.backbone}_{extractor.network_size}px"
        text += "_mirrored" if extractor.mirrored else ""
        return self._folder / f"{as_file_name(text)}_{mark}.npy"

    def _compute(self, folder: ClassFolder, extractor: Extractor, path: Path) -> None:
        if self._stem is None or self._stem[0] != extractor:
            stem = features.StemFunction(extractor.build(self._weights))
            self._stem = extractor, stem
        mirrored = ", mirrored" if extractor.mirrored else ""
        print(f"{extractor.backbone} at {extractor.network_size} pixels{mirrored}")
        images = ImageFiles(folder.paths, extractor.image_size, folder.gray_range)
        if extractor.mirrored:
            count = len(images)
            images = WithMirrorImages(images).select(np.arange(count, 2 * count))
        cache = features.FeatureStore("memory", verbose=1 if sys.stdout.isatty() else 2)
        (rows,) = cache.features(images, self._stem[1], folder.name)
        if path != self._path(folder, extractor):
            raise ValueError(
                "Images or weights changed while features were made of them; expected "
                f"files that stay as they are. Received: {folder.name}. Run it again."
            )
        write_atomically(path, lambda t: np.save(t, rows, allow_pickle=False))
