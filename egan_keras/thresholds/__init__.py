"""Operating points: the threshold for a wanted specificity or sensitivity.

An image is minority when its score is below the threshold. A threshold for a wanted
specificity (or sensitivity) is a one-sided confidence bound on a quantile of the
majority (or minority) scores, taken from their order statistics, so it needs no
assumption on how scores are distributed. This is the Neyman-Pearson umbrella
algorithm (Tong, Feng and Li 2018, Science Advances 4(2), doi 10.1126/sciadv.aao1659,
Proposition 1); `scipy.stats.quantile_test` computes the bound. The guarantee is on
images drawn like the held-out ones, which must not have been trained on.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from egan_keras.thresholds.calibration import COST, best_threshold, next_to
from egan_keras.thresholds.calibration import Calibration as Calibration
from egan_keras.thresholds.calibration import by_hand as by_hand

CRITERIA = {"f1": "F1", "youden": "Youden's J"}


def check_scores(scores: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores and labels as flat arrays, or says what is wrong with them.

    Both have shape (n,) or (n, 1). Scores are finite real numbers, returned as float64
    if they were that, else as float32; labels are 0 or 1, returned as int.
    """
    given = {"scores": np.asarray(scores), "labels": np.asarray(labels)}
    for name, array in given.items():
        if array.ndim == 2 and array.shape[1] == 1:
            given[name] = array[:, 0]
        elif array.ndim != 1:
            raise ValueError(
                f"The {name} have the wrong shape: expected (n,) or (n, 1). Received: "
                f"{name}.shape={array.shape}. Pass one number for each image."
            )
    scores, labels = given.values()
    if scores.dtype != np.float64:
        scores = scores.astype(np.float32)
    if len(scores) != len(labels) or len(scores) == 0:
        raise ValueError(
            "Scores and labels do not match: expected one label for each of one or "
            f"more scores. Received: scores={len(scores)}, labels={len(labels)}. "
            "Pass both for the same images."
        )
    if not np.isfinite(scores).all():
        n_bad = np.sum(~np.isfinite(scores))
        raise ValueError(
            "Some scores are not finite numbers: expected real numbers. Received: "
            f"NaN or infinite scores={n_bad} of {len(scores)}. Check the images for "
            "NaN, and whether training diverged."
        )
    strange = labels[~np.isin(labels, (0, 1))]
    if strange.size:
        raise ValueError(
            "Some labels are neither 0 nor 1: expected 0 for majority and 1 for "
            f"minority. Received: labels={np.unique(strange)[:5].tolist()}. Map your "
            "classes to 0 and 1."
        )
    return scores, labels.astype(int)


def images_needed(level: float, confidence: float = 0.95) -> int:
    """Returns how many held-out images of a class a guarantee needs at least.

    With n images the safest threshold is the extreme score, which misses the level
    with probability level ** n; that must fall below 1 - confidence.

    >>> [images_needed(level) for level in (0.95, 0.99, 0.999)]
    [59, 299, 2995]

    Args:
        level: the specificity or sensitivity to guarantee, in (0, 1).
        confidence: the probability that the guarantee holds, in (0, 1).
    """
    _check_fractions(level=level, confidence=confidence)
    needed = max(1, math.floor(math.log(1 - confidence) / math.log(level)))
    from scipy.stats import binom  # slow to import, and not needed to score

    while binom.ppf(1 - confidence, needed, 1 - level) < 1:
        needed += 1
    return needed


