"""Scores of majority images by models that were not trained on them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold, KFold

from egan_keras import data, thresholds
from egan_keras.model.calibrated import Scored
from egan_keras.model.egan import EGAN


def cross_fitted_scores(
    build: Callable[[], EGAN],
    images: np.ndarray | data.LazyRows,
    labels: np.ndarray,
    *,
    folds: int = 5,
    groups: Sequence[Any] | None = None,
    seed: int = 0,
    **fit_options: Any,
) -> Scored:
    """Scores each majority image by a model that was trained without it.

    The majority is divided into folds; of each fold a new model scores the images,
    which was trained on the others and on all of the minority. These scores say what a
    model of all images gives further ones, though no image is held out from it; and the
    lowest are those most likely to be minority that nobody has noticed.

    Args:
        build: Returns a compiled model that is not trained; called once for each fold.
        images: Training images (n, h, w, 3), RGB pixels 0..255, or `ImageFiles`.
        labels: Their labels (n,), 0 majority and 1 minority.
        folds: Number of folds, 2 or more.
        groups: Of which object each image is, (n,): images of one group are in one
            fold.
        seed: Decides the folds.
        **fit_options: Arguments of `EGAN.fit`, such as `verbose=0`.

    Returns:
        Scores of the majority images, in their order, as `EGAN.score_labelled` does.

    Raises:
        ValueError: If there are fewer majority images, or groups of them, than folds.
    """
    labels = data.check_labels(labels, len(images))
    majority, minority = (np.flatnonzero(labels == label) for label in (0, 1))
    own = None if groups is None else np.asarray(groups)[majority]
    there = len(majority) if own is None else len(np.unique(own))
    if not 2 <= folds <= there:
        what = "majority images" if own is None else "groups of majority images"
        raise ValueError(
            f"There must be 2 folds or more, and no more than {what}. Received: "
            f"folds={folds}, {what}={there}. Pass a number from 2 to {there}."
        )
    kind = KFold if own is None else GroupKFold
    splitter = kind(folds, shuffle=True, random_state=seed)
    scores = np.empty(len(majority), np.float32)
    distances = np.full(len(majority), np.nan, np.float32)
    for fitted, held_out in splitter.split(majority, groups=own):
        rows = np.sort(np.concatenate([majority[fitted], minority]))
        model = build()
        model.fit(_rows(images, rows), labels[rows], **fit_options)
        found = model.judge(_rows(images, majority[held_out]))
        scores[held_out] = found[0]
        if found[1] is not None:
            distances[held_out] = found[1]
    known = np.zeros(len(scores), np.int32)
    found = None if np.isnan(distances).any() else distances
    return Scored(scores, known, known.astype(bool), found)


def calibrate_cross_fitted(
    model: EGAN, scored: Scored, folds: int, **wish: Any
) -> thresholds.Calibration:
    """Sets a model's threshold on cross-fitted scores, as `EGAN.calibrate` does.

    The scores are those of models that have seen a fold less than this one, so that
    the guarantee holds as far as these score alike, and says so.

    Args:
        model: What was trained on all images.
        scored: As `cross_fitted_scores` returned.
        folds: Number of folds.
        **wish: `specificity` and `confidence`.

    Raises:
        ValueError: As `EGAN.calibrate`.
    """
    found = model.calibrate_scored(scored, **wish)
    count = found.n_majority
    guarantee = found.guarantee.replace(
        f"({count} held-out majority images)",
        f"as far as the model scores like {folds} others, each trained without a part "
        f"of the majority ({count} cross-fitted majority images)",
    )
    model.calibration = dataclasses.replace(found, guarantee=guarantee)
    return model.calibration


def _rows(
    images: np.ndarray | data.LazyRows, rows: np.ndarray
) -> np.ndarray | data.LazyRows:
    return images.select(rows) if isinstance(images, data.LazyRows) else images[rows]
