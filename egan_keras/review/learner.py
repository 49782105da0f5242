"""What a reviewer's labels teach: features at hand, judged and trained on again."""

import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from PIL import Image

from egan_keras import data, features
from egan_keras.data.decoding import decode
from egan_keras.data.images import decode_batch
from egan_keras.evaluation import overlaid
from egan_keras.evaluation.shift import limit
from egan_keras.model import EGAN, on_features
from egan_keras.model.on_features import JoinedRows

# On a few more labels the order of the rest hardly changes.
EPOCHS = 5
# So many majority images tell how far from one another they are.
_JUDGED = 300
# So many numbers tell images apart.
_COMPACT, _MOST_ROWS = 32, 2000
# Of a picture, pixels, and its JPEG quality.
_LONGEST_SIDE, _QUALITY = 800, 90


class Judged(NamedTuple):
    """What a model says of the images to label.

    `is_alien` tells which images are unlike anything seen in training, and `most_like`
    which minority class each is most like, by the run's model; it is `None` unless that
    knows several.
    """

    scores: np.ndarray  # (n,), low = minority
    threshold: float
    is_alien: np.ndarray  # bool (n,)
    most_like: np.ndarray | None = None


class Known(NamedTuple):
    """Images that a run was trained on, as they are on the disk now; labels 0 and 1."""

    paths: list[Path]
    labels: np.ndarray


class Learner:
    """Judges the images to label, and learns from labels within seconds.

    The frozen layers see each image once. The run's model is changed in memory alone.
    From the distance `farthest` on, an image is unlike anything seen in the run's
    training; it is `None` if that is not known.

    `vectors` tell the images to label apart, (n, d), and `seen` those that the run was
    trained on, (m, d); `can_learn` is whether its recipe keeps the backbones frozen.
    """

    def __init__(
        self,
        model: EGAN,
        paths: Sequence[Path],
        known: Known,
        *,
        store: features.FeatureStore,
        gray_range: data.decoding.GrayRange | None = None,
        farthest: float | None = None,
    ) -> None:
        self._model, self._store, self._known = model, store, known
        self._paths, self._gray_range = list(paths), gray_range
        self._farthest = farthest
        self._most_like: np.ndarray | None = None
        self._lock = threading.Lock()
        self.can_learn = on_features.learns_on_features(model.recipe)
        self._images = self._files(self._paths)
        if not self.can_learn:
            self.vectors = compact(_pooled_vectors(model, self._images, store))
            self.seen = self.vectors[:0]
            return
        self._rows = on_features.feature_rows(model, self._images, store, "unlabelled")
        self._known_rows = []
        if known.paths:
            files = self._files(known.paths)
            read = on_features.feature_rows(model, files, store, "training")
            self._known_rows.append(read)
        sets = [self._rows, *self._known_rows]
        vectors = compact(np.concatenate([each.vectors for each in sets]))
        self.vectors, self.seen = np.split(vectors, [len(self._paths)])
        self._mirrored: dict[Path, data.LazyRows] = {}

    @property
    def has_heat_maps(self) -> bool:
        """Whether `heat_map` can be called."""
        return self._model.judges_places

    def judge(self) -> Judged:
        """Judges by the run's model, at its threshold."""
        with self._lock:
            threshold, model, rows = self._model.threshold, self._model, self._images
            if self.can_learn:
                model, rows = on_features.on_features(self._model), self._rows
            found = model.judge(rows)
            self._most_like = found.most_like
        return self._judged(found, threshold, self._farthest)

    def learn(self, numbers: Sequence[int], labels: Sequence[int]) -> Judged:
        """Trains anew on what the run was trained on and on labelled images, by number.

        The threshold is 0 afterwards, below which the recipe puts 5 % of the majority.
        A `ValueError` if there are not images of both classes, or the recipe trains the
        backbones.
        """
        numbers, labels = np.asarray(numbers, int), np.asarray(labels, np.int32)
        every = np.concatenate([self._known.labels, labels]).astype(np.int32)
        if not self.can_learn:
            raise ValueError(
                "This run's recipe trains the backbones, which takes longer than a "
                "page can wait; expected a run of recipe default. Train for good on "
                "the command line."
            )
        if not (np.any(every == 0) and np.any(every == 1)):
            counts = np.bincount(every, minlength=2)
            raise ValueError(
                "To train takes images of both classes. Received: "
                f"{counts[0]} majority and {counts[1]} minority images. Label some "
                "first."
            )
        paths = [*self._known.paths, *(self._paths[number] for number in numbers)]
        rows = JoinedRows([*self._known_rows, self._rows.select(numbers)])
        mirrored = None
        if self._model.recipe.mirrored_minority:
            few = [path for path, label in zip(paths, every, strict=True) if label]
            with self._lock:
                mirrored = self._mirror_images(few)
        keras.utils.set_random_seed(0)
        new = on_features.trained_on(self._model, rows, mirrored, every, epochs=EPOCHS)
        found = new.judge(self._rows)
        farthest = None if found.distances is None else _farthest(new, rows, every)
        # For heat maps, which are made all the while.
        with self._lock:
            on_features.carry_over(new, self._model)
        return self._judged(found, 0.0, farthest)

    def picture(self, number: int) -> bytes:
        """Returns an image as a JPEG file, its longest side at most 800 pixels.

        It is decoded, within the package's limits, and encoded anew: what else the file
        holds does not get to the page. `UnreadableError` if it cannot be decoded.
        """
        return _as_jpeg(self._shrunk(number))

    def heat_picture(self, number: int) -> bytes:
        """Returns the same in shades of gray under its heat map."""
        shown, size = self._shrunk(number), self._model.image_shape[:2]
        pixels = decode(self._paths[number], size, self._gray_range).pixels
        heat = Image.fromarray(self.heat_map(pixels))
        heat = heat.resize(shown.size, Image.Resampling.BILINEAR)
        marked = overlaid(np.asarray(shown), np.asarray(heat))
        return _as_jpeg(Image.fromarray(marked))

    def heat_map(self, image: np.ndarray) -> np.ndarray:
        """Returns where an image, uint8 (h, w, 3), speaks for minority, (h, w)."""
        with self._lock:
            return self._model.scores_and_heat_maps(image[None])[1][0]

    def _shrunk(self, number: int) -> Image.Image:
        pixels = decode(self._paths[number], None, self._gray_range).pixels
        shown = Image.fromarray(pixels)
        shown.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
        return shown

    def _judged(self, found: Any, threshold: float, farthest: float | None) -> Judged:
        is_alien = np.zeros(len(found.scores), bool)
        if found.distances is not None and farthest is not None:
            is_alien = found.distances > farthest
        return Judged(found.scores, threshold, is_alien, self._most_like)

    def _files(self, paths: Sequence[Path]) -> data.ImageFiles:
        return data.ImageFiles(paths, self._model.image_shape[:2], self._gray_range)

    def _mirror_images(self, paths: Sequence[Path]) -> JoinedRows:
        """Returns features of mirror images; where a file is gone, of the image."""
        new = [path for path in dict.fromkeys(paths) if path not in self._mirrored]
        if new:
            size = self._model.image_shape[:2]
            images, read, _ = decode_batch(
                new, size, self._gray_range, skip_unreadable=True
            )
            if read:
                images = np.ascontiguousarray(images[:, :, ::-1])
                rows = on_features.feature_rows(
                    self._model, images, self._store, "mirrored", show=False
                )
                for number, path in enumerate(read):
                    self._mirrored[path] = rows.select(np.array([number]))
        return JoinedRows([self._mirrored.get(p) or self._own(p) for p in paths])

    def _own(self, path: Path) -> data.LazyRows:
        row = [*self._paths, *self._known.paths].index(path)
        return JoinedRows([self._rows, *self._known_rows]).select(np.array([row]))


