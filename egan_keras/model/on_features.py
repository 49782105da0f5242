"""A model behind its frozen layers: scored and trained again within seconds."""

from typing import Any

import numpy as np

from egan_keras import data, features
from egan_keras.features.feature_rows import FeatureRows, JoinedRows
from egan_keras.model.egan import EGAN
from egan_keras.networks import Recipe, UnitLength

# Layers of a stem that what is trained on sets.
_ADAPTED = ("standardization", "places")


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
    compute = stem.recognising_with_maps if stem.maps else stem.recognising
    vectors, *maps, _ = store.features(images, compute, what, show=show)
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
    layers = model.discriminator.stem.layers
    sizes = [layer.sizes for layer in layers if isinstance(layer, UnitLength)]
    ((width,), _), *_ = stem.raw.row_types(model.image_shape)
    maps = stem.maps.row_types(model.image_shape) if stem.maps else []
    other = EGAN.from_features(
        None,
        list(sizes[0]) if sizes else width,
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
