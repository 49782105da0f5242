"""One run: a method trained on what it may see, and judged on the test split."""

import functools
import hashlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from sklearn.metrics import f1_score, roc_auc_score

from egan_keras import baselines, features, thresholds
from egan_keras.experiments.grid import Run
from egan_keras.experiments.samples import Sample
from egan_keras.metrics import score_metrics
from egan_keras.model import EGAN

SPECIFICITY = 0.95
CONFIDENCE = 0.95

_BATCH_SIZE = 512

_one_class_scores: dict[tuple, tuple[np.ndarray, float]] = {}


class NotPossibleError(Exception):
    """A baseline cannot work on what it is given, such as a single minority image."""


class _Scores(NamedTuple):
    """Scores of the splits, high = majority, and what else was measured."""

    validation: np.ndarray
    test: np.ndarray
    measured: dict[str, Any]


def train_and_judge(run: Run, sample: Sample) -> dict[str, Any]:
    """Trains a method, scores the test split, and measures.

    Args:
        run: what to run.
        sample: what it reads.

    Returns:
        Values that JSON can hold: `auroc`, `average_precision`; `threshold`, set on
        validation majority images, with `threshold_confidence` (None without a
        guarantee, where they are too few for one), and at it `f1`, `sensitivity`,
        `specificity`; `seconds` of training; the sizes of the splits. For an eGAN also
        `sensitivity_at_zero`, `specificity_at_zero`, whether it `diverged`, and, by
        epoch on the test split, `auroc_by_epoch` and `f1_at_zero_by_epoch`: for the
        tables of stability and of oracle numbers alone, they decide nothing.

    Raises:
        NotPossibleError: if a baseline cannot work on what it is given.
    """
    scores = _score_egan(run, sample) if run.method.recipe else _score(run, sample)
    values = {
        "n_train_majority": int(np.sum(sample.train_labels == 0)),
        "n_train_minority": run.cell.count,
        "n_validation": len(sample.validation),
        "n_test": len(sample.test),
        **_judge(scores, sample.test_labels),
    }
    if run.method.recipe:
        at_zero = score_metrics(scores.test, sample.test_labels, 0.0)
        for name in ("sensitivity", "specificity"):
            values[f"{name}_at_zero"] = at_zero[name]
    return values | scores.measured


def _judge(scores: _Scores, test_labels: np.ndarray) -> dict[str, Any]:
    """Returns metrics of the test split at a threshold set without it."""
    n = len(scores.validation)
    enough = n >= thresholds.images_needed(SPECIFICITY, CONFIDENCE)
    confidence = CONFIDENCE if enough else None
    calibration = thresholds.calibrate(
        scores.validation, np.zeros(n), specificity=SPECIFICITY, confidence=confidence
    )
    metrics = score_metrics(scores.test, test_labels, calibration.threshold)
    wanted = ("auroc", "average_precision", "f1", "sensitivity", "specificity")
    return {
        **{name: metrics[name] for name in wanted},
        "threshold": calibration.threshold,
        "threshold_confidence": confidence,
    }


def _score(run: Run, sample: Sample) -> _Scores:
    """Scores the splits by a baseline."""
    inputs = np.concatenate([sample.validation, sample.test])
    scores, seconds = _fit_once(run, sample.train, sample.train_labels, inputs)
    n = len(sample.validation)
    return _Scores(scores[:n], scores[n:], {"seconds": seconds})


def _fit_once(
    run: Run, train: np.ndarray, labels: np.ndarray, inputs: np.ndarray
) -> tuple[np.ndarray, float]:
    """Returns a baseline's scores and seconds; one-class ones are kept.

    They do not see the minority, so that all its counts have the same scores.
    """
    key = None
    if run.method.name in baselines.ONE_CLASS_BASELINES:
        seen = (train[labels == 0], inputs)
        hashes = [hashlib.blake2b(np.ascontiguousarray(each)).digest() for each in seen]
        key = run.method.name, run.seed, *hashes
    if key in _one_class_scores:
        return _one_class_scores[key]
    started = time.perf_counter()
    try:
        scores = _baseline(run)(train, labels, inputs, seed=run.seed)
    except (ValueError, ImportError) as error:
        raise NotPossibleError(str(error)) from error
    result = np.asarray(scores).ravel(), time.perf_counter() - started
    if key:
        _one_class_scores[key] = result
    return result


def _baseline(run: Run) -> Callable[..., np.ndarray]:
    if not run.method.needs_images:
        return baselines.FEATURE_BASELINES[run.method.name]
    function = baselines.IMAGE_BASELINES[run.method.name]

    return functools.partial(
        function,
        backbone=run.cell.pairing.discriminator,
        weights=run.weights,
        network_size=run.network_size,
    )


def _score_egan(run: Run, sample: Sample) -> _Scores:
    """Trains an eGAN and scores the splits by it."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(run.seed)
    model = _build(run, sample)
    model.compile()
    watch = _Watch(sample.test, sample.test_labels)
    started = time.perf_counter()
    model.fit(sample.train, sample.train_labels, verbose=0, callbacks=[watch])
    measured = {
        "seconds": time.perf_counter() - started - watch.seconds,
        "diverged": bool(model.stop_training),
        "auroc_by_epoch": watch.aurocs,
        "f1_at_zero_by_epoch": watch.f1s_at_zero,
    }
    scores = (_predict(model, rows) for rows in (sample.validation, sample.test))
    return _Scores(*scores, measured)


def _build(run: Run, sample: Sample) -> EGAN:
    recipe, pairing = run.method.recipe, run.cell.pairing
    if not run.method.needs_images:
        return EGAN.from_features(
            sample.encoder_size,
            sample.discriminator_sizes,
            recipe=recipe,
            pairing=str(pairing),
        )
    choices = {}
    if recipe.network_size is None and run.network_size:
        choices["network_size"] = run.network_size
    return EGAN.from_backbones(
        *pairing,
        image_shape=sample.train.shape[1:],
        recipe=recipe,
        weights=run.weights,
        **choices,
    )


def _predict(model: EGAN, inputs: np.ndarray) -> np.ndarray:
    return model.predict(inputs, batch_size=_BATCH_SIZE, verbose=0)[:, 0]


class _Watch(keras.callbacks.Callback):
    """Judges the test split after each epoch; nothing depends on it.

    Attributes:
        aurocs: one for each epoch.
        f1s_at_zero: F1 at threshold 0, one for each epoch.
        seconds: how long all this took.
    """

    def __init__(self, inputs: np.ndarray, labels: np.ndarray) -> None:
        super().__init__()
        self._inputs, self._labels = inputs, labels
        self.aurocs: list[float] = []
        self.f1s_at_zero: list[float] = []
        self.seconds = 0.0

    def on_train_begin(self, logs=None):
        """Runs the stem, whose statistics of the majority are taken by now."""
        started = time.perf_counter()
        stem = self.model.discriminator.stem
        self._features = features.stem_features(stem, self._inputs)
        self.seconds += time.perf_counter() - started

    def on_epoch_end(self, epoch, logs=None):
        """Scores the test split."""
        started = time.perf_counter()
        tail = self.model.discriminator.tail
        scores = []
        for start in range(0, len(self._inputs), _BATCH_SIZE):
            rows = [array[start : start + _BATCH_SIZE] for array in self._features]
            scores.append(tail.predict_on_batch(rows[0] if len(rows) == 1 else rows))
        scores = np.concatenate(scores)[:, 0]
        self.aurocs.append(float(roc_auc_score(self._labels, -scores)))
        self.f1s_at_zero.append(float(f1_score(self._labels, scores < 0)))
        self.seconds += time.perf_counter() - started
