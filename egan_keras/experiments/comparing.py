"""Running a grid: what has run is kept, what fails is told, nothing stops the rest."""

import contextlib
import dataclasses
import gc
import hashlib
import json
import logging
import math
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.metrics import f1_score, roc_auc_score

from egan_keras import baselines, features, thresholds
from egan_keras.backbones import Backbone
from egan_keras.evaluation.style import short
from egan_keras.experiments.comparison_report import write_tables
from egan_keras.experiments.grid import Grid, Run
from egan_keras.experiments.outcomes import (
    CONFIDENCE,
    RUNS,
    SPECIFICITY,
    Outcomes,
    Records,
)
from egan_keras.experiments.task_images import (
    FolderFeatures,
    Rows,
    Sample,
    Samples,
    TaskImages,
)
from egan_keras.files import write_atomically
from egan_keras.metrics import score_metrics
from egan_keras.model import EGAN

IMAGES = "images.json"

_LONGEST_REASON = 400
_BATCH_SIZE = 512
_WANTED = ("auroc", "average_precision", "f1", "sensitivity", "specificity")

_one_class_scores: dict[tuple, tuple[np.ndarray, float]] = {}


class NotPossibleError(Exception):
    """A baseline cannot work on what it is given, such as a single minority image."""


def compare(
    grid: Grid, out: Path, *, command: str = "", tables_only: bool = False
) -> Outcomes:
    """Runs what has not been run of a grid, and writes tables and plots.

    Args:
        grid: the grid.
        out: folder for results (`runs/`), frozen features (`features/`), tables and
            plots; it is made. What earlier calls have left in it is used.
        command: the command to name in the report.
        tables_only: whether to run nothing.

    Returns:
        What was measured, what failed and what was not possible.

    Raises:
        FileExistsError: if `out` is something else than a comparison.
        FileNotFoundError: if a folder of images is missing or empty.
        ValueError: for an unknown class, fewer minority images than asked for, an image
            or a result that cannot be read.
        OSError: if ImageNet weights cannot be had.
        KeyboardInterrupt: on Ctrl-C, after the tables were written.
    """
    images = {task: TaskImages(task) for task in grid.tasks}
    for part in grid.parts:
        images[part.task].splits(max(part.counts), 0)
    is_new = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    if not is_new and not (out / RUNS).is_dir():
        raise FileExistsError(
            "What is there is not a comparison, so nothing is written; expected a "
            f"folder with {RUNS}/ in it, an empty one or none. Received: "
            f"out={str(out)!r}. Name another folder."
        )
    marks = {task: each.fingerprint() for task, each in images.items()}
    runs, kept = grid.runs(marks), Records(out / RUNS)
    contents = {task.name: each.contents for task, each in images.items()}
    before: dict[str, Any] = {}
    # Nothing fails where this is damaged: it only tells what earlier results were of.
    with contextlib.suppress(OSError, ValueError, TypeError):
        before = dict(json.loads((out / IMAGES).read_text("utf-8")))
    for task, mark in marks.items():
        if n_others := kept.n_of_other_images(task, mark):
            changes = _changes(before.get(task.name), contents[task.name])
            print(
                f"{task.name}: {n_others} earlier results are left aside, since their "
                f"images were others{changes}",
                flush=True,
            )
    outcomes = Outcomes()
    try:
        if not tables_only:
            store = FolderFeatures(out / "features", grid.weights)
            with _without_advice_on_tracing():
                _run_all(runs, kept, Samples(store, images), outcomes)
    finally:
        # On Ctrl-C, too.
        outcomes.runs = {run: kept.read(run) for run in runs}
        if outcomes.records and before | contents != before:
            text = json.dumps(before | contents)
            write_atomically(out / IMAGES, lambda path: path.write_text(text, "utf-8"))
        write_tables(out, outcomes, command=command)
    return outcomes


def _changes(before: Any, now: dict[str, str | None]) -> str:
    """Returns what became of files, in words; nothing where it is not known."""
    if not isinstance(before, dict) or before == now:
        return ""
    gone, new = before.keys() - now.keys(), now.keys() - before.keys()
    changed = [name for name in before.keys() & now.keys() if before[name] != now[name]]
    return f": {len(changed)} have other contents, {len(gone)} are gone, {len(new)} new"


