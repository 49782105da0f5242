"""Whether images are drawn like those that the threshold was set on.

A calibration guarantees its specificity for such images. New ones are compared with
them by scores and distances; labelled ones that are drawn otherwise have more false
alarms than chance explains.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest, ks_2samp

from egan_keras.text import printable

FEWEST = 20
# So much further from the majority than known images is unlike anything seen.
_FACTOR, _LEAST, _SHARE = 2.0, 5.0, 0.95
# A report says so where chance explains so many false alarms less often than this.
_SIGNIFICANT = 0.01
_MOST_GROUPS = 3
_P_VALUE, _ALARM_GROUPS = "specificity_shortfall_p", "false_alarm_groups"
_TARGET = "guaranteed_specificity"


@dataclasses.dataclass(frozen=True, eq=False)
class Shift:
    """What tells new images from the majority images held out from training.

    Attributes:
        score_p: Probability of scores as low, were the images drawn alike: one-sided
            two-sample Kolmogorov-Smirnov test; 0..1.
        distance_p: The same of distances from the majority as large; `None` where the
            model knows none.
        is_alien: Which images are unlike anything seen in training, bool (n,): twice as
            far from the majority as 95 % of the known images of either class.
        n_reference: Number of majority images compared with.
    """

    score_p: float
    distance_p: float | None
    is_alien: np.ndarray
    n_reference: int

    def lowers_scores(self, level: float = 0.01) -> bool:
        """Whether scores are lower, so that a guarantee fails; by chance at `level`."""
        return self.score_p < level

    def looks_different(self, level: float = 0.01) -> bool:
        """Whether the images lie further off, whatever their scores are."""
        return self.distance_p is not None and self.distance_p < level


def shift(
    scores: np.ndarray,
    distances: np.ndarray | None,
    reference_scores: np.ndarray,
    reference_distances: np.ndarray | None,
    minority_distances: Sequence[float] = (),
) -> Shift:
    """Compares new images with the majority images that the threshold was set on.

    It sees images whose scores are lower, or that lie further off, than the majority
    images' did, so that more of them are called minority. Minority images among the new
    ones do the same: where these are more than a few in a hundred, leave out those that
    are known. It misses what changes images and not their scores, and images that all
    score higher, for which the guarantee only gets stronger. Images of one object are
    not drawn one by one: with few objects it warns too often.

    Args:
        scores: Of the new images, (n,), low = minority.
        distances: How far they lie from the majority, (n,), see `Scored`; `None` where
            the model knows none.
        reference_scores: Of majority images that were held out, (m,).
        reference_distances: Those of the same images, or `None`.
        minority_distances: Of minority images, of training or held out.

    Raises:
        ValueError: If there are fewer than 20 images on a side.

    Example:
        >>> random = np.random.default_rng(0)
        >>> held_out, same, lower = random.normal(size=(3, 200)) - [[0], [0], [1]]
        >>> shift(same, None, held_out, None).lowers_scores()
        False
        >>> shift(lower, None, held_out, None).lowers_scores()
        True
    """
    for what, rows in (("new", scores), ("held-out majority", reference_scores)):
        if len(rows) < FEWEST:
            raise ValueError(
                "Too few images to tell whether they are drawn alike; expected "
                f"{FEWEST} or more. Received: {len(rows)} {what} images. Name more."
            )
    # "greater": the distribution function lies above, so that the scores are lower.
    score_p = ks_2samp(scores, reference_scores, alternative="greater").pvalue
    distance_p, is_alien = None, np.zeros(len(scores), bool)
    if distances is not None and reference_distances is not None:
        found = ks_2samp(distances, reference_distances, alternative="less")
        distance_p = float(found.pvalue)
        is_alien = distances > limit(reference_distances, minority_distances)
    return Shift(float(score_p), distance_p, is_alien, len(reference_scores))


def limit(majority: np.ndarray, minority: Sequence[float] = ()) -> float:
    """Returns the distance from which on an image is unlike anything seen."""
    known = [np.quantile(x, _SHARE) for x in (majority, minority) if len(x)]
    return max(_LEAST, _FACTOR * max(known))


def find_shortfall(
    scores: np.ndarray,
    labels: np.ndarray,
    threshold: float,
    calibration: Any,
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Returns what a report tells of a specificity that is short of its guarantee.

    That is the p-value of scipy's exact binomial test of false alarms, the guaranteed
    specificity, and, with `groups`, up to three groups with the most false alarms, each
    with their number and that of its majority images. Nothing is told where nothing is
    guaranteed, or where chance explains it.
    """
    guarantees = getattr(calibration, "criterion", None) == "specificity"
    if not guarantees or calibration.confidence is None:
        return {}
    majority = labels == 0
    is_alarm = majority & (scores < threshold)
    n_alarms, n_majority = int(is_alarm.sum()), int(majority.sum())
    if not n_alarms:
        return {}
    rate = 1 - calibration.target
    p = binomtest(n_alarms, n_majority, rate, alternative="greater").pvalue
    if p >= _SIGNIFICANT:
        return {}
    told: dict[str, Any] = {_P_VALUE: float(p), _TARGET: calibration.target}
    if groups is not None:
        names = np.array(list(map(str, groups)), object)
        all_of, alarms = Counter(names[majority]), Counter(names[is_alarm])
        most = alarms.most_common(_MOST_GROUPS)
        told[_ALARM_GROUPS] = [[name, count, all_of[name]] for name, count in most]
    return told


def describe_shortfall(values: dict[str, Any], n_alarms: int) -> list[str]:
    """Returns the lines of a report that tell of a shortfall, if there is one.

    >>> values = {"specificity_shortfall_p": 1e-5, "guaranteed_specificity": 0.95}
    >>> values |= {"n_majority": 100, "false_alarm_groups": [["7", 10, 12]]}
    >>> lines = describe_shortfall(values, n_alarms=14)
    >>> print(lines[0])
    Warning: 14 false alarms among 100 majority images, where the guaranteed
     specificity allows 5 or so: more than chance explains (p = 1e-05).
    >>> print(lines[-1])
    10 of 14 false alarms came from group 7, which has 12 of 100 majority images.
    """
    if _P_VALUE not in values:
        return []
    n_majority = values["n_majority"]
    allowed = (1 - values[_TARGET]) * n_majority
    lines = [
        f"Warning: {n_alarms} false alarms among {n_majority} majority images, where "
        f"the guaranteed specificity allows {allowed:.0f} or so: more than chance "
        f"explains (p = {values[_P_VALUE]:.1g}).",
        "These images are not drawn like those the threshold was set on: they are of "
        "other parts, days or cameras, and the guarantee is for images like those.",
    ]
    if _ALARM_GROUPS in values:
        lines.append(
            "Images of one group are alike, so that those of few groups tell less than "
            "their number: calibrate on majority images of more groups, such as these."
        )
    else:
        lines.append(
            "Calibrate on majority images like these. Name the object each image shows "
            "with --groups (`groups`), so that validation is of other objects than "
            "training, as new images are."
        )
    most = values.get(_ALARM_GROUPS, [])
    if most and most[0][1] > 1:
        name, count, size = most[0]
        lines.append(
            f"{count} of {n_alarms} false alarms came from group {printable(name)}, "
            f"which has {size} of {n_majority} majority images."
        )
    return lines
