"""What is held out from training: are there enough, their scores, the threshold."""

import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from egan_keras import logs
from egan_keras.cli import rooms, run_scores, runs
from egan_keras.cli.options import TrainingOptions


def check_count(splits: Any, given: TrainingOptions) -> None:
    """Refuses, before training, a threshold that could not be set after it."""
    level, confidence = given.specificity, given.confidence
    needed = rooms.thresholds.images_needed(level, confidence) if confidence else 1
    split = splits.train if given.cross_fit else splits.validation
    count = split.majority_count
    if count >= needed:
        return
    # The highest whole percentage that so many images can guarantee.
    guaranteed = (1 - confidence) ** (1 / count) if confidence and count else 0
    possible = math.floor(100 * guaranteed) / 100
    advice = f"Pass --specificity {possible:g}, or " if possible else "Pass "
    majority = sum(split.majority_count for split in splits)
    minority = sum(split.minority_count for split in splits)
    if minority > majority:
        names = ",".join(given.minority), ",".join(given.majority)
        exchanged = shlex.join(["--majority", names[0], "--minority", names[1]])
        advice = (
            f"There are {minority:,} minority and {majority:,} majority images in all: "
            f"if the classes are exchanged, pass {exchanged}. Else: {advice}"
        )
    raise ValueError(
        "Too few validation images to set the threshold: a specificity of "
        f"{level:g}{f' with confidence {confidence:g}' if confidence else ''} needs "
        f"{needed} majority images. Received: {count}, {given.validation_fraction:.0%} "
        f"of the majority images to train with. {advice}--specificity none to leave "
        "the threshold at 0, or add majority images."
    )


def set_threshold(
    model: Any,
    splits: Any,
    given: TrainingOptions,
    folder: Path,
    options_of_fit: dict[str, Any],
    again: Callable[[], Any] | None,
) -> dict[str, tuple]:
    """Scores held-out images, or the majority cross-fitted, and sets the threshold.

    Returns paths, classes and what was judged of each split, for `run_scores.write`.
    """
    train, validation, _ = splits
    level = {"specificity": given.specificity, "confidence": given.confidence}
    scored = {}
    if train.minority_count:
        # Whose distances, unlike their scores, training has no part in.
        rows = np.flatnonzero(train.labels == 1)
        images, (paths, classes) = train.images.select(rows), _named(train, rows)
        model.learn_minority_classes(images, classes)
        if model.minority_classes:
            runs.save_model(model, folder)
        scored["train"] = paths, classes, model.judge(images)
    if len(validation):
        logs.tell(f"Scoring {len(validation):,} validation images")
        held_out = model.score_labelled(validation.images, validation.labels)
        # Copies of training images, where they are kept, would flatter.
        rows = np.flatnonzero(~held_out.trained_on)
        found = run_scores.judged_of(held_out, rows)
        scored["validation"] = *_named(validation, rows), found
    if given.cross_fit:
        folds = given.cross_fit
        logs.tell(f"Training {folds} models, each without a part of the majority")
        fitting = options_of_fit | {"verbose": 0, "validation_data": None}
        fitting |= {"folds": folds, "seed": given.seed, "groups": train.groups or None}
        held_out = rooms.model.cross_fitted_scores(
            again, train.images, train.labels, **fitting
        )
        paths, classes = _named(train, np.flatnonzero(train.labels == 0))
        found = run_scores.judged_of(held_out)
        scored[run_scores.CROSS_FITTED] = paths, classes, found
        run_scores.write_suspects(folder, given.data, paths, classes, found.scores)
    if given.specificity is not None:
        count = int(np.sum(held_out.labels == 0))
        what = run_scores.CROSS_FITTED if given.cross_fit else "validation"
        logs.tell(f"Setting the threshold on {count:,} {what} majority images")
        if given.cross_fit:
            rooms.model.calibrate_cross_fitted(model, held_out, folds, **level)
        else:
            model.calibrate_scored(held_out, **level)
        runs.save_model(model, folder)
    return scored


def _named(images: Any, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns paths and classes of some of the images."""
    return np.array(images.paths)[rows], np.array(images.class_names)[rows]