def compact(vectors: np.ndarray) -> np.ndarray:
    """Returns vectors (n, d) in at most 32 numbers, those in which they differ most."""
    step = max(1, len(vectors) // _MOST_ROWS)
    some = vectors[::step].astype(np.float64)
    mean, deviation = some.mean(axis=0), some.std(axis=0) + 1e-6
    directions = np.linalg.svd((some - mean) / deviation, full_matrices=False)[2]
    return ((vectors - mean) / deviation @ directions[:_COMPACT].T).astype(np.float32)


def _as_jpeg(shown: Image.Image) -> bytes:
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()


def _farthest(model: EGAN, rows: data.LazyRows, labels: np.ndarray) -> float:
    """Returns from which distance on an image is unlike what was trained on."""
    some = np.flatnonzero(labels == 0)
    some = some[:: max(1, len(some) // _JUDGED)]
    few = np.flatnonzero(labels == 1)
    distances = model.judge(rows.select(np.concatenate([some, few]))).distances
    return limit(distances[: len(some)], distances[len(some) :])


def _pooled_vectors(
    model: EGAN, images: data.LazyRows, store: features.FeatureStore
) -> np.ndarray:
    """Returns what frozen layers make of images, averaged over places, (n, d).

    Of a model whose backbones are trained above a cut, these are what is below it.
    """
    stem = features.compiled(model.discriminator.stem)
    found = store.features(images, stem, "unlabelled")
    parts = [np.asarray(each).reshape(len(each), -1, each.shape[-1]) for each in found]
    return np.concatenate([part.mean(axis=1) for part in parts], axis=1)
