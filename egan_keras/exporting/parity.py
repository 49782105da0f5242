"""Whether an export scores as the model does."""

import dataclasses

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

# Of float32, in units of the scores' standard deviation where that is above 1.
LARGEST_DIFFERENCE = 1e-4
# Of forms that round weights or activations.
LEAST_RANK_CORRELATION = 0.95
LARGEST_AUROC_LOSS = 0.01
LARGEST_SHARE_CHANGED = 0.05


class NotFiniteError(ValueError):
    """Scores of an export that are NaN or infinite."""


@dataclasses.dataclass(frozen=True)
class Parity:
    """How the scores of an export compare with those of the model.

    Attributes:
        n_images: Images compared.
        largest_difference: Largest absolute difference of two scores.
        rank_correlation: Spearman's, -1..1; 0 where all scores are equal.
        auroc_change: AUROC of the export less that of the model; `None` without
            labelled images of both classes.
        changed_decisions: Share of images called otherwise, each by its own
            threshold, 0..1.
        score_deviation: Standard deviation of the model's scores.
    """

    n_images: int
    largest_difference: float
    rank_correlation: float
    auroc_change: float | None
    changed_decisions: float
    score_deviation: float

    def shortfalls(self, form: str) -> list[str]:
        """Returns in words where the export is beyond tolerance, if anywhere.

        Args:
            form: As in `conversion.convert`, or `"savedmodel"`.
        """
        if form in ("none", "savedmodel"):
            allowed = LARGEST_DIFFERENCE * max(1.0, self.score_deviation)
            within = self.largest_difference <= allowed
            return (
                []
                if within
                else [
                    f"largest difference {self.largest_difference:.2g} (at most "
                    f"{allowed:.2g})"
                ]
            )
        found = []
        if self.rank_correlation < LEAST_RANK_CORRELATION:
            found.append(
                f"rank correlation {self.rank_correlation:.3f} (at least "
                f"{LEAST_RANK_CORRELATION})"
            )
        if self.auroc_change is not None and self.auroc_change < -LARGEST_AUROC_LOSS:
            found.append(
                f"AUROC change {self.auroc_change:+.4f} (at least "
                f"{-LARGEST_AUROC_LOSS})"
            )
        if self.changed_decisions > LARGEST_SHARE_CHANGED:
            found.append(
                f"changed decisions {self.changed_decisions:.1%} (at most "
                f"{LARGEST_SHARE_CHANGED:.0%})"
            )
        return found


def compare(
    expected: np.ndarray,
    expected_threshold: float,
    scores: np.ndarray,
    threshold: float,
    labels: np.ndarray | None = None,
) -> Parity:
    """Compares the scores of an export with those of the model.

    Args:
        expected: The model's scores, float (n,).
        expected_threshold: The model's threshold.
        scores: The export's scores of the same images, float (n,).
        threshold: The export's threshold.
        labels: 0 = majority, 1 = minority, (n,); `None` if not known.

    >>> parity = compare([1.0, 2.0, 3.0], 1.5, [1.0, 2.0, 3.25], 1.5)
    >>> parity.largest_difference, parity.changed_decisions
    (0.25, 0.0)
    """
    expected, scores = (np.asarray(each, "float64") for each in (expected, scores))
    finite = np.isfinite(scores).all()
    varied = finite and np.ptp(scores) > 0 and np.ptp(expected) > 0
    change = None
    if labels is not None and len(np.unique(labels)) == 2:
        aurocs = [
            roc_auc_score(labels, -np.nan_to_num(each)) for each in (scores, expected)
        ]
        change = float(aurocs[0] - aurocs[1])
    changed = (scores < threshold) != (expected < expected_threshold)
    return Parity(
        n_images=len(scores),
        largest_difference=float(np.abs(scores - expected).max()),
        rank_correlation=float(spearmanr(scores, expected)[0]) if varied else 0.0,
        auroc_change=change,
        changed_decisions=float(changed.mean()),
        score_deviation=float(expected.std()),
    )
