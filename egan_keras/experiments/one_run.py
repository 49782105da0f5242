"""One run of a grid: what it reads, how it is trained, and judged on the test split."""

import dataclasses
import functools
import gc
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil
from sklearn.metrics import f1_score, roc_auc_score

from egan_keras import baselines, data, features, thresholds
from egan_keras.experiments.grid import Run, Task
from egan_keras.experiments.outcomes import CONFIDENCE, SPECIFICITY
from egan_keras.experiments.task_features import TaskFeatures
from egan_keras.experiments.task_images import (
    Extractor,
    FolderFeatures,
    Sample,
    TaskImages,
)
from egan_keras.files import in_units
from egan_keras.metrics import score_metrics
from egan_keras.model import EGAN
from egan_keras.model.on_features import FeatureRows, JoinedRows

_BATCH_SIZE = 512
# Baselines standardise copies of rows, and SMOTE draws as many as the majority has.
_COPIES = 5
_WANTED = ("auroc", "average_precision", "f1", "sensitivity", "specificity")

_one_class_scores: dict[tuple, tuple[np.ndarray, float]] = {}


class NotPossibleError(Exception):
    """A baseline cannot work on what it is given, such as a single minority image."""


class Samples:
    """Prepares what runs read, and keeps the latest for the next method."""

    def __init__(
        self, store: FolderFeatures, images: dict[Task, TaskImages | TaskFeatures]
    ) -> None:
        self._store, self.images = store, images
        self._splits = functools.lru_cache(maxsize=1)(TaskImages.splits)
        self._latest: tuple[Any, Sample | None] = None, None

    def of(self, run: Run) -> Sample:
        """Returns what a run reads."""
        images, recipe = self.images[run.task], run.method.recipe
        if isinstance(images, TaskFeatures):
            return images.sample(run.count, run.seed)
        which, used = (images, run.count, run.seed), ()
        if not run.method.needs_images:
            size = self._splits(*which).train.images.shape[1:3]
            backbones = dict.fromkeys(run.backbones)
            used = tuple(Extractor.of(backbone, run, size) for backbone in backbones)
        key = which, used, bool(recipe and recipe.mirrored_minority)
        if self._latest[0] != key:
            # Let go of before the next one takes as much memory.
            self._latest = None, None
            if used:
                sample = self._features(*key)
            else:
                train, validation, test = images.splits(*which[1:], lazy=False)
                seen = train.images, train.labels, validation.images, test.images
                sample = Sample(*seen, test.labels)
            self._latest = key, sample
        return self._latest[1]

    def _features(
        self, which: tuple, used: tuple[Extractor, ...], mirrors: bool
    ) -> Sample:
        """Returns rows of features, the encoder's before the discriminator's."""

        def rows(paths: Sequence[str], mirrored: bool = False) -> FeatureRows:
            places = [which[0].places[Path(path)] for path in paths]
            each = [
                self._store.rows(places, extractor._replace(mirrored=mirrored))
                for extractor in used
            ]
            # The discriminator's stand last, and the encoder has no maps.
            vectors = np.concatenate([own.vectors for own in each], axis=1)
            return FeatureRows(vectors, each[-1].maps)

        train, validation, test = self._splits(*which)
        inputs, labels = rows(train.paths), train.labels
        if mirrors:
            minority = [train.paths[row] for row in np.flatnonzero(labels)]
            inputs = JoinedRows([inputs, rows(minority, mirrored=True)])
            labels = np.append(labels, np.ones(len(minority), labels.dtype))
        held_out = rows(validation.paths), rows(test.paths), test.labels
        sizes, shapes = used[-1].shapes()
        layout = {
            "encoder_size": sum(used[0].shapes()[0]) if len(used) == 2 else None,
            "discriminator_size": sizes,
            "map_shapes": shapes,
            "side": max(used[-1].image_size),
            "views": 1 + mirrors,
        }
        return Sample(inputs, labels, *held_out, layout)


