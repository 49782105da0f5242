"""One run: what it reads, a method trained on it, and judged on the test split."""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from sklearn.metrics import f1_score, roc_auc_score

from egan_keras import baselines, data, features, networks, thresholds
from egan_keras.experiments.frozen import Extractor, FolderFeatures, extractor
from egan_keras.experiments.grid import REFERENCE, Run, Task
from egan_keras.experiments.task_images import TaskImages
from egan_keras.metrics import score_metrics
from egan_keras.model import EGAN

SPECIFICITY = 0.95
CONFIDENCE = 0.95

_BATCH_SIZE = 512
_WANTED = ("auroc", "average_precision", "f1", "sensitivity", "specificity")

_one_class_scores: dict[tuple, tuple[np.ndarray, float]] = {}


class NotPossibleError(Exception):
    """A baseline cannot work on what it is given, such as a single minority image."""


class Sample(NamedTuple):
    """Inputs and labels of the splits of one run; validation is majority alone.

    Attributes:
        train: rows of features, float32 (n, d), or images, uint8 (n, h, w, 3). Rows of
            mirrored minority images, where a recipe trains on them, stand last.
        train_labels: 0 = majority, 1 = minority, int32 (n,).
        validation: the same of the validation split.
        test: the same of the test split.
        test_labels: its labels.
        encoder_size: length of the encoder's features, which stand first in a row;
            None for images, and where both backbones are the same.
        discriminator_sizes: lengths of the discriminator's feature vectors, one for
            each depth; empty for images.
    """

    train: np.ndarray
    train_labels: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    encoder_size: int | None = None
    discriminator_sizes: tuple[int, ...] = ()


class Samples:
    """Prepares what runs read, and keeps the latest for the next method."""

    def __init__(self, store: FolderFeatures, images: dict[Task, TaskImages]) -> None:
        self._store = store
        self._images = images
        self._splits: tuple[Any, data.Splits | None] = None, None
        self._latest: tuple[Any, Sample | None] = None, None

    def of(self, run: Run) -> Sample:
        """Returns what a run reads.

        Raises:
            ValueError: if an image cannot be read.
            OSError: if ImageNet weights cannot be had.
        """
        images, recipe = self._images[run.cell.task], run.method.recipe
        which = images, run.cell.count, run.seed
        used, mirrors = (), bool(recipe and recipe.mirrored_minority)
        if not run.method.needs_images:
            if self._splits[0] != which:
                self._splits = which, images.splits(*which[1:])
            size = self._splits[1].train.images.shape[1:3]
            recipe = recipe or networks.get_recipe(REFERENCE)
            used = tuple(
                extractor(backbone, recipe, size, run.network_size)
                for backbone in dict.fromkeys(run.backbones)
            )
        key = which, used, mirrors
        if self._latest[0] != key:
            # Let go of before the next one takes as much memory.
            self._latest = None, None
            if used:
                sample = self._features(images, used, mirrors)
            else:
                train, validation, test = images.splits(*which[1:], lazy=False)
                seen = train.images, train.labels, validation.images, test.images
                sample = Sample(*seen, test.labels)
            self._latest = key, sample
        return self._latest[1]

    def counts(self, run: Run) -> dict[str, int]:
        """Returns how many of a run's files equal another one."""
        return self._images[run.cell.task].counts

    def _features(
        self, images: TaskImages, used: tuple[Extractor, ...], mirrors: bool
    ) -> Sample:
        """Returns rows of features, the encoder's before the discriminator's."""

        def rows(paths: Sequence[str], mirrored: bool = False) -> np.ndarray:
            places = [images.places[Path(path)] for path in paths]
            each = [extractor._replace(mirrored=mirrored) for extractor in used]
            return np.concatenate([self._store.rows(places, e) for e in each], axis=1)

        train, validation, test = self._splits[1]
        inputs, labels = rows(train.paths), train.labels
        if mirrors:
            minority = [train.paths[row] for row in np.flatnonzero(labels)]
            inputs = np.concatenate([inputs, rows(minority, mirrored=True)])
            labels = np.append(labels, np.ones(len(minority), labels.dtype))
        return Sample(
            inputs,
            labels,
            rows(validation.paths),
            rows(test.paths),
            test.labels,
            sum(used[0].sizes()) if len(used) == 2 else None,
            used[-1].sizes(),
        )


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
    judged = _score_egan if run.method.recipe else _score_baseline
    validation, test, measured = judged(run, sample)
    n = len(validation)
    enough = n >= thresholds.images_needed(SPECIFICITY, CONFIDENCE)
    confidence = CONFIDENCE if enough else None
    threshold = thresholds.calibrate(
        validation, np.zeros(n), specificity=SPECIFICITY, confidence=confidence
    ).threshold
    metrics = score_metrics(test, sample.test_labels, threshold)
    return {
        "n_train_majority": int(np.sum(sample.train_labels == 0)),
        "n_train_minority": run.cell.count,
        "n_validation": n,
        "n_test": len(sample.test),
        **{name: metrics[name] for name in _WANTED},
        "threshold": threshold,
        "threshold_confidence": confidence,
        **measured,
    }


