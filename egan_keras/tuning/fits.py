"""The fits of one trial: a model, trained again and again from its first weights."""

import os
import time

import keras
import numpy as np

from egan_keras import data, features
from egan_keras.model import EGAN
from egan_keras.tuning.choosing import Fold, HeldOut, join_fits, shares_above

_BATCH_SIZE = 512


class DivergedError(Exception):
    """Training ran into numbers that are not finite."""


def judge(
    model: EGAN,
    train: data.LabelledImages,
    majority: np.ndarray | data.LazyRows,
    folds: list[Fold],
    *,
    place: str | os.PathLike,
    epochs: int | None = None,
) -> tuple[HeldOut, float]:
    """Trains once for each fold, and ranks the minority images held out.

    The model is compiled and was not trained; `place` is as in `FeatureStore`. Returns
    how they rank, and the seconds of the shortest training: the first one computes
    features and compiles.

    Raises:
        DivergedError: If a training diverges.
    """
    minority = np.flatnonzero(train.labels == 1)
    views = _select(train.images, minority)
    if model.recipe.mirrored_minority:
        views = data.WithMirrorImages(views)
    store = features.FeatureStore(place, verbose=0)
    store.share(views)
    first = _first_values(model)
    fits, seconds = [], []
    for fold in folds:
        keras.utils.set_random_seed(fold.seed)
        for variable, value in first:
            if variable.name == "seed_generator_state":
                value = np.array([fold.seed, 0], value.dtype)
            variable.assign(value)
        rows = np.delete(np.arange(len(train)), minority[fold.held_out])
        started = time.perf_counter()
        model.fit(
            _select(train.images, rows),
            train.labels[rows],
            epochs=epochs,
            verbose=0,
            cache_features=store,
        )
        seconds.append(time.perf_counter() - started)
        held_out = _select(train.images, minority[fold.held_out])
        scores = _scores(model, held_out, "minority", store)
        others = _scores(model, majority, "validation", store)
        if model.stop_training or not np.isfinite([*scores, *others]).all():
            raise DivergedError("training diverged: the losses are not finite")
        fits.append((fold.held_out, shares_above(scores, others)))
    return join_fits(len(minority), fits), min(seconds)


def _first_values(model: EGAN) -> list[tuple[keras.Variable, np.ndarray]]:
    """Returns what each fit starts from, but for the majority's statistics."""
    tails = model.generator.tail, model.discriminator.tail
    layers = [layer for tail in tails for layer in tail.layers]
    kept = {id(v) for layer in layers for v in getattr(layer, "statistics", [])}
    owners = *tails, model.optimizer, model.generator_optimizer
    return [
        (variable, keras.ops.convert_to_numpy(variable).copy())
        for owner in owners
        for variable in owner.variables
        if id(variable) not in kept
    ]


def _scores(model: EGAN, images, what: str, store: features.FeatureStore) -> np.ndarray:
    """Returns the scores of images, (n,), from their features."""
    stem = features.compiled(model.discriminator.stem)
    # As `fit` asks for them, so that both read the same files.
    *raw, _ = store.features(images, stem.recognising, what)
    rows, tail = stem.standardized(raw), model.discriminator.tail
    scores = []
    for start in range(0, len(images), _BATCH_SIZE):
        parts = [array[start : start + _BATCH_SIZE] for array in rows]
        scores.append(tail.predict_on_batch(parts[0] if len(parts) == 1 else parts))
    return np.concatenate(scores)[:, 0]


def _select(images, rows: np.ndarray):
    return images.select(rows) if isinstance(images, data.LazyRows) else images[rows]