def _run_all(
    runs: Sequence[Run], kept: Records, samples: Samples, outcomes: Outcomes
) -> None:
    """Runs what has no result yet, and says so line by line."""
    # Baselines do not see the encoder: pairings that differ in it share a run.
    alike: dict[str, list[Run]] = {}
    for run in runs:
        alike.setdefault(run.id, []).append(run)
    waiting = [each for each in alike.values() if kept.read(each[0]) is None]
    names = [run.method.name for run, *_ in waiting]
    # Each is built once, so that nothing is read in vain if that fails.
    networks = {
        (spec, run.network_size, run.weights)
        for run, *_ in waiting
        for spec in run.backbones
    }
    for spec, size, weights in sorted(networks, key=str):
        backbone = Backbone.parse(spec)
        backbone.build(size or backbone.minimum_size, weights=weights)
    done = len(alike) - len(waiting)
    print(f"{len(alike)} runs, {done} of them done before", flush=True)
    spent: dict[str, list[float]] = {}
    for number, same in enumerate(waiting, 1):
        run, started = same[0], time.perf_counter()
        try:
            # Another process may have run it meanwhile.
            record = kept.read(run)
            if record is None:
                sample = samples.of(run)
                # Features are computed once: they tell nothing of runs to come.
                started = time.perf_counter()
                results = train_and_judge(run, sample)
                record = kept.write(run, results | samples.images[run.task].counts)
            results = record.results
            outcome = f"AUROC {short(results['auroc'])} ({results['seconds']:.1f} s)"
        except NotPossibleError as error:
            outcomes.not_possible |= dict.fromkeys(same, _in_one_line(error))
            outcome = f"not possible: {_in_one_line(error)}"
        # Whatever a library raises, the other runs go on.
        except Exception as error:
            reason = f"{type(error).__name__}: {_in_one_line(error)}"
            outcomes.failed |= dict.fromkeys(same, reason)
            outcome = f"FAILED: {reason}"
        spent.setdefault(run.method.name, []).append(time.perf_counter() - started)
        head = f"[{done + number:>4}/{len(alike):>4}] {run}"
        print(f"{head} {outcome}{_time_left(names[number:], spent)}", flush=True)


def _time_left(names: Sequence[str], spent: dict[str, list[float]]) -> str:
    """Estimates it from how long each method has taken so far; nothing at the end."""
    if not names:
        return ""
    means = {name: sum(seconds) / len(seconds) for name, seconds in spent.items()}
    typical = sum(means.values()) / len(means)
    minutes = math.ceil(sum(means.get(name, typical) for name in names) / 60)
    hours = f"{minutes // 60} h {minutes % 60:02} min"
    return f", {hours if minutes >= 60 else f'{minutes} min'} left"


def _in_one_line(error: Exception) -> str:
    # TensorFlow's messages can hold a whole graph.
    return textwrap.shorten(str(error), _LONGEST_REASON, placeholder=" ...")


@contextlib.contextmanager
def _without_advice_on_tracing() -> Iterator[None]:
    """Holds back what TensorFlow says because each run has a network of its own."""

    def is_other(record: logging.LogRecord) -> bool:
        return "tf.function retracing" not in str(record.msg)

    logger = logging.getLogger("tensorflow")
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def train_and_judge(run: Run, sample: Sample) -> dict[str, Any]:
    """Trains a method, scores the test split, and measures; values are JSON's.

    The threshold is set on validation majority images, without a guarantee, and with
    None for `threshold_confidence`, where these are too few for one. What an eGAN does
    by epoch on the test split is for tables of stability and of oracle numbers alone.

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
    rows = [x.vectors if isinstance(x, Rows) else x for x in splits]
    train, inputs = rows[0], np.concatenate(rows[1:])
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


def _score_maps(name: str, splits: tuple, labels: np.ndarray, seed: int) -> np.ndarray:
    """Returns scores of validation and test by a baseline on the majority's maps."""
    train, validation, test = (each.maps for each in splits)
    rows = np.flatnonzero(labels == 0)
    ours = [np.stack([depth[row] for row in rows]) for depth in train]
    pairs = zip(validation, test, strict=True)
    theirs = [np.stack([*held_out, *judged]) for held_out, judged in pairs]
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
    watch = _Watch(sample.test, sample.test_labels)
    started = time.perf_counter()
    # Features of rows of features stay in memory.
    store = features.FeatureStore("memory", verbose=0)
    model.fit(
        sample.train,
        sample.train_labels,
        verbose=0,
        callbacks=[watch],
        cache_features=store,
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

    def __init__(self, inputs: np.ndarray, labels: np.ndarray) -> None:
        super().__init__()
        self._inputs, self._labels = inputs, labels
        self.aurocs: list[float] = []
        self.f1s_at_zero: list[float] = []
        self.seconds = 0.0  # that all this took

    def on_train_begin(self, logs=None):
        """Runs the stem, whose statistics of the majority are there by now."""
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