def calibrate(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    specificity: float | None = None,
    sensitivity: float | None = None,
    criterion: str | None = None,
    miss_cost: float | None = None,
    threshold: float | None = None,
    confidence: float | None = 0.95,
    false_alarm_cost: float = 1.0,
    prevalence: float | None = None,
) -> Calibration:
    """Sets the threshold by exactly one of the first five arguments behind the labels.

    `specificity` uses the majority images alone and makes the threshold as high as the
    guarantee allows. `sensitivity` uses the minority scores and makes it as low as the
    guarantee allows. A criterion, or a cost of a miss, takes the best threshold on the
    images given, without a guarantee.

    Each threshold lies halfway between two neighbouring scores that differ by more than
    rounding, or by the least such difference outside all of them.

    >>> scores, labels = np.arange(100.0), np.zeros(100)
    >>> calibrate(scores, labels, specificity=0.95).guarantee
    'At least 95% of majority images score at or above the threshold,
     with 95% confidence (100 held-out majority images).'
    >>> costs = {"miss_cost": 50, "prevalence": 0.02}
    >>> calibrate(scores, np.arange(100) < 5, **costs).threshold
    4.5

    Args:
        scores: shape (n,) or (n, 1), low = minority, of images not trained on.
        labels: shape (n,) or (n, 1), 0 = majority, 1 = minority.
        specificity: wanted share of majority images at or above the threshold, in
            (0, 1).
        sensitivity: wanted share of minority images below the threshold, in (0, 1).
        criterion: 'f1' or 'youden' (sensitivity + specificity - 1).
        miss_cost: cost of a minority image that is not found, above 0: takes the
            threshold of the least expected cost, which may be one that calls all
            images alike. Needs `prevalence`.
        threshold: a number set by hand, kept as it is.
        confidence: probability that the wanted share is met on further images, in
            (0, 1); None takes the plain empirical quantile, without a guarantee. A
            criterion does not use it.
        false_alarm_cost: cost of a majority image that is called minority, above 0, in
            the unit of `miss_cost`.
        prevalence: share of minority images where the model will be used, in (0, 1);
            goes with `miss_cost`.

    Raises:
        ValueError: if not exactly one target is given, an argument is out of range, a
            class that is needed is missing, or images are too few for the guarantee.
    """
    targets: dict[str, Any] = {"specificity": specificity, "sensitivity": sensitivity}
    targets |= {"criterion": criterion, "miss_cost": miss_cost, "threshold": threshold}
    given = {name: value for name, value in targets.items() if value is not None}
    if len(given) != 1:
        raise ValueError(
            "The threshold needs exactly one target: expected one of specificity, "
            "sensitivity, criterion, miss_cost and threshold. Received: "
            f"{given or 'none of them'}. For example, pass specificity=0.95 alone."
        )
    if threshold is not None:
        return by_hand(threshold)
    scores, labels = check_scores(scores, labels)
    n_minority = int(labels.sum())
    n_majority = len(labels) - n_minority
    if specificity is None and not (n_minority and n_majority):
        raise ValueError(
            f"A threshold by {next(iter(given))} needs images of both classes. "
            f"Received: majority images={n_majority}, minority images={n_minority}. "
            "With majority images alone, pass specificity=0.95."
        )
    costs = None
    if miss_cost is not None:
        costs = _check_costs(miss_cost, false_alarm_cost, prevalence)
        threshold, guarantee = _for_costs(scores, labels, costs)
        level, confidence, criterion = None, None, COST
    elif criterion is not None:
        threshold, guarantee = _for_criterion(scores, labels, criterion)
        level = confidence = None
    else:
        ((criterion, level),) = given.items()
        _check_fractions(**given)
        if confidence is not None:
            _check_fractions(confidence=confidence)
        threshold, guarantee = _for_level(scores, labels, criterion, level, confidence)
        n_minority = 0 if criterion == "specificity" else n_minority
    return Calibration(
        float(threshold),
        criterion,
        None if level is None else float(level),
        None if confidence is None else float(confidence),
        n_majority,
        n_minority,
        guarantee,
        costs,
    )


