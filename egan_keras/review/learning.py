"""A run's model behind its frozen layers: scored and trained again within seconds."""

import keras
import numpy as np

from egan_keras import data, features
from egan_keras.model import EGAN
from egan_keras.networks import Recipe, UnitLength
from egan_keras.review.feature_rows import JoinedRows

EPOCHS = 5
# Layers of a stem that what is trained on sets.
_ADAPTED = ("standardization", "places")


def learns_again(recipe: Recipe) -> bool:
    """Tells whether a recipe keeps backbones frozen, so that features are enough."""
    return not recipe.trained_layers and recipe.generates == "features"


def on_features(model: EGAN) -> EGAN:
    """Returns a model that scores rows of features as a model scores their images.

    Its generator reads what the discriminator's backbone puts out, whatever the run's
    encoder is. It is compiled.

    Args:
        model: What was trained on images, with a recipe that `learns_again`.
    """
    other = _untrained(model)
    carry_over(model, other)
    return other


def trained_on(
    model: EGAN,
    rows: data.LazyRows,
    mirrored: data.LazyRows | None,
    labels: np.ndarray,
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
) -> EGAN:
    """Trains a new model on rows of features, as the model was on images.

    Args:
        model: What was trained on images, with a recipe that `learns_again`.
        rows: Of images, as `feature_rows` gives them, (n, d).
        mirrored: Of the mirror images of the minority among them, in its order;
            `None` where the recipe does not mirror.
        labels: (n,), 0 majority and 1 minority.
        seed: Of the training.
        epochs: Passes over the majority, fewer than the recipe's: on a few more labels
            the order of the rest hardly changes.

    Raises:
        ValueError: If a class is missing.
    """
    data.check_both_classes(labels)
    keras.utils.set_random_seed(seed)
    other = _untrained(model)
    if model.recipe.mirrored_minority:
        rows = JoinedRows([rows, mirrored])
        labels = np.append(labels, np.ones(len(mirrored), labels.dtype))
    store = features.FeatureStore("memory", verbose=0)
    other.fit(rows, labels, epochs=epochs, verbose=0, cache_features=store)
    return other


def carry_over(source: EGAN, target: EGAN) -> None:
    """Gives a discriminator the weights of another, but for those of backbones."""
    ours, theirs = source.discriminator, target.discriminator
    for name in _ADAPTED:
        if any(layer.name == name for layer in theirs.stem.layers):
            weights = ours.stem.get_layer(name).get_weights()
            theirs.stem.get_layer(name).set_weights(weights)
    theirs.tail.set_weights(ours.tail.get_weights())


def _untrained(model: EGAN) -> EGAN:
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
    other.compile()
    return other
