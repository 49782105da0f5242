"""Plots of a report, as matplotlib figures."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.metrics import precision_recall_curve, roc_curve

from egan_keras.evaluation.mistakes import check_judged, plot_mistakes
from egan_keras.evaluation.report import Report
from egan_keras.evaluation.style import (
    CLASS_COLOURS,
    CLASS_NAMES,
    LINES,
    OPERATING_POINT,
    REFERENCE,
    new_figure,
    plain,
    save,
    tidy,
)

_FEW = 50


def plot_scores(report: Report) -> Figure:
    """Draws the histograms of both classes' scores, with the threshold.

    Each class is drawn as a share of its own images, so that a rare class can be seen.
    Scores far outside are counted at the edge rather than squeezing the rest.
    """
    figure = new_figure(8, 4.2)
    axes = figure.subplots()
    low, high = _score_range(report)
    bins = np.linspace(low, high, 51 if len(report.scores) > 200 else 26)
    for label in (0, 1):
        scores = report.scores[report.labels == label].astype(float)
        if not len(scores):
            continue
        colour = CLASS_COLOURS[label]
        axes.hist(
            np.clip(scores, low, high),
            bins=bins,
            weights=np.full(len(scores), 1 / len(scores)),
            histtype="stepfilled",
            facecolor=(colour, 0.35),
            edgecolor=colour,
            linewidth=1.5,
            label=f"{CLASS_NAMES[label]} (n = {len(scores)})",
        )
        if len(scores) <= _FEW:
            _draw_each(axes, scores[(scores >= low) & (scores <= high)], label)
    tidy(axes, "score", "share of the class's images", _rates(report))
    axes.set_xlim(low, high)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    threshold = report["threshold"]
    axes.axvline(
        threshold,
        color=OPERATING_POINT,
        linewidth=1.5,
        label=f"threshold {threshold:.3g}",
    )
    axes.axvspan(low, threshold, color="0.5", alpha=0.12, lw=0, label="called minority")
    _count_outside(axes, report.scores, low, high)
    figure.legend(frameon=False, loc="outside lower center", ncols=4)
    return figure


def plot_roc(report: Report) -> Figure:
    """Draws the receiver operating characteristic, with the operating point.

    Raises:
        ValueError: if the report holds one class.
    """
    _check_both_classes(report, "ROC curve")
    figure = new_figure(5.6, 5.2)
    axes = figure.subplots()
    fpr, tpr, _ = roc_curve(report.labels, -report.scores)
    axes.plot([0, 1], [0, 1], "--", color=REFERENCE, label="chance: 0.500")
    axes.plot(fpr, tpr, color=LINES[0], linewidth=2, label=_area(report, "auroc"))
    _mark_point(axes, 1 - report["specificity"], report["sensitivity"], report)
    tidy(
        axes,
        "majority images called minority (1 - specificity)",
        "minority images found (sensitivity)",
        "ROC: minority found against false alarms",
    )
    _unit_square(axes)
    axes.legend(frameon=False, loc="lower right")
    return figure


def plot_precision_recall(report: Report) -> Figure:
    """Draws precision against recall, with the operating point.

    Raises:
        ValueError: if the report holds one class.
    """
    _check_both_classes(report, "precision-recall curve")
    figure = new_figure(5.6, 5.2)
    axes = figure.subplots()
    share = float(np.mean(report.labels))
    precision, recall, _ = precision_recall_curve(report.labels, -report.scores)
    axes.axhline(
        share,
        linestyle="--",
        color=REFERENCE,
        label=f"always answering minority: {share:.3g}",
    )
    # Steps, as average precision sums them. The point that scikit-learn adds at recall
    # 0 has no images behind it.
    axes.step(
        recall,
        np.append(precision[:-1], precision[-2]),
        where="post",
        color=LINES[0],
        linewidth=2,
        label=_area(report, "average_precision"),
    )
    if np.any(report.scores < report["threshold"]):
        _mark_point(axes, report["sensitivity"], report["precision"], report)
    else:
        axes.plot([], [], " ", label="nothing is below the threshold")
    tidy(
        axes,
        "minority images found (recall, sensitivity)",
        "minority among those called so (precision)",
        f"Precision and recall, {100 * share:.3g}% of the images minority",
    )
    _unit_square(axes)
    axes.legend(frameon=False, loc="best")
    return figure


def plot_history(history: Mapping[str, Sequence[float]]) -> Figure:
    """Draws what `fit` recorded: losses, logits, scores and metrics, a panel each.

    Args:
        history: values of each epoch by name, as in Keras' `History.history`. A name
            with `val_` before it is drawn dashed in the colour of the name alone.

    Raises:
        ValueError: if there is nothing to draw.
    """
    panels = {"losses": [], "logits": [], "scores": [], "metrics": []}
    kinds = {"loss": "losses", "logit": "logits", "score": "scores"}
    for name in history:
        if name.removeprefix("val_") != "learning_rate" and len(history[name]):
            kind = next((kinds[word] for word in kinds if word in name), "metrics")
            panels[kind].append(name)
    panels = {kind: names for kind, names in panels.items() if names}
    if not panels:
        raise ValueError(
            "There is no training history to draw: expected values of one or more "
            f"epochs. Received: history={dict(history)}. Pass model.history.history."
        )
    figure = new_figure(1 + 4.2 * len(panels), 4.2)
    for axes, (kind, names) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        _draw_history(axes, {name: history[name] for name in names})
        tidy(axes, "epoch", "", kind)
    return figure


def save_plots(
    folder: str | Path,
    report: Report,
    images: np.ndarray,
    history: Mapping[str, Sequence[float]] | None = None,
    images_names: Sequence[str] | None = None,
) -> list[Path]:
    """Writes the plots of a report as PNG files, each replaced only when complete.

    One that cannot be made is warned of, and the others are made all the same.

    Args:
        folder: where to write; made if missing.
        report: of those images.
        images: shape (n, height, width[, channels]), pixels 0..255.
        history: what `fit` recorded; without it there is no training.png.
        images_names: n names to write under the images of mistakes.png.

    Returns:
        The files written: scores.png, roc.png and precision_recall.png (not for images
        of one class), training.png, mistakes.png.

    Raises:
        ValueError: if the images are not those that were judged.
    """
    check_judged(report, images, images_names)
    plots = {"scores": lambda: plot_scores(report)}
    if "auroc" in report:
        plots["roc"] = lambda: plot_roc(report)
        plots["precision_recall"] = lambda: plot_precision_recall(report)
    if history:
        plots["training"] = lambda: plot_history(history)
    plots["mistakes"] = lambda: plot_mistakes(report, images, names=images_names)
    paths = {Path(folder) / f"{name}.png": draw for name, draw in plots.items()}
    return [path for path, draw in paths.items() if save(path, draw)]


def _score_range(report: Report) -> tuple[float, float]:
    """Returns axis limits that hold the threshold and all but extreme scores."""
    scores = report.scores.astype(float)
    per_class = [scores[report.labels == k] for k in np.unique(report.labels)]
    ends = []
    for values in per_class:
        first, third = np.quantile(values, [0.25, 0.75])
        reach = 4 * (third - first)
        ends += [max(values.min(), first - reach), min(values.max(), third + reach)]
    ends.append(report["threshold"])
    low, high = min(ends), max(ends)
    margin = 0.04 * (high - low) or max(1.0, 0.1 * abs(high))
    return low - margin, high + margin


def _draw_each(axes: Axes, scores: np.ndarray, label: int) -> None:
    height = np.full(len(scores), 0.02 + 0.04 * label)
    axes.plot(
        scores,
        height,
        "|",
        color=CLASS_COLOURS[label],
        markeredgewidth=1.5,
        transform=axes.get_xaxis_transform(),
    )


def _count_outside(axes: Axes, scores: np.ndarray, low: float, high: float) -> None:
    for outside, x, side, text in (
        (scores < low, 0.01, "left", "\u25c0 {n} below, down to {end:.3g}"),
        (scores > high, 0.99, "right", "{n} above, up to {end:.3g} \u25b6"),
    ):
        if outside.any():
            end = scores[outside].min() if side == "left" else scores[outside].max()
            axes.text(
                x,
                0.2,
                text.format(n=outside.sum(), end=end),
                ha=side,
                fontsize="small",
                transform=axes.transAxes,
            )


def _rates(report: Report) -> str:
    parts = []
    if "sensitivity" in report:
        parts.append(f"{100 * report['sensitivity']:.1f}% of minority found")
    if "specificity" in report:
        false_alarms = 100 * (1 - report["specificity"])
        parts.append(f"{false_alarms:.1f}% of majority called minority")
    return ", ".join(parts)


def _area(report: Report, name: str) -> str:
    title = {"auroc": "AUROC", "average_precision": "average precision"}[name]
    low, high = report["ci95"][name]
    return f"{title}: {report[name]:.3f} [{low:.3f}, {high:.3f}]"


def _mark_point(axes: Axes, x: float, y: float, report: Report) -> None:
    axes.plot(
        x,
        y,
        "o",
        color=OPERATING_POINT,
        markersize=8,
        clip_on=False,
        zorder=3,
        label=f"threshold {report['threshold']:.3g}: ({x:.3f}, {y:.3f})",
    )


def _unit_square(axes: Axes) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")


def _draw_history(axes: Axes, history: Mapping[str, Sequence[float]]) -> None:
    others = itertools.cycle(LINES)
    colours = {}
    for base in dict.fromkeys(name.removeprefix("val_") for name in history):
        of_class = [
            c for n, c in zip(CLASS_NAMES, CLASS_COLOURS, strict=True) if n in base
        ]
        colours[base] = of_class[0] if of_class else next(others)
    for name, values in history.items():
        axes.plot(
            np.arange(1, len(values) + 1),
            np.asarray(values, float),
            "--" if name.startswith("val_") else "-",
            marker="o" if len(values) <= 30 else None,
            markersize=3,
            color=colours[name.removeprefix("val_")],
            label=plain(name.replace("_", " ")),
        )
    epochs = max(map(len, history.values()))
    axes.set_xlim(1 - 0.02 * epochs - 0.2, epochs + 0.02 * epochs + 0.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(frameon=False, fontsize="small")


def _check_both_classes(report: Report, what: str) -> None:
    if "auroc" not in report:
        raise ValueError(
            f"A {what} needs images of both classes. Received: "
            f"majority images={report['n_majority']}, "
            f"minority images={report['n_minority']}. Evaluate on images of both."
        )