def train_and_judge(run: Run, sample: Sample) -> dict[str, Any]:
    """Trains a method, scores the test split, and measures; values are JSON's.

    The threshold is set on validation majority images, without a guarantee, and with
    None for `threshold_confidence`, where these are too few for one. What an eGAN does
    by epoch on the test split is for tables of stability and of oracle numbers alone.
    A `NotPossibleError` if a baseline cannot work on what it is given.
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
        "n_train_minority": run.count,
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
    labels, name = sample.train_labels, run.method.name
    splits = sample.train, sample.validation, sample.test
    if sample.is_in_files:
        _check_room(splits)
    rows = [x.vectors if isinstance(x, FeatureRows) else x for x in splits]
    train, inputs = np.asarray(rows[0]), np.concatenate(rows[1:])
    key = None
    if name in baselines.ONE_CLASS_BASELINES or name in baselines.MAP_BASELINES:
        seen = (train[labels == 0], inputs)
        hashes = [hashlib.blake2b(np.ascontiguousarray(each)).digest() for each in seen]
        key = name, run.seed, *hashes
    found = _one_class_scores.get(key)
    if found is None:
        options = {"seed": run.seed}
        if run.method.needs_images:
            options |= {"backbone": run.pairing.discriminator}
            options |= {"weights": run.weights, "network_size": run.network_size}
        known = baselines.FEATURE_BASELINES | baselines.IMAGE_BASELINES
        started = time.perf_counter()
        try:
            if name in baselines.MAP_BASELINES:
                scores = _score_maps(name, splits, labels, run.seed)
            else:
                scores = known[name](train, labels, inputs, **options)
        except (ValueError, ImportError) as error:
            raise NotPossibleError(str(error)) from error
        found = np.ravel(scores), time.perf_counter() - started
        if key:
            _one_class_scores[key] = found
    scores, seconds = found
    n = len(sample.validation)
    return scores[:n], scores[n:], {"seconds": seconds}


def _check_room(splits: tuple[data.LazyRows, ...]) -> None:
    """Refuses rows in files that would fill the memory as an array."""
    needed = _COPIES * sum(rows.nbytes for rows in splits)
    available = psutil.virtual_memory().available
    if needed > available:
        n_rows = sum(map(len, splits))
        raise NotPossibleError(
            "Baselines read all rows as an array in memory, and default does not; "
            f"expected {in_units(needed)} of it for {n_rows:,} rows. Received: "
            f"{in_units(available)} that are free. Compare with them on fewer images."
        )


def _score_maps(name: str, splits: tuple, labels: np.ndarray, seed: int) -> np.ndarray:
    """Returns scores of validation and test by a baseline on the majority's maps."""
    train, validation, test = (each.maps for each in splits)
    rows = np.flatnonzero(labels == 0)
    ours = [depth[rows] for depth in train]
    pairs = zip(validation, test, strict=True)
    theirs = [np.concatenate([held_out, judged]) for held_out, judged in pairs]
    return baselines.MAP_BASELINES[name](ours, theirs, seed=seed)[0]


def _score_egan(run: Run, sample: Sample) -> tuple:
    """Trains an eGAN; returns scores of validation and test, and what was measured."""
    keras.backend.clear_session()
    gc.collect()
    keras.utils.set_random_seed(run.seed)
    recipe, pairing = run.method.recipe, run.pairing
    if run.method.needs_images:
        size = recipe.network_size or run.network_size
        model = EGAN.from_backbones(
            *pairing,
            image_shape=sample.train.shape[1:],
            recipe=dataclasses.replace(recipe, network_size=size),
            weights=run.weights,
        )
    else:
        given = sample.layout | {"recipe": recipe, "pairing": str(pairing)}
        model = EGAN.from_features(**given)
    model.compile()
    watch = _Watch(sample)
    started = time.perf_counter()
    # Features of rows of features stay in memory, if the rows are there.
    store = features.FeatureStore("memory", verbose=0)
    model.fit(
        sample.train,
        sample.train_labels,
        verbose=0,
        callbacks=[watch],
        cache_features=store if not sample.is_in_files else False,
    )
    seconds = time.perf_counter() - started - watch.seconds
    validation, test = (
        model.predict(rows, batch_size=_BATCH_SIZE, verbose=0)[:, 0]
        for rows in (sample.validation, sample.test)
    )
    at_zero = score_metrics(test, sample.test_labels, 0.0)
    measured = {
        "sensitivity_at_zero": at_zero["sensitivity"],
        "specificity_at_zero": at_zero["specificity"],
        "seconds": seconds,
        "diverged": bool(model.stop_training),
        "auroc_by_epoch": watch.aurocs,
        "f1_at_zero_by_epoch": watch.f1s_at_zero,
    }
    return validation, test, measured


class _Watch(keras.callbacks.Callback):
    """Judges the test split after each epoch; nothing depends on it."""

    def __init__(self, sample: Sample) -> None:
        super().__init__()
        self._sample, self._labels = sample, sample.test_labels
        self.aurocs: list[float] = []
        self.f1s_at_zero: list[float] = []
        self.seconds = 0.0  # that all this took

    def on_train_begin(self, logs=None):
        """Runs the stem, whose statistics of the majority are there by now."""
        started = time.perf_counter()
        stem, inputs = self.model.discriminator.stem, self._sample.test
        if self._sample.is_in_files:
            compute = features.compiled(stem)
            shape, _ = compute.row_types(inputs.shape[1:])[0]
            read = data.MappedRows(lambda rows: compute(rows)[0], inputs, shape)
            self._features = [read]
        else:
            self._features = features.stem_features(stem, inputs)
        self.seconds += time.perf_counter() - started

    def on_epoch_end(self, epoch, logs=None):
        """Scores the test split."""
        started = time.perf_counter()
        batches = (data.lazy.in_batches(x, _BATCH_SIZE) for x in self._features)
        predict = self.model.discriminator.predict_tail
        scores = predict(zip(*batches, strict=True))[:, 0]
        self.aurocs.append(float(roc_auc_score(self._labels, -scores)))
        self.f1s_at_zero.append(float(f1_score(self._labels, scores < 0)))
        self.seconds += time.perf_counter() - started
