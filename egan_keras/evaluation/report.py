"""The report: metrics with intervals, the threshold and how it was set."""

import dataclasses
import html
import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from tabulate import tabulate

from egan_keras import data
from egan_keras.evaluation.shift import describe_shortfall, find_shortfall
from egan_keras.files import write_json, write_text
from egan_keras.metrics import (
    bootstrap_intervals,
    precision_at_prevalence,
    score_metrics,
)
from egan_keras.thresholds import check_scores

METRICS = {  # in words, as they stand in the table
    "auroc": "AUROC",
    "average_precision": "average precision",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "F1",
    "balanced_accuracy": "balanced accuracy",
    "expected_precision": "expected precision",
}
_NOT_CALIBRATED = (
    "No guarantee: the threshold was not calibrated. Hold out majority images and "
    "calibrate the model on them."
)
NO_WIDTH = (
    "An interval without width means too few mistakes to resample, not certainty."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """What a model did on labelled images; `report["auroc"]` reads a value.

    Attributes:
        values: one flat object that JSON can hold. A metric that needs a class which
            is missing is absent. `ci95` maps a metric to its 95% interval [low, high].
        scores: shape (n,), the images' scores, low = minority.
        labels: shape (n,), int, 0 = majority, 1 = minority.
        most_like: shape (n,), str, the minority class that each image is most like;
            `None` unless the model has learned several.
    """

    values: dict[str, Any]
    scores: np.ndarray
    labels: np.ndarray
    most_like: np.ndarray | None = None

    def __getitem__(self, name: str) -> Any:
        """Returns a value by its name in report.json."""
        if name not in self.values:
            raise KeyError(
                f"The report has no such value: expected one of "
                f"{', '.join(self.values)}. Received: {name!r}. Metrics that need both "
                "classes are absent when the images hold one."
            )
        return self.values[name]

    def __contains__(self, name: str) -> bool:
        """Returns whether the report holds a value of that name."""
        return name in self.values

    def __str__(self) -> str:
        """Returns the report as an aligned table in plain text."""
        head = (
            f"{self['n_majority']} majority and {self['n_minority']} minority images"
            " (minority is the positive class)"
        )
        rows = [["", "value", "95% interval", ""], *self.rows()]
        form = {"disable_numparse": True, "colalign": ["left", "right"]}
        table = tabulate(rows, tablefmt="plain", **form)
        notes = [f"threshold {self['threshold']:.4g} ({self['threshold_criterion']})"]
        notes.append(self["threshold_guarantee"])
        is_alarm = (self.labels == 0) & (self.scores < self["threshold"])
        notes += describe_shortfall(self.values, int(is_alarm.sum()))
        if self.lacks_mistakes:
            notes.append(NO_WIDTH)
        return "\n".join([head, "", table, "", *notes])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    @property
    def lacks_mistakes(self) -> bool:
        """Whether an interval has no width."""
        return any(low == high for low, high in self["ci95"].values())

    def rows(self) -> list[list[str]]:
        """Returns of each metric its name, value, interval and a note, in words."""
        rows = []
        for name in [each for each in METRICS if each in self.values]:
            interval, note = "", ""
            if name in self["ci95"]:
                interval = "[{}, {}]".format(*map(_decimal, self["ci95"][name]))
            if name == "f1":
                note = f"always answering minority: {self['always_minority_f1']:.3f}"
            elif name == "expected_precision":
                note = f"where {100 * self['prevalence']:g}% of images are minority"
            rows.append([METRICS[name], _decimal(self[name]), interval, note])
        return rows

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the values as JSON, to a file in a folder, whole or not at all."""
        write_json(path, self.values, indent=2, allow_nan=False, default=_plain)

    def save_html(
        self, path: str | os.PathLike[str], images: Any | None = None, **shown: Any
    ) -> None:
        """Writes the report as a page, one file that asks the network for nothing.

        It has a slider that shows what other thresholds would do, and with images
        their thumbnails and what else may tell the classes apart. It stays below 5 MB.

        >>> report.save_html("report.html", test, model=model)  # doctest: +SKIP

        Args:
            path: the file to write, in a folder; whole or not at all.
            images: those that were judged: `LabelledImages`, an array or `ImageFiles`.
            **shown: `names`, `model`, `history` and `origin`, see
                `egan_keras.evaluation.report_page.make_page`.

        Raises:
            ValueError: if the images or names are not those of the report.
        """
        # Slow to import, and it needs this module.
        from egan_keras.evaluation.report_page import make_page

        write_text(path, make_page(self, images, **shown))


def evaluate(
    model: Any,
    images: Any,
    labels: Any = None,
    *,
    prevalence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
    batch_size: int = 256,
    extra: dict[str, Any] | None = None,
    groups: Sequence[str] | None = None,
) -> Report:
    """Scores labelled images with a model and reports on them.

    The images must have taken no part in training, selection or calibration. Those that
    an `EGAN` was trained on are counted as `n_seen_in_training`, with a warning. Images
    of one class are accepted; the report then holds what can be computed.

    Args:
        model: has `predict(images, batch_size=, verbose=0)` giving scores of shape
            (n, 1), and optionally `threshold` (float; 0 without it), `calibration`
            (a `Calibration` or None), `recipe` and `pairing` (names for the report).
        images: shape (n, height, width, channels), what the model takes: an array or
            `ImageFiles`; or a dataset of (images, labels), as `EGAN.fit` takes it.
        labels: shape (n,), 0 = majority, 1 = minority; None with a dataset.
        prevalence: share of minority images where the model will be used, 0..1, to
            report the precision to expect there. Its interval comes from the ends of
            those of sensitivity and specificity, so it is on the wide side.
        resamples: bootstrap resamples for the intervals.
        seed: seed of the bootstrap, reported as `seed` unless `extra` has one.
        batch_size: images scored at once.
        extra: further values for the report, such as the seed of the training run.
        groups: the group of each image, such as the part it shows, to tell where false
            alarms come from if there are more than the calibration allows.

    Raises:
        ValueError: if images, labels or scores are unusable, an option is out of range,
            or `extra` names a value that is measured here.

    Warns:
        UserWarning: if the model was trained on some of the images, or the minority
            scores clearly higher than the majority.
    """
    if prevalence is not None:
        precision_at_prevalence(1.0, 1.0, prevalence)
    if labels is not None:
        # Before the images are scored, which can take long.
        _check_groups(groups, labels)
    scores, labels, *known = _score(model, images, labels, batch_size)
    told: dict[str, Any] = {"prevalence": prevalence, "resamples": resamples}
    if known:
        told |= {"seen": known[0], "most_like": known[-1]}
    told |= {"seed": seed, "extra": extra, "groups": groups}
    return report_on_scores(model, scores, labels, **told)


def report_on_scores(
    model: Any,
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    seen: np.ndarray | None = None,
    prevalence: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
    extra: dict[str, Any] | None = None,
    groups: Sequence[str] | None = None,
    most_like: np.ndarray | None = None,
) -> Report:
    """Reports as `evaluate` does on what a model has scored before.

    `seen`, bool (n,), tells which images it was trained on, where that is known;
    `most_like` is as in `Report`.
    """
    scores, labels = check_scores(scores, labels)
    _check_groups(groups, labels)
    threshold = float(getattr(model, "threshold", 0.0))
    calibration = getattr(model, "calibration", None)
    judged = (scores, labels, threshold)
    measured: dict[str, Any] = dict(score_metrics(*judged))
    measured |= {
        "threshold": threshold,
        "threshold_criterion": getattr(calibration, "criterion", "uncalibrated"),
        "threshold_guarantee": getattr(calibration, "guarantee", _NOT_CALIBRATED),
    }
    measured |= find_shortfall(*judged, calibration, groups)
    intervals = bootstrap_intervals(*judged, resamples=resamples, seed=seed)
    if prevalence is not None:
        measured["prevalence"] = float(prevalence)
    if prevalence is not None and "precision" in measured:
        rates = [(measured["sensitivity"], measured["specificity"])]
        rates += zip(intervals["sensitivity"], intervals["specificity"], strict=True)
        expected, *ends = (precision_at_prevalence(*pair, prevalence) for pair in rates)
        measured["expected_precision"] = expected
        intervals["expected_precision"] = (ends[0], ends[1])
    clash = sorted({*(extra or {})} & {*measured, "ci95"})
    if clash:
        raise ValueError(
            "Extra values would replace measured ones: expected other names. Received: "
            f"extra with {', '.join(clash)}. Rename them."
        )
    values = measured | {"seed": seed}
    for name in ("recipe", "pairing"):
        if getattr(model, name, None) is not None:
            values[name] = str(getattr(model, name))
    if seen is not None:
        values["n_seen_in_training"] = count = int(np.count_nonzero(seen))
        if count:
            warnings.warn(
                f"{count} of {len(seen)} images were trained on, so that the figures "
                "flatter the model. Evaluate it on held-out images.",
                stacklevel=2,
            )
    values |= extra or {}
    values["ci95"] = {name: list(interval) for name, interval in intervals.items()}
    return Report(values, scores, labels, most_like)


def _check_groups(groups: Sequence[str] | None, labels: Any) -> None:
    if groups is not None and len(groups) != len(labels):
        raise ValueError(
            "Groups and labels do not match: expected a group for each image. "
            f"Received: groups={len(groups)}, labels={len(labels)}. Pass both for the "
            "same images."
        )


def _score(model: Any, images: Any, labels: Any, batch_size: int) -> tuple[Any, ...]:
    """Returns scores and labels; of an `EGAN` all that `Scored` tells.

    Models other than an `EGAN` may take images that are not RGB.
    """
    if hasattr(model, "score_labelled"):
        return model.score_labelled(images, labels, batch_size=batch_size)
    if data.is_dataset(images):
        batches = data.labelled_batches(images, labels, batch_size=batch_size)
        options = {"batch_size": batch_size, "verbose": 0}
        parts = [(model.predict(x, **options), y) for x, y in batches]
        scores, labels = map(np.concatenate, zip(*parts, strict=True))
    else:
        if not isinstance(images, data.LazyRows):
            images = data.as_array(images)
        labels = data.as_column(labels)
        if len(images) != len(labels):
            raise ValueError(
                "Images and labels do not match: expected one label for each image. "
                f"Received: images={len(images)}, labels={len(labels)}. Pass both for "
                "the same images."
            )
        # Before the images are scored, which can take long.
        _, labels = check_scores(np.zeros(len(labels), np.float32), labels)
        scores = model.predict(images, batch_size=batch_size, verbose=0)
    data.warn_if_reversed(np.ravel(scores), labels)
    return scores, labels


def _decimal(value: float) -> str:
    # Small expected precisions would all read 0.000.
    return f"{value:.3f}" if value >= 0.01 or value == 0 else f"{value:.1e}"


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
