"""Operating points: the threshold for a wanted specificity or sensitivity.

An image is minority when its score is below the threshold. A threshold for a wanted
specificity (or sensitivity) is a one-sided confidence bound on a quantile of the
majority (or minority) scores, taken from their order statistics, so it needs no
assumption on how scores are distributed. This is the Neyman-Pearson umbrella
algorithm (Tong, Feng and Li 2018, Science Advances 4(2), doi 10.1126/sciadv.aao1659,
Proposition 1); `scipy.stats.quantile_test` computes the bound. The guarantee is on
images drawn like the held-out ones, which must not have been trained on.

No threshold is an image's own score. Another processor, runtime or batch size computes
that score with other last digits, so that rounding would decide whether the image is
minority. The threshold lies between that score and the next one observed, on the side
on which the guarantee only gets stronger.
"""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike

from egan_keras import schemas

CRITERIA = {"f1": "F1", "youden": "Youden's J"}

# What rounding may change of a score, in interquartile ranges of the scores; models
# are exported with differences of at most a ten-thousandth of the scores' deviation.
_ROUNDING = 1e-4
# The same in units of a float32's last digit, where scores hardly differ.
_LAST_DIGITS = 16
# How far from its score a threshold may be moved, in neighbouring scores, to get out of
# a cluster of nearly equal ones: so many, or this share of all.
_NEIGHBOURS, _SHARE_OF_NEIGHBOURS = 8, 1e-3


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A threshold and how it was set.

    Attributes:
        threshold: an image is minority when its score is below it.
        criterion: 'specificity', 'sensitivity', 'f1' or 'youden'.
        target: the wanted specificity or sensitivity, in (0, 1); None for a criterion
            that has none.
        confidence: probability that the target is met, in (0, 1); None when there is
            no guarantee.
        n_majority: majority images the threshold was set on.
        n_minority: minority images the threshold was set on.
        guarantee: one sentence for reports that says what is guaranteed.

    Raises:
        ValueError: if the threshold is no finite number: nothing would be minority.
    """

    threshold: float
    criterion: str
    target: float | None
    confidence: float | None
    n_majority: int
    n_minority: int
    guarantee: str

    def __post_init__(self) -> None:
        """Refuses a threshold by which all images would be called alike."""
        if not np.isfinite(self.threshold):
            raise ValueError(
                "A threshold must be a finite number, else all images are called "
                f"alike. Received: threshold={self.threshold}. Calibrate the model "
                "on finite scores."
            )

    @property
    def wish(self) -> dict:
        """Arguments of `calibrate` that set a threshold on other scores alike."""
        if self.target is None:
            return {"criterion": self.criterion}
        return {self.criterion: self.target, "confidence": self.confidence}

    def to_dict(self) -> dict:
        """Returns the fields as a dictionary that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "Calibration":
        """Returns the calibration that `to_dict` wrote.

        A value that is missing, of another type, or cannot be, is a ValueError.
        """
        try:
            schemas.check(values, schemas.CALIBRATION)
        except ValueError as error:
            raise ValueError(
                "The calibration of a model cannot be; expected what "
                f"`Calibration.to_dict` gave. Received: {error}. Calibrate the model "
                "again, or copy its file again."
            ) from error
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: values[name] for name in known & values.keys()})


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
    confidence: float | None = 0.95,
) -> Calibration:
    """Sets the threshold by exactly one of specificity, sensitivity or criterion.

    `specificity` uses the majority images alone and makes the threshold as high as the
    guarantee allows. `sensitivity` uses the minority scores and makes it as low as the
    guarantee allows. A criterion takes the best threshold on the images given, without
    a guarantee.

    Each threshold lies halfway between two neighbouring scores that differ by more than
    rounding, or by the least such difference outside all of them.

    >>> scores, labels = np.arange(100.0), np.zeros(100)
    >>> calibrate(scores, labels, specificity=0.95).guarantee
    'At least 95% of majority images score at or above the threshold,
     with 95% confidence (100 held-out majority images).'

    Args:
        scores: shape (n,) or (n, 1), low = minority, of images not trained on.
        labels: shape (n,) or (n, 1), 0 = majority, 1 = minority.
        specificity: wanted share of majority images at or above the threshold, in
            (0, 1).
        sensitivity: wanted share of minority images below the threshold, in (0, 1).
        criterion: 'f1' or 'youden' (sensitivity + specificity - 1).
        confidence: probability that the wanted share is met on further images, in
            (0, 1); None takes the plain empirical quantile, without a guarantee. A
            criterion does not use it.

    Raises:
        ValueError: if not exactly one target is given, an argument is out of range, a
            class that is needed is missing, or images are too few for the guarantee.
    """
    targets = {"specificity": specificity, "sensitivity": sensitivity}
    targets["criterion"] = criterion
    given = {name: value for name, value in targets.items() if value is not None}
    if len(given) != 1:
        raise ValueError(
            "The threshold needs exactly one target: expected one of specificity, "
            f"sensitivity and criterion. Received: {given or 'none of them'}. For "
            "example, pass specificity=0.95 alone."
        )
    scores, labels = check_scores(scores, labels)
    n_minority = int(labels.sum())
    n_majority = len(labels) - n_minority
    if specificity is None and not (n_minority and n_majority):
        raise ValueError(
            f"A threshold by {next(iter(given))} needs images of both classes. "
            f"Received: majority images={n_majority}, minority images={n_minority}. "
            "With majority images alone, pass specificity=0.95."
        )
    if criterion is not None:
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
    return _next_to(bound, chosen, scores, below=by_majority), guarantee


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
    from sklearn.metrics import roc_curve

    fpr, tpr, cuts = roc_curve(labels, -scores, drop_intermediate=False)
    found, false_alarms = tpr * n_minority, fpr * n_majority
    f1 = 2 * found / (found + false_alarms + n_minority)
    edges = _edges(scores)
    # By how many distinct scores each cut calls minority; the first one calls none.
    places = np.searchsorted(edges[1:-1], -cuts, side="right") * (cuts < np.inf)
    quality = f1 if criterion == "f1" else tpr - fpr
    place = places[np.argmax(np.where(_are_wide(edges)[places], quality, -np.inf))]
    return _middle(edges[place], edges[place + 1]), (
        f"No guarantee: the threshold has the best {CRITERIA[criterion]} on the "
        f"{n_majority} majority and {n_minority} minority images it was chosen on."
    )


