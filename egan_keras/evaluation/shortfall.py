"""A test specificity below the guaranteed one: whether by chance, and whence it comes.

A calibration guarantees its specificity for images drawn like those it was set on. Test
images with more false alarms than chance explains are drawn otherwise.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from egan_keras.text import printable

# A report says so where chance explains so many false alarms less often than this.
_SIGNIFICANT = 0.01
_GROUPS = 3
P_VALUE, GROUPS = "specificity_shortfall_p", "false_alarm_groups"
_TARGET = "guaranteed_specificity"


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
    from scipy.stats import binomtest  # slow to import

    rate = 1 - calibration.target
    p = binomtest(n_alarms, n_majority, rate, alternative="greater").pvalue
    if p >= _SIGNIFICANT:
        return {}
    told: dict[str, Any] = {P_VALUE: float(p), _TARGET: calibration.target}
    if groups is not None:
        names = np.array(list(map(str, groups)), object)
        all_of, alarms = Counter(names[majority]), Counter(names[is_alarm])
        most = alarms.most_common(_GROUPS)
        told[GROUPS] = [[name, count, all_of[name]] for name, count in most]
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
    if P_VALUE not in values:
        return []
    n_majority = values["n_majority"]
    allowed = (1 - values[_TARGET]) * n_majority
    lines = [
        f"Warning: {n_alarms} false alarms among {n_majority} majority images, where "
        f"the guaranteed specificity allows {allowed:.0f} or so: more than chance "
        f"explains (p = {values[P_VALUE]:.1g}).",
        "These images are not drawn like those the threshold was set on: they are of "
        "other parts, days or cameras, and the guarantee is for images like those.",
    ]
    if GROUPS in values:
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
    most = values.get(GROUPS, [])
    if most and most[0][1] > 1:
        name, count, size = most[0]
        lines.append(
            f"{count} of {n_alarms} false alarms came from group {printable(name)}, "
            f"which has {size} of {n_majority} majority images."
        )
    return lines