def _score_baseline(run: Run, sample: Sample) -> tuple:
    """Returns scores of validation and test, and the seconds; one-class ones are kept.

    These do not see the minority, so that all its counts have the same scores.
    """
    train, labels, name = sample.train, sample.train_labels, run.method.name
    inputs = np.concatenate([sample.validation, sample.test])
    key = None
    if name in baselines.ONE_CLASS_BASELINES:
        seen = (train[labels == 0], inputs)
        hashes = [hashlib.blake2b(np.ascontiguousarray(each)).digest() for each in seen]
        key = name, run.seed, *hashes
    found = _one_class_scores.get(key)
    if found is None:
        options = {"seed": run.seed}
        if run.method.needs_images:
            options |= {"backbone": run.cell.pairing.discriminator}
            options |= {"weights": run.weights, "network_size": run.network_size}
        known = baselines.FEATURE_BASELINES | baselines.IMAGE_BASELINES
        started = time.perf_counter()
        try:
            scores = known[name](train, labels, inputs, **options)
        except (ValueError, ImportError) as error:
            raise NotPossibleError(str(error)) from error
        found = np.ravel(scores), time.perf_counter() - started
        if key:
            _one_class_scores[key] = found
    scores, seconds = found
    n = len(sample.validation)
    return scores[:n], scores[n:], {"seconds": seconds}


def _score_egan(run: Run, sample: Sample) -> tuple:
    """Trains an eGAN; returns scores of validation and test, and what was measured."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(run.seed)
    model = _build(run, sample)
    model.compile()
    watch = _Watch(sample.test, sample.test_labels)
    started = time.perf_counter()
    model.fit(sample.train, sample.train_labels, verbose=0, callbacks=[watch])
    seconds = time.perf_counter() - started - watch.seconds
    validation, test = (
        model.predict(rows, batch_size=_BATCH_SIZE, verbose=0)[:, 0]
        for rows in (sample.validation, sample.test)
    )
    at_zero = score_metrics(test, sample.test_labels, 0.0)
    return (
        validation,
        test,
        {
            "sensitivity_at_zero": at_zero["sensitivity"],
            "specificity_at_zero": at_zero["specificity"],
            "seconds": seconds,
            "diverged": bool(model.stop_training),
            "auroc_by_epoch": watch.aurocs,
            "f1_at_zero_by_epoch": watch.f1s_at_zero,
        },
    )


def _build(run: Run, sample: Sample) -> EGAN:
    recipe, pairing = run.method.recipe, run.cell.pairing
    if not run.method.needs_images:
        sizes = sample.encoder_size, sample.discriminator_sizes
        return EGAN.from_features(*sizes, recipe=recipe, pairing=str(pairing))
    own = recipe.network_size or run.network_size
    return EGAN.from_backbones(
        *pairing,
        image_shape=sample.train.shape[1:],
        recipe=recipe,
        weights=run.weights,
        **({"network_size": own} if own else {}),
    )


class _Watch(keras.callbacks.Callback):
    """Judges the test split after each epoch; nothing depends on it."""

    def __init__(self, inputs: np.ndarray, labels: np.ndarray) -> None:
        super().__init__()
        self._inputs, self._labels = inputs, labels
        self.aurocs: list[float] = []
        self.f1s_at_zero: list[float] = []
        self.seconds = 0.0  # that all this took

    def on_train_begin(self, logs=None):
        """Runs the stem, whose statistics of the majority are there by now."""
        started = time.perf_counter()
        stem = features.StemFunction(self.model.discriminator.stem)
        self._features = features.in_batches(stem, self._inputs)
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
