"""Metrics of validation data during training, as far as its classes allow."""

import keras
import numpy as np
from keras import ops
from sklearn.metrics import roc_auc_score


def minority_likeliness(scores):
    """Maps scores to 0..1, above 0.5 where a score is negative.

    The map (1 - s / (1 + |s|)) / 2 keeps the order of the scores and, unlike the
    logistic function, still separates scores of 20 and 30 in float32.

    Args:
        scores: float tensor of any shape.

    Returns:
        A float tensor of the same shape, what Keras's binary metrics expect.
    """
    return 0.5 - 0.5 * ops.softsign(scores)


class ValidationMetrics:
    """Metrics that are left out, rather than NaN, where a class is missing.

    Args:
        metrics: Keras metrics that need both classes.

    Attributes:
        classes: The classes among the labels of the validation data.
    """

    def __init__(self, metrics: list | None = None) -> None:
        metrics = keras.tree.flatten(metrics or [])
        self.for_both = [_as_metric(metric) for metric in metrics]
        self._majority = [
            keras.metrics.Mean(name="majority_score"),
            keras.metrics.Mean(name="specificity"),
        ]
        self._minority = [
            keras.metrics.Mean(name="minority_score"),
            keras.metrics.Mean(name="sensitivity"),
        ]
        self.classes = {0, 1}

    def exact(self, labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
        """Returns what cannot be summed up batch by batch: the exact AUROC.

        Nothing is returned where a class is missing or a score is not finite.

        Args:
            labels: Labels of all validation images, (n,).
            scores: Their scores, (n, 1).
        """
        if len(np.unique(labels)) < 2 or not np.isfinite(scores).all():
            return {}
        ranks = -scores[:, 0].astype("float64")
        return {"auroc": float(roc_auc_score(labels, ranks))}

    @property
    def all(self) -> list[keras.metrics.Metric]:
        """Every metric, whether in use or not."""
        return [*self._majority, *self._minority, *self.for_both]

    def update(self, labels, scores) -> dict:
        """Takes a batch in and returns the results so far.

        Specificity and sensitivity are those at threshold 0.

        Args:
            labels: int tensor (n,), 0 majority, 1 minority.
            scores: float tensor (n, 1).
        """
        is_minority = ops.cast(ops.reshape(labels, (-1, 1)), scores.dtype)
        called_minority = ops.cast(scores < 0, scores.dtype)
        used = []
        if 0 in self.classes:
            self._update(self._majority, scores, 1 - called_minority, 1 - is_minority)
            used += self._majority
        if 1 in self.classes:
            self._update(self._minority, scores, called_minority, is_minority)
            used += self._minority
        if self.classes == {0, 1}:
            for metric in self.for_both:
                metric.update_state(is_minority, minority_likeliness(scores))
            used += self.for_both
        return {metric.name: metric.result() for metric in used}

    @staticmethod
    def _update(metrics, scores, correct, weight) -> None:
        for metric, values in zip(metrics, (scores, correct), strict=True):
            metric.update_state(values, sample_weight=weight)


def _as_metric(metric) -> keras.metrics.Metric:
    # By that name Keras gives equality of labels and likelinesses, which never holds.
    if metric in ("accuracy", "acc"):
        return keras.metrics.BinaryAccuracy(name=metric)
    found = keras.metrics.get(metric)
    if isinstance(found, keras.metrics.Metric):
        return found
    name = getattr(found, "__name__", "metric")
    return keras.metrics.MeanMetricWrapper(found, name=name)
