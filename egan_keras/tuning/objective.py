"""The objective of a search: how well held-out minority images are told apart."""

import dataclasses
from collections.abc import Sequence

import keras_tuner
import numpy as np

NAME = "held_out_auroc"
ERROR_NAME = f"{NAME}_error"


def objective() -> keras_tuner.Objective:
    """Returns the objective for a KerasTuner tuner: `held_out_auroc`, to maximise."""
    return keras_tuner.Objective(NAME, direction="max")


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """How a trial ranks minority images that its training did not see.

    Attributes:
        shares: For each minority image, the share of validation majority images that
            score above it, 0..1, a tie counting half; the mean over the fits that held
            it out.
    """

    shares: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The area under the ROC curve of held-out images, 0..1."""
        return float(np.mean(self.shares))

    @property
    def standard_error(self) -> float:
        """Of the mean, from how much the images differ."""
        return _standard_error(self.shares)

    def lead(self, other: "HeldOut") -> tuple[float, float]:
        """Returns how much better it is than another trial, and the standard error.

        Both held out the same images, so that these are compared pair by pair: what
        makes an image hard for both does not count as uncertainty.

        Example:
            >>> HeldOut((0.9, 0.5)).lead(HeldOut((0.8, 0.4)))
            (0.1, 0.0)
        """
        differences = np.subtract(self.shares, other.shares)
        return float(np.mean(differences)), _standard_error(differences)


def shares_above(scores: np.ndarray, majority_scores: np.ndarray) -> np.ndarray:
    """Returns, for each score, the share of majority scores above it, float64 (n,).

    The mean of the result is the area under the ROC curve. A tie counts half.

    Example:
        >>> shares_above(np.array([0.5, 2.0]), np.array([1.0, 2.0, 3.0, 4.0]))
        array([1.   , 0.625])
    """
    ordered = np.sort(majority_scores)
    below = np.searchsorted(ordered, scores, "left")
    not_above = np.searchsorted(ordered, scores, "right")
    return 1 - (below + not_above) / (2 * len(ordered))


def join_fits(
    minority_count: int, fits: Sequence[tuple[np.ndarray, np.ndarray]]
) -> HeldOut:
    """Returns what several fits say together.

    Args:
        minority_count: Number of minority images.
        fits: For each fit, the indices of the images held out and their shares.
    """
    sums, counts = np.zeros(minority_count), np.zeros(minority_count)
    for held_out, shares in fits:
        sums[held_out] += shares
        counts[held_out] += 1
    return HeldOut(tuple((sums / counts).tolist()))


def _standard_error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))
