"""Metrics of scores against labels, with confidence intervals.

Minority (label 1) is the positive class of every metric. A low score means minority,
so images are ranked by the negated score, and an image is called minority when its
score is below the threshold.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from egan_keras.thresholds import check_scores

# Limits the memory of one batch of resamples to some tens of megabytes.
_COUNTS_PER_BATCH = 1_000_000


def score_metrics(
    scores: ArrayLike, labels: ArrayLike, threshold: float
) -> dict[str, float]:
    """Returns the metrics of scores against labels at a threshold.

    A metric that needs a class which is missing is absent: with majority images alone
    there is only the specificity, with minority images alone only the sensitivity.

    >>> metrics = score_metrics([2.0, 1.0, -0.5, -1.0], [0, 0, 0, 1], threshold=0.0)
    >>> metrics["auroc"], metrics["sensitivity"], metrics["precision"]
    (1.0, 1.0, 0.5)

    Args:
        scores: shape (n,) or (n, 1), low = minority.
        labels: shape (n,) or (n, 1), 0 = majority, 1 = minority.
        threshold: an image is called minority when its score is below it.

    Returns:
        `auroc`, `average_precision`, `sensitivity`, `specificity`, `precision` (0 when
        nothing is called minority), `f1`, `balanced_accuracy` and `always_minority_f1`
        (the F1 of calling every image minority), each in 0..1, and the numbers of
        images `n_majority` and `n_minority`.
    """
    scores, labels = check_scores(scores, labels)
    called = scores < threshold
    counts = confusion_matrix(labels, called, labels=[0, 1]).ravel().tolist()
    metrics = {}
    if 0 < labels.sum() < len(labels):
        metrics["auroc"] = float(roc_auc_score(labels, -scores))
        metrics["average_precision"] = float(average_precision_score(labels, -scores))
    metrics.update((k, float(v)) for k, v in _from_confusion(*counts).items())
    n_minority = int(labels.sum())
    n_majority = len(labels) - n_minority
    if n_minority and n_majority:
        metrics["always_minority_f1"] = 2 * n_minority / (n_majority + 2 * n_minority)
    return {**metrics, "n_majority": n_majority, "n_minority": n_minority}


def bootstrap_intervals(
    scores: ArrayLike,
    labels: ArrayLike,
    threshold: float,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Returns a percentile bootstrap interval for each metric that is present.

    Images are drawn with replacement within each class, so every resample has the
    class sizes given; the interval holds for that ratio of the classes and this
    threshold and model. `always_minority_f1` depends on the class sizes alone and has
    no interval.

    A sensitivity or specificity of exactly 0 or 1 is the same in every resample, so
    its bootstrap interval has no width and would claim certainty; it gets the exact
    binomial interval (Clopper and Pearson 1934) instead. The other metrics have no such
    substitute: an interval of no width for them means too few mistakes to resample.

    Args:
        scores: shape (n,) or (n, 1), low = minority.
        labels: shape (n,) or (n, 1), 0 = majority, 1 = minority.
        threshold: an image is called minority when its score is below it.
        resamples: number of resamples, 1 or more.
        confidence: coverage of each interval, in (0, 1).
        seed: the same seed gives the same intervals.

    Returns:
        (low, high) for each metric, each in 0..1.
    """
    scores, labels = check_scores(scores, labels)
    if resamples < 1 or not 0 < confidence < 1:
        raise ValueError(
            "Intervals cannot be made: expected one or more resamples and a confidence "
            f"between 0 and 1, such as 1000 and 0.95. Received: {resamples=}, "
            f"{confidence=}."
        )
    drawn = _resampled_metrics(scores, labels, threshold, resamples, seed)
    tail = (1 - confidence) / 2
    intervals = {
        name: tuple(np.quantile(values, [tail, 1 - tail]).tolist())
        for name, values in drawn.items()
    }
    correct = (scores < threshold) == (labels == 1)
    for name, label in (("sensitivity", 1), ("specificity", 0)):
        hits, n = int(correct[labels == label].sum()), int(np.sum(labels == label))
        if n and hits in (0, n):
            exact = binomtest(hits, n).proportion_ci(confidence, method="exact")
            intervals[name] = (float(exact.low), float(exact.high))
    return intervals