def _next_to(
    bound: float, chosen: np.ndarray, scores: np.ndarray, *, below: bool
) -> np.floating:
    """Returns a threshold below or above one of the chosen scores, clear of all scores.

    It lies in the nearest gap that rounding cannot close, or in the widest one near by.
    """
    edges = _edges(chosen)
    place = int(np.searchsorted(edges[1:-1], bound)) + (not below)
    reach = max(_NEIGHBOURS, int(_SHARE_OF_NEIGHBOURS * len(edges)))
    step = -1 if below else 1
    end = np.clip(place + step * reach, -1, len(edges) - 1)
    places = np.arange(place, end, step)
    wide = _are_wide(edges)[places]
    place = places[np.argmax(wide if wide.any() else np.diff(edges)[places])]
    low, high = edges[place : place + 2]
    threshold = _middle(low, high)
    # The other class has no say, unless it has a score just there.
    if np.abs(scores - threshold).min() > _rounding(chosen):
        return threshold
    inside = scores[(scores > low) & (scores < high)]
    points = np.unique(np.concatenate([[low, high], inside]))
    widest = np.argmax(np.diff(points))
    return _middle(points[widest], points[widest + 1])


def _edges(scores: np.ndarray) -> np.ndarray:
    """Returns the distinct scores in order, and one number clear of them at each end.

    A threshold between neighbours `k` and `k + 1` calls the `k` lowest scores minority.
    """
    observed, margin = np.unique(scores), 4 * _rounding(scores)
    return np.concatenate([[observed[0] - margin], observed, [observed[-1] + margin]])


def _are_wide(edges: np.ndarray) -> np.ndarray:
    """Tells of each gap whether rounding cannot carry a score across its middle."""
    return np.diff(edges) > 2 * _rounding(edges[1:-1])


def _rounding(scores: np.ndarray) -> np.floating:
    """Returns how far a score may be off on another machine."""
    quartiles = np.quantile(scores, [0.25, 0.75])
    last_digit = np.spacing(np.abs(scores).max().astype(np.float32))
    spread = _ROUNDING * (quartiles[1] - quartiles[0])
    return scores.dtype.type(max(spread, _LAST_DIGITS * last_digit))


def _middle(low: np.floating, high: np.floating) -> np.floating:
    return low + (high - low) / 2


def _check_fractions(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < 1:
            raise ValueError(
                f"The {name} is out of range: expected a number between 0 and 1, both "
                f"excluded. Received: {name}={value}. For 95% pass {name}=0.95."
            )
