"""The fits of one trial: a model, trained again and again from its first weights."""

import os
import time

import keras
import numpy as np

from egan_keras import data, features
from egan_keras.model import EGAN
from egan_keras.tuning.choosing import Fold, HeldOut, join_fits, shares_above
from egan_keras.tuning.trial_features import TrialFeatures

_BATCH_SIZE = 512
_SEED_STATE = "seed_generator_state"


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

    Args:
        model: A compiled model that was not trained yet.
        train: Training images of both classes.
        majority: Validation majority images, (n, h, w, 3).
        folds: See `make_folds`.
        place: Where features go, see `FeatureStore`.
        epochs: Of each fit; `None` takes the recipe's.

    Returns:
        How they rank, and the seconds that a training took, of the shortest one: the
        first one computes features and compiles.

    Raises:
        DivergedError: If a training diverges.
    """
    minority = np.flatnonzero(train.labels == 1)
    views = _select(train.images, minority)
    if model.recipe.mirrored_minority:
        views = data.WithMirrorImages(views)
    cache = TrialFeatures(place, views)
    first = _FirstWeights(model)
    fits, seconds = [], []
    for fold in folds:
        first.restore(fold.seed)
        kept = np.ones(len(train), bool)
        kept[minority[fold.held_out]] = False
        rows = np.flatnonzero(kept)
        started = time.perf_counter()
        model.fit(
            _select(train.images, rows),
            train.labels[rows],
            epochs=epochs,
            verbose=0,
            cache_features=cache,
        )
        seconds.append(time.perf_counter() - started)
        held_out = _select(train.images, minority[fold.held_out])
        scores = _scores(model, held_out, "minority", cache)
        others = _scores(model, majority, "validation", cache)
        if model.stop_training or not np.isfinite([*scores, *others]).all():
            raise DivergedError("training diverged: the losses are not finite")
        fits.append((fold.held_out, shares_above(scores, others)))
    return join_fits(len(minority), fits), min(seconds)


class _FirstWeights:
    """The weights and optimizers' states that each fit of a trial starts from.

    Statistics of the majority stay: it is the same in all fits.
    """

    def __init__(self, model: EGAN) -> None:
        tails = model.generator.tail, model.discriminator.tail
        statistics = {
            id(variable)
            for tail in tails
            for layer in tail.layers
            for variable in getattr(layer, "statistics", [])
        }
        owners = *tails, model.optimizer, model.generator_optimizer
        self._values = [
            (variable, keras.ops.convert_to_numpy(variable).copy())
            for owner in owners
            for variable in owner.variables
            if id(variable) not in statistics
        ]

    def restore(self, seed: int) -> None:
        """Puts them back; the seed decides noise and the order of batches."""
        keras.utils.set_random_seed(seed)
        for variable, value in self._values:
            is_seed = variable.name == _SEED_STATE
            variable.assign(np.array([seed, 0], value.dtype) if is_seed else value)


def _scores(model: EGAN, images, what: str, cache: TrialFeatures) -> np.ndarray:
    """Returns the scores of images, (n,), from their features."""
    stem = features.StandardizedStem(model.discriminator.stem)
    # As `fit` asks for them, so that both read the same files.
    *raw, _ = cache.features(images, features.RecognisingStem(stem.compute), what)
    rows = stem.standardized(raw)
    tail = model.discriminator.tail
    scores = []
    for start in range(0, len(images), _BATCH_SIZE):
        parts = [array[start : start + _BATCH_SIZE] for array in rows]
        scores.append(tail.predict_on_batch(parts[0] if len(parts) == 1 else parts))
    return np.concatenate(scores)[:, 0]


def _select(images, rows: np.ndarray):
    if isinstance(images, data.LazyRows):
        return images.select(rows)
    return images[rows]
