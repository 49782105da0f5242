"""A frozen stem as functions from images to features."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

import keras
import numpy as np

from egan_keras import data
from egan_keras.features.inference import FrozenInference, Inference
from egan_keras.keras_hooks import identity
from egan_keras.networks import MajorityStandardization, PlaceEvidence, cast

# Places of so many images tell enough of the majority's.
_FEWEST_MAPS, _MOST_MAPS, _BYTES_OF_MAPS = 100, 3000, 256_000_000
_THINNED_OUT_AT = 1.25  # times as many

Images = np.ndarray | data.LazyRows
Features = list[np.ndarray | data.LazyRows]


class Layout(NamedTuple):
    """How many rows a set of features has, and of which shape and dtype each is."""

    count: int
    row_types: list[tuple[tuple[int, ...], np.dtype]]

    @property
    def nbytes(self) -> int:
        """Number of bytes of all rows."""
        return self.count * sum(
            int(np.prod(shape)) * dtype.itemsize for shape, dtype in self.row_types
        )


class StemFunction:
    """A compiled function from images (n, h, w, 3) to the stem's features.

    The majority that a model is trained on sets the standardisation at the end of its
    stem. What stands before it depends on the image alone, and is kept in files.

    Args:
        stem: Model from images (n, h, w, 3) to one tensor or several.

    Attributes:
        standardization: The layer at the stem's end; `None` where there is none.
        raw: The function up to there.
        recognising: As `raw`, with `data.row_hashes` of the images behind the features.
        recognising_with_maps: As `recognising`, with the maps, where places are judged,
            before the hashes; `parted` takes them apart.
        places: The layer beside it that judges places; `None` where there is none.
        maps: The function up to there, in float16; `None` likewise.
    """

    def __init__(self, stem: keras.Model) -> None:
        self._stem, self._rest = stem, None
        outputs = keras.tree.flatten(stem.outputs)
        # NumPy, and so a file of features, has no bfloat16.
        names = ["float32" if x.dtype == "bfloat16" else x.dtype for x in outputs]
        self._types = [np.dtype(name) for name in names]
        self._part, self._has_hashes, self.raw = slice(None), False, self
        self.standardization = self.maps = self.places = None
        for layer in stem.layers:
            if isinstance(layer, MajorityStandardization):
                self.standardization = layer
            elif isinstance(layer, PlaceEvidence):
                self.places = layer
        judged = keras.tree.flatten(self.places.input) if self.places else []
        if self.standardization or judged:
            raw = self.standardization.input if self.standardization else stem.output
            # One function computes both: they share all that takes long.
            both = StemFunction(keras.Model(stem.inputs, [raw, *judged]))
            both._types[1:] = [np.dtype("float16")] * len(judged)
            self._frozen = both._frozen
            self._rest = Inference(keras.Model([raw, *judged], stem.outputs))
            self.raw = both._varied(_part=slice(1))
            if judged:
                self.maps = both._varied(_part=slice(1, None))
                self.recognising_with_maps = both._varied(_has_hashes=True)
        else:
            self._frozen = FrozenInference(stem)
        self.recognising = self.raw._varied(_has_hashes=True)
        if not judged:
            self.recognising_with_maps = self.recognising

    def _varied(self, **attributes) -> "StemFunction":
        """Returns a function that computes the same and returns something else."""
        other = copy.copy(self)
        vars(other).update(attributes)
        return other

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """Returns the features, one array for each tensor that the stem puts out."""
        features = self._few_at_once(self._features, images)
        return [*features, data.row_hashes(images)] if self._has_hashes else features

    def features_and_maps(self, images: np.ndarray) -> list[np.ndarray]:
        """Returns what the stem puts out, and behind it the maps that it judges."""
        return self._few_at_once(self._features_and_maps, images)

    def parted(self, found: Features) -> tuple[Features, Features, np.ndarray]:
        """Returns features, maps and hashes of what `recognising_with_maps` gave."""
        *rows, hashes = found
        count = 1 if self.maps else len(rows)
        return rows[:count], rows[count:], np.asarray(hashes)

    def _features(self, images: np.ndarray) -> list[np.ndarray]:
        arrays = self._frozen(images)
        arrays = self._rest(*arrays) if self._rest else arrays
        found = list(zip(arrays, self._types, strict=True))[self._part]
        return [_as(dtype, each) for each, dtype in found]

    def _features_and_maps(self, images: np.ndarray) -> list[np.ndarray]:
        raw, *maps = self._frozen(images)
        return [*(self._rest(raw, *maps) if self._rest else [raw]), *maps]

    def _few_at_once(self, run: Callable, images: np.ndarray) -> list[np.ndarray]:
        size = self._frozen.at_once
        starts = range(0, max(1, len(images)), size)
        parts = [run(images[start : start + size]) for start in starts]
        return [np.concatenate(each) for each in zip(*parts, strict=True)]

    def pass_over(self, count: int | None = None) -> AbstractContextManager:
        """Makes one pass of all calls in it, as `FrozenInference.pass_over`."""
        return self._frozen.pass_over(count)

    @property
    def engine(self) -> str:
        """Who ran the frozen part the last time, such as `LiteRT`."""
        return self._frozen.engine

    def row_types(
        self, image_shape: tuple[int, ...]
    ) -> list[tuple[tuple[int, ...], np.dtype]]:
        """Returns shape and dtype of one image's row, for each array returned."""
        outputs = keras.tree.flatten(self._stem.outputs)
        if any(None in each.shape[1:] for each in outputs):
            images = keras.KerasTensor((1, *image_shape), self._stem.inputs[0].dtype)
            outputs = keras.tree.flatten(self._stem.compute_output_spec(images))
        shapes = [tuple(each.shape[1:]) for each in outputs]
        types = list(zip(shapes, self._types, strict=True))[self._part]
        return types + [((), np.dtype(np.uint64))] * self._has_hashes

    @property
    def evidence_size(self) -> int:
        """Number of kinds of evidence behind a row's vector."""
        return self.places.kinds if self.places else 0

    def sample_size(self, image_shape: tuple[int, ...]) -> int:
        """Returns of how many images the maps are kept for statistics of places."""
        if self.maps is None:
            return 0
        types = self.maps.row_types(image_shape)
        size = sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in types)
        return max(_FEWEST_MAPS, min(_MOST_MAPS, _BYTES_OF_MAPS // size))

    def identity(self) -> Iterator[bytes]:
        """Yields what features depend on beside images: layers, weights, versions."""
        yield from identity(self._stem)
        yield f"{self._part} with row hashes: {self._has_hashes}".encode()

    def standardized(self, features: Features) -> Features:
        """Applies the standardisation: to arrays in place, as they may fill the memory.

        Lazy rows are standardised whenever they are read.
        """
        layer = self.standardization
        if layer is None:
            return features
        mean = keras.ops.convert_to_numpy(layer.mean)
        deviation = keras.ops.convert_to_numpy(layer.deviation)
        (rows,) = features
        # The score does not look at the evidence of places in training.
        unknown = (0, 0), (0, self.evidence_size)
        if isinstance(rows, data.LazyRows):
            shape = (rows.shape[1] + unknown[1][1],)
            return [
                data.MappedRows(
                    lambda read: np.pad((read - mean) / deviation, unknown), rows, shape
                )
            ]
        rows -= mean
        rows /= deviation
        return [np.pad(rows, unknown) if self.places else rows]


class KeptMaps:
    """Computes features as `StemFunction.recognising`, and keeps the maps of a sample.

    Of the images that pass it keeps so many different ones, those of the least hashes:
    a sample at random that is the same in whatever order they come.
    """

    def __init__(self, stem: StemFunction, size: int) -> None:
        self._stem, self._size = stem, size
        self._limit = np.iinfo(np.uint64).max
        # Hashes and maps of the first so many rows; copies would take the memory twice.
        self._arrays: list[np.ndarray] = []
        self._count = 0

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """Returns the vectors and the hashes of images."""
        vectors, *maps, hashes = self._stem.recognising_with_maps(images)
        found = [hashes, *maps]
        if not self._arrays:
            room = math.ceil(_THINNED_OUT_AT * self._size)
            self._arrays = [np.empty((room, *x.shape[1:]), x.dtype) for x in found]
        rows = np.flatnonzero(hashes <= self._limit)
        while len(rows):
            if self._count == len(self._arrays[0]):
                self._thin_out()
            some, rows = np.split(rows, [len(self._arrays[0]) - self._count])
            end = self._count + len(some)
            for kept, own in zip(self._arrays, found, strict=True):
                kept[self._count : end] = own[some]
            self._count = end
        return [vectors, hashes]

    def _thin_out(self) -> None:
        kept = self._arrays[0][: self._count]
        rows = of_least_hashes(kept, self._size)
        if len(rows) == self._size:
            self._limit = kept[rows].max()
        for array in self._arrays:
            # They are in order, so that none is overwritten before it is read.
            for row, source in enumerate(rows):
                array[row] = array[source]
        self._count = len(rows)

    def of(self, hashes: np.ndarray) -> list[np.ndarray] | None:
        """Returns the maps of images; `None` if not all of them are kept."""
        if not self._arrays:
            return None
        # Then those asked for are mostly all that are there, and need no copy.
        self._thin_out()
        kept, *maps = (array[: self._count] for array in self._arrays)
        if np.array_equal(kept, hashes):
            return maps
        row_of = {each: row for row, each in enumerate(kept.tolist())}
        rows = [row_of.get(each) for each in hashes.tolist()]
        return None if None in rows else [each[rows] for each in maps]


def of_least_hashes(hashes: np.ndarray, size: int) -> np.ndarray:
    """Returns row numbers of different images: a sample at random, whatever the order.

    It holds the same images wherever they come from, and no image twice.
    """
    return np.sort(np.unique(hashes, return_index=True)[1][:size])


def _as(dtype: np.dtype, array: np.ndarray) -> np.ndarray:
    if array.dtype == dtype:
        return array
    return keras.ops.convert_to_numpy(cast(array, str(dtype)))


def compiled(stem: keras.Model) -> StemFunction:
    """Returns a stem's function, made once for all who ask while the stem lives."""
    # Kept on the stem: Keras tracks and saves no attribute of a type it does not know.
    if not hasattr(stem, "_egan_keras_function"):
        stem._egan_keras_function = StemFunction(stem)
    return stem._egan_keras_function