def precision_at_prevalence(
    sensitivity: float, specificity: float, prevalence: float
) -> float:
    """Returns the precision to expect where minority images have a given share.

    The one measured on a test set holds for that set's ratio alone. By Bayes' theorem.

    >>> precision_at_prevalence(sensitivity=0.9, specificity=0.95, prevalence=0.001)
    0.0177

    All are in 0..1, else it is a ValueError; the result is 0 when nothing is called
    minority.
    """
    names = ("sensitivity", "specificity", "prevalence")
    shares = (sensitivity, specificity, prevalence)
    for name, value in zip(names, shares, strict=True):
        if not 0 <= value <= 1:
            raise ValueError(
                f"The {name} is out of range: expected a share from 0 to 1. Received: "
                f"{name}={value}. For 1 image in 1000 pass 0.001."
            )
    found = sensitivity * prevalence
    called = found + (1 - specificity) * (1 - prevalence)
    return float(found / called) if called else 0.0


def _from_confusion(tn: ArrayLike, fp: ArrayLike, fn: ArrayLike, tp: ArrayLike) -> dict:
    """Returns the metrics at a threshold; counts are numbers or arrays of them."""
    tn, fp, fn, tp = (np.asarray(count, float) for count in (tn, fp, fn, tp))
    n_majority, n_minority = (tn + fp).max(), (fn + tp).max()
    metrics = {}
    if n_minority:
        metrics["sensitivity"] = tp / n_minority
    if n_majority:
        metrics["specificity"] = tn / n_majority
    if n_minority and n_majority:
        metrics["precision"] = tp / np.maximum(tp + fp, 1)
        metrics["f1"] = 2 * tp / (2 * tp + fp + fn)
        both = metrics["sensitivity"] + metrics["specificity"]
        metrics["balanced_accuracy"] = both / 2
    return metrics


def _resampled_metrics(
    scores: np.ndarray, labels: np.ndarray, threshold: float, resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """Returns the metrics of each resample, arrays of shape (resamples,).

    A resample is how often each distinct score was drawn in each class, a multinomial
    draw; all metrics follow from cumulative sums over the scores in rising order.
    """
    observed, place = np.unique(scores, return_inverse=True)
    counts = [np.bincount(place[labels == k], minlength=len(observed)) for k in (0, 1)]
    below = int(np.sum(observed < threshold))
    random = np.random.default_rng(seed)
    size = max(1, _COUNTS_PER_BATCH // len(observed))
    batches = [
        _from_counts(
            *(_draw(random, c, min(size, resamples - start)) for c in counts), below
        )
        for start in range(0, resamples, size)
    ]
    return {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}


def _draw(random: np.random.Generator, counts: np.ndarray, size: int) -> np.ndarray:
    n = counts.sum()
    return random.multinomial(n, counts / max(n, 1), size=size)


def _from_counts(
    majority: np.ndarray, minority: np.ndarray, below: int
) -> dict[str, np.ndarray]:
    """Returns metrics from counts of each distinct score, shape (resamples, scores).

    AUROC is the Mann-Whitney statistic with ties counted half; average precision is
    the sum of precision times the gain in recall, as in scikit-learn.
    """
    n_majority, n_minority = majority[0].sum(), minority[0].sum()
    false_alarms, found = majority.cumsum(axis=1), minority.cumsum(axis=1)
    metrics = {}
    if n_majority and n_minority:
        above = n_majority - false_alarms + majority / 2
        metrics["auroc"] = (minority * above).sum(axis=1) / (n_majority * n_minority)
        precision = found / np.maximum(found + false_alarms, 1)
        metrics["average_precision"] = (minority * precision).sum(axis=1) / n_minority
    fp, tp = (majority[:, :below].sum(axis=1), minority[:, :below].sum(axis=1))
    return metrics | _from_confusion(n_majority - fp, fp, n_minority - tp, tp)
