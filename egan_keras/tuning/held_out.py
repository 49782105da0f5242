"""Minority images held out in turn, so that a trial is judged by what it did not see.

Every trial of a search holds out the same images in the same fits, with the same
seeds, so that trials differ by their choices alone.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# The objective of a search, which is maximised, and its standard error.
NAME = "held_out_auroc"
ERROR_NAME = f"{NAME}_error"

_MOST_GROUPS = 5
# Fewer fits than that are repeated with other seeds.
_FEWEST_FITS = 5


class Fold(NamedTuple):
    """One fit of a trial: the minority images it does not see, and its seed."""

    held_out: np.ndarray
    seed: int


def make_folds(minority_count: int, seed: int = 0) -> list[Fold]:
    """Returns the fits of a trial: each minority image is held out equally often.

    Up to five images are held out one by one, more of them in five groups. Where that
    makes fewer than five fits, all are repeated with other seeds.

    Raises:
        ValueError: If there are fewer than two minority images.

    Example:
        >>> [fold.held_out.tolist() for fold in make_folds(3)]
        [[2], [0], [1], [2], [0], [1]]
    """
    if minority_count < 2:
        raise ValueError(
            "Pairings cannot be compared with so few minority images: one that "
            "training did not see must judge, and one must be left to train on; "
            f"expected 2 minority images or more. Received: {minority_count}. Add a "
            "second one, or train the pairing of your choice without a search."
        )
    order = np.random.default_rng(seed).permutation(minority_count)
    groups = np.array_split(order, min(minority_count, _MOST_GROUPS))
    n_fits = len(groups) * -(-_FEWEST_FITS // len(groups))
    return [Fold(np.sort(groups[n % len(groups)]), seed + n) for n in range(n_fits)]


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

    @property
    def text(self) -> str:
        """The mean and its standard error, for people."""
        return f"{self.mean:.3f} ± {self.standard_error:.3f}"

    def lead(self, other: "HeldOut") -> tuple[float, float]:
        """Returns how much better it is than another trial, and the standard error.

        Both held out the same images, so that these are compared pair by pair: what
        makes an image hard for both does not count as uncertainty.
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
    """Returns what several fits say, each by the images held out and their shares."""
    sums, counts = np.zeros(minority_count), np.zeros(minority_count)
    for held_out, shares in fits:
        sums[held_out] += shares
        counts[held_out] += 1
    return HeldOut(tuple((sums / counts).tolist()))


def _standard_error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))
