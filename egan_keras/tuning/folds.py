"""Which minority images are held out in turn, so that a trial can be judged.

Every trial of a search holds out the same images in the same fits, with the same
seeds, so that trials differ by their choices alone.
"""

from typing import NamedTuple

import numpy as np

MOST_FOLDS = 5

# Fewer fits than that are repeated with other seeds.
_FEWEST_FITS = 5


class Fold(NamedTuple):
    """One fit of a trial.

    Attributes:
        held_out: Indices, among the minority images, of those not trained on.
        seed: Decides the order of the batches and the noise.
    """

    held_out: np.ndarray
    seed: int


def make_folds(minority_count: int, seed: int = 0) -> list[Fold]:
    """Returns the fits of a trial: each minority image is held out equally often.

    Up to five images are held out one by one, more of them in five groups. Where that
    makes fewer than five fits, all are repeated with other seeds.

    Args:
        minority_count: Number of minority images to train with.
        seed: Decides the groups and the fits' seeds.

    Raises:
        ValueError: If there are fewer than two.

    Example:
        >>> [fold.held_out.tolist() for fold in make_folds(3)]
        [[2], [0], [1], [2], [0], [1]]
        >>> sorted(len(fold.held_out) for fold in make_folds(12))
        [2, 2, 2, 3, 3]
    """
    if minority_count < 2:
        raise ValueError(
            "Pairings cannot be compared with so few minority images: one that "
            "training did not see must judge, and one must be left to train on; "
            f"expected 2 minority images or more. Received: {minority_count}. Add a "
            "second one, or train the pairing of your choice without a search."
        )
    order = np.random.default_rng(seed).permutation(minority_count)
    groups = np.array_split(order, min(minority_count, MOST_FOLDS))
    repeats = -(-_FEWEST_FITS // len(groups))
    return [
        Fold(np.sort(group), seed + repeat * len(groups) + number)
        for repeat in range(repeats)
        for number, group in enumerate(groups)
    ]