def _for_level(
    scores: np.ndarray,
    labels: np.ndarray,
    criterion: str,
    level: float,
    confidence: float | None,
) -> tuple[np.floating, str]:
    """Bounds the quantile of the one class that the criterion is about."""
    by_majority = criterion == "specificity"
    class_name, side, probability, alternative, end = (
        ("majority", "at or above", 1 - level, "greater", "low")
        if by_majority
        else ("minority", "below", level, "less", "high")
    )
    chosen = scores[labels == (0 if by_majority else 1)]
    n, percent = len(chosen), f"{100 * level:g}%"
    needed = 1 if confidence is None else images_needed(level, confidence)
    if n < needed:
        plain = "confidence=None for the plain quantile without a guarantee"
        instead = f", ask for a lower {criterion}, or pass {plain}"
        raise ValueError(
            f"Too few {class_name} images to set the threshold: {criterion} {level:g} "
            f"with confidence {confidence} needs at least {needed}. Received: "
            f"{class_name} images={n}. Hold out more of them"
            f"{'' if confidence is None else instead}."
        )
    if confidence is None:
        bound = np.quantile(chosen, probability, method="inverted_cdf")
        guarantee = (
            f"No guarantee: at least {percent} of the {n} held-out {class_name} images "
            f"score {side} the threshold; further images may do worse."
        )
    else:
        from scipy.stats import quantile_test

        test = quantile_test(chosen, p=probability, alternative=alternative)
        bound = getattr(test.confidence_interval(confidence), end)
        guarantee = (
            f"At least {percent} of {class_name} images score {side} the threshold, "
            f"with {100 * confidence:g}% confidence ({n} held-out {class_name} images)."
        )
    return next_to(bound, chosen, scores, below=by_majority), guarantee


def _for_criterion(
    scores: np.ndarray, labels: np.ndarray, criterion: str
) -> tuple[np.floating, str]:
    if criterion not in CRITERIA:
        raise ValueError(
            f"Unknown criterion: expected one of {', '.join(CRITERIA)}. Received: "
            f"criterion={criterion!r}. For a wanted level pass specificity= or "
            "sensitivity= instead."
        )
    n_majority, n_minority = np.bincount(labels)

    def quality(tpr: np.ndarray, fpr: np.ndarray) -> np.ndarray:
        found, false_alarms = tpr * n_minority, fpr * n_majority
        f1 = 2 * found / (found + false_alarms + n_minority)
        return f1 if criterion == "f1" else tpr - fpr

    threshold, _ = best_threshold(scores, labels, quality)
    return threshold, (
        f"No guarantee: the threshold has the best {CRITERIA[criterion]} on the "
        f"{n_majority} majority and {n_minority} minority images it was chosen on."
    )


def _for_costs(
    scores: np.ndarray, labels: np.ndarray, costs: dict[str, float]
) -> tuple[np.floating, str]:
    miss, false_alarm, prevalence = costs.values()

    def quality(tpr: np.ndarray, fpr: np.ndarray) -> np.ndarray:
        missed, alarmed = prevalence * (1 - tpr), (1 - prevalence) * fpr
        return -miss * missed - false_alarm * alarmed

    threshold, best = best_threshold(scores, labels, quality)
    n_majority, n_minority = np.bincount(labels)
    return threshold, (
        f"No guarantee: the threshold has the least expected cost, {-best:.4g} an "
        f"image where a miss costs {miss:g}, a false alarm {false_alarm:g} and "
        f"{100 * prevalence:g}% of images are minority, on the {n_majority} majority "
        f"and {n_minority} minority images it was chosen on."
    )


def _check_costs(
    miss_cost: float, false_alarm_cost: float, prevalence: float | None
) -> dict[str, float]:
    costs = {"miss_cost": miss_cost, "false_alarm_cost": false_alarm_cost}
    for name, cost in costs.items():
        if not 0 < cost < math.inf:
            raise ValueError(
                f"A cost must be a number above 0. Received: {name}={cost}. State what "
                "a miss costs and what a false alarm costs, in one unit."
            )
    if prevalence is None:
        raise ValueError(
            "Expected costs depend on how common the minority is where the model will "
            "be used; expected its share of images. Received: prevalence=None. For 1% "
            "pass prevalence=0.01."
        )
    _check_fractions(prevalence=prevalence)
    return {name: float(x) for name, x in costs.items()} | {
        "prevalence": float(prevalence)
    }


def _check_fractions(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < 1:
            raise ValueError(
                f"The {name} is out of range: expected a number between 0 and 1, both "
                f"excluded. Received: {name}={value}. For 95% pass {name}=0.95."
            )
