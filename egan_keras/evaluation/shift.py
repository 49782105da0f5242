"""Whether new images are drawn like those that the threshold was set on."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.stats import ks_2samp

FEWEST = 20
# So much further from the majority than known images is unlike anything seen.
_FACTOR, _LEAST, _SHARE = 2.0, 5.0, 0.95


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
