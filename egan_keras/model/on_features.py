"""A model behind its frozen layers: scored and trained again within seconds."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from egan_keras import data, features
from egan_keras.keras_hooks import find_layer
from egan_keras.model.egan import EGAN
from egan_keras.networks import Recipe, UnitLength

# Layers of a stem that what is trained on sets.
_ADAPTED = ("standardization", "places")


class FeatureRows(data.LazyRows):
    """Vectors of images and, flat behind them, maps, which are read when asked for.

    Args:
        vectors: (n, d), in memory.
        maps: For each depth (n, h, w, c), an array or lazy.
    """

    def __init__(self, vectors: np.ndarray, maps: features.Features) -> None:
        self.vectors, self.maps = vectors, maps
        size = vectors.shape[1] + sum(int(np.prod(x.shape[1:])) for x in maps)
        self.shape, self.dtype = (len(vectors), size), np.dtype(np.float32)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        flat = [each[rows].reshape(len(rows), -1) for each in self.maps]
        parts = [self.vectors[rows], *flat]
        return np.concatenate(parts, axis=1, dtype=np.float32)


class JoinedRows(data.LazyRows):
    """Rows of several sets of rows, one set behind the other."""

    def __init__(self, sets: Sequence[data.LazyRows]) -> None:
        self._sets = [each for each in sets if len(each)]
        self._ends = np.cumsum([len(each) for each in self._sets])
        self.shape = (int(self._ends[-1]), *self._sets[0].shape[1:])
        self.dtype = self._sets[0].dtype

    def _read(self, rows: np.ndarray) -> np.ndarray:
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        which = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(which):
            own = which == number
            start = self._ends[number] - len(self._sets[number])
            found[own] = self._sets[number][rows[own] - start]
        return found


def learns_on_features(recipe: Recipe) -> bool:
    """Tells whether a recipe keeps backbones frozen, so that features are enough."""
    return not recipe.trained_layers and recipe.generates == "features"


def feature_rows(
    model: EGAN,
    images: np.ndarray | data.LazyRows,
    store: features.FeatureStore,
    what: str,
    *,
    show: bool = True,
) -> FeatureRows:
    """Returns what a model's frozen layers make of images, each seen once.

    Args:
        model: A model whose backbones are frozen.
        images: (n, h, w, 3), an array or lazy.
        store: Where the features are kept.
        what: What the images are, for messages.
        show: Whether to show progress.
    """
    stem = features.compiled(model.discriminator.stem)
    found = store.features(images, stem.recognising_with_maps, what, show=show)
    (vectors,), maps, _ = stem.parted(found)
    return FeatureRows(np.asarray(vectors), maps)


def on_features(model: EGAN) -> EGAN:
    """Returns a model that scores rows of features as a model scores their images.

    Its generator reads what the discriminator's backbone puts out, whatever the run's
    encoder is. It is compiled.

    Args:
        model: What was trained on images, with a recipe that `learns_on_features`.
    """
    other = untrained(model)
    carry_over(model, other)
    other.minority_classes = model.minority_classes
    return other


def trained_on(
    model: EGAN,
    rows: data.LazyRows,
    mirrored: data.LazyRows | None,
    labels: np.ndarray,
    **fit_options: Any,
) -> EGAN:
    """Trains a new model on rows of features, as the model was on images.

    Args:
        model: What takes images, with a recipe that `learns_on_features`.
        rows: Of images, as `feature_rows` gives them, (n, d).
        mirrored: Of the mirror images of the minority among them, in its order;
            `None` where the recipe does not mirror.
        labels: (n,), 0 majority and 1 minority.
        **fit_options: Arguments of `EGAN.fit`.

    Raises:
        ValueError: If a class is missing.
    """
    data.check_both_classes(labels)
    other = untrained(model)
    if model.recipe.mirrored_minority:
        rows = JoinedRows([rows, mirrored])
        labels = np.append(labels, np.ones(len(mirrored), labels.dtype))
    store = features.FeatureStore("memory", verbose=0)
    other.fit(rows, labels, verbose=0, cache_features=store, **fit_options)
    return other


def mirrored_rows(
    model: EGAN, images: np.ndarray | data.LazyRows, store: features.FeatureStore
) -> FeatureRows:
    """Returns what a model's frozen layers make of the mirror images of images."""
    behind = np.arange(len(images), 2 * len(images))
    images = data.WithMirrorImages(images).select(behind)
    return feature_rows(model, images, store, "mirrored", show=False)


def carry_over(source: EGAN, target: EGAN) -> None:
    """Gives a discriminator the weights of another, but for those of backbones."""
    ours, theirs = source.discriminator, target.discriminator
    for name in _ADAPTED:
        if any(layer.name == name for layer in theirs.stem.layers):
            weights = ours.stem.get_layer(name).get_weights()
            theirs.stem.get_layer(name).set_weights(weights)
    theirs.tail.set_weights(ours.tail.get_weights())


def untrained(model: EGAN) -> EGAN:
    """Returns a new model of features, compiled as a model of images is, or anew."""
    stem = features.compiled(model.discriminator.stem)
    unit_length = find_layer(model.discriminator.stem, UnitLength)
    ((width,), _), *_ = stem.raw.row_types(model.image_shape)
    maps = stem.maps.row_types(model.image_shape) if stem.maps else []
    other = EGAN.from_features(
        None,
        list(unit_length.sizes) if unit_length else width,
        map_shapes=[shape for shape, _ in maps],
        side=max(model.image_shape[:2]),
        views=1 + model.recipe.mirrored_minority,
        recipe=model.recipe,
        pairing=model.pairing,
    )
    if model.compiled:
        other.compile_from_config(model.get_compile_config())
    else:
        other.compile()
    return other
