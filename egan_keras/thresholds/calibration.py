"""A threshold, how it was set, what that guarantees, and how far it is from any score.

No threshold is an image's own score. Another processor, runtime or batch size computes
that score with other last digits, so that rounding would decide whether the image is
minority. The threshold lies between that score and the next one observed, on the side
on which the guarantee only gets stronger.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from egan_keras import schemas

COST, BY_HAND = "cost", "by hand"
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
        criterion: 'specificity', 'sensitivity', 'f1', 'youden', 'cost' or 'by hand'.
        target: the wanted specificity or sensitivity, in (0, 1); None for a criterion
            that has none.
        confidence: probability that the target is met, in (0, 1); None when there is
            no guarantee.
        n_majority: majority images the threshold was set on.
        n_minority: minority images the threshold was set on.
        guarantee: one sentence for reports that says what is guaranteed.
        costs: what the criterion 'cost' weighed: `miss_cost`, `false_alarm_cost` and
            `prevalence`; None of other criteria.

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
    costs: dict[str, float] | None = None

    def __post_init__(self) -> None:
        """Refuses a threshold by which all images would be called alike."""
        if not np.isfinite(self.threshold):
            raise ValueError(
                "A threshold must be a finite number, else all images are called "
                f"alike. Received: threshold={self.threshold}. Calibrate the model "
                "on finite scores."
            )

    @property
    def wish(self) -> dict[str, Any]:
        """Arguments of `calibrate` that set a threshold on other scores alike."""
        if self.criterion == BY_HAND:
            return {"threshold": self.threshold}
        if self.costs:
            return dict(self.costs)
        if self.target is None:
            return {"criterion": self.criterion}
        return {self.criterion: self.target, "confidence": self.confidence}

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a dictionary that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Calibration":
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


def by_hand(threshold: float) -> Calibration:
    """Returns a threshold that somebody chose, of which nothing is guaranteed.

    >>> by_hand(-1.5).guarantee
    'No guarantee: the threshold was set by hand.'
    """
    guarantee = "No guarantee: the threshold was set by hand."
    return Calibration(float(threshold), BY_HAND, None, None, 0, 0, guarantee)


def best_threshold(
    scores: np.ndarray, labels: np.ndarray, quality: Callable[..., np.ndarray]
) -> tuple[np.floating, float]:
    """Returns the threshold whose rates are best, clear of all scores, and how good."""
    from sklearn.metrics import roc_curve

    fpr, tpr, cuts = roc_curve(labels, -scores, drop_intermediate=False)
    edges = _edges(scores)
    # By how many distinct scores each cut calls minority; the first one calls none.
    places = np.searchsorted(edges[1:-1], -cuts, side="right") * (cuts < np.inf)
    found = np.where(_are_wide(edges)[places], quality(tpr, fpr), -np.inf)
    place = places[np.argmax(found)]
    return _middle(edges[place], edges[place + 1]), float(found.max())


def next_to(
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
