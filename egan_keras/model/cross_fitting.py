"""Scores of majority images by models that were not trained on them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold, KFold

from egan_keras import data, features, logs, thresholds
from egan_keras.model import on_features
from egan_keras.model.egan import EGAN
from egan_keras.model.judging import Judged, Scored


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
        build: Returns a compiled model that is not trained.
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
    judge = _fold_judge(build, images, labels, fit_options)
    judged, order = [], []
    parts = splitter.split(majority, groups=own)
    for fitted, held_out in logs.shown(parts, folds, "models"):
        rows = np.sort(np.concatenate([majority[fitted], minority]))
        judged.append(judge(rows, majority[held_out]))
        order.append(held_out)
    back = np.argsort(np.concatenate(order))
    scores, distances, _ = Judged.joined(judged)
    known = np.zeros(len(back), np.int32)
    distances = distances if distances is None else distances[back]
    return Scored(scores[back], known, known.astype(bool), distances)


def _fold_judge(
    build: Callable[[], EGAN],
    images: np.ndarray | data.LazyRows,
    labels: np.ndarray,
    fit_options: dict[str, Any],
) -> Callable[[np.ndarray, np.ndarray], Judged]:
    """Returns what trains a new model on some rows, and judges others by it.

    Where backbones stay frozen, they see each image once for all folds.
    """
    model, options = build(), dict(fit_options)
    if options.get("validation_data") is not None or not _is_one_stem(model, labels):
        ready = [model]

        def judge(fitted: np.ndarray, held_out: np.ndarray) -> Judged:
            own = ready.pop() if ready else build()
            own.fit(data.selected(images, fitted), labels[fitted], **options)
            return own.judge(data.selected(images, held_out))

        return judge
    options.pop("validation_data", None)
    verbose = options.pop("verbose", "auto")
    place = options.pop("cache_features", "auto") or "memory"
    if isinstance(place, features.FeatureStore):
        store = place
    else:
        store = features.FeatureStore(place, verbose=verbose)
    rows = on_features.feature_rows(model, images, store, "training")
    few = np.flatnonzero(labels == 1)
    mirrored = None
    if model.recipe.mirrored_minority:
        mirrored = on_features.mirrored_rows(model, data.selected(images, few), store)

    def judge_rows(fitted: np.ndarray, held_out: np.ndarray) -> Judged:
        # All of the minority is in each fold, in its order.
        told = rows.select(fitted), mirrored, labels[fitted]
        own = on_features.trained_on(model, *told, **options)
        return own.judge(rows.select(held_out))

    return judge_rows


def _is_one_stem(model: EGAN, labels: np.ndarray) -> bool:
    """Tells whether rows of one frozen stem are all that training reads."""
    if not (labels == 1).any() or not on_features.learns_on_features(model.recipe):
        return False
    if len(model.image_shape) == 1:
        return False
    # On rows the generator reads what the discriminator's backbone puts out.
    encoder, _, discriminator = (model.pairing or "").partition("->")
    return encoder == discriminator != ""


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
        **wish: As for `EGAN.calibrate`; of the majority's scores alone.

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
