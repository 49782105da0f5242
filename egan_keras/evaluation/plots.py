"""Plots of a report, as matplotlib figures."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.metrics import precision_recall_curve, roc_curve

from egan_keras import logs
from egan_keras.evaluation.report import METRICS, Report
from egan_keras.evaluation.sheets import check_judged, plot_heat_maps, plot_mistakes
from egan_keras.evaluation.style import (
    CLASSES,
    LINES,
    OPERATING_POINT,
    REFERENCE,
    new_figure,
    plain,
    save,
    tidy,
)

FEW_MARKS = 50
_BINS, _BINS_OF_FEW, _FEW_IMAGES = 50, 25, 200


def plot_scores(report: Report) -> Figure:
    """Draws the histograms of both classes' scores, with the threshold.

    Each class is drawn as a share of its own images, so that a rare class can be seen.
    Scores far outside are counted at the edge rather than squeezing the rest.
    """
    figure = new_figure(8, 4.2)
    axes = figure.subplots()
    low, high = score_range(report)
    for label, (name, colour) in enumerate(CLASSES.items()):
        scores, inside, counts, bins = histogram(report, label, low, high)
        if not len(scores):
            continue
        look: dict[str, Any] = {"histtype": "stepfilled", "linewidth": 1.5}
        look |= {"facecolor": (colour, 0.35), "edgecolor": colour}
        text = f"{name} (n = {len(scores)})"
        # Each bin has its share as the weight of a point at its lower end.
        shares = counts / len(scores)
        axes.hist(bins[:-1], bins.tolist(), weights=shares, label=text, **look)
        if len(scores) <= FEW_MARKS:
            height = np.full(len(inside), 0.02 + 0.04 * label)
            look = {"color": colour, "markeredgewidth": 1.5}
            axes.plot(inside, height, "|", transform=axes.get_xaxis_transform(), **look)
    rates = []
    if "sensitivity" in report:
        rates.append(f"{100 * report['sensitivity']:.1f}% of minority found")
    if "specificity" in report:
        false_alarms = 100 * (1 - report["specificity"])
        rates.append(f"{false_alarms:.1f}% of majority called minority")
    tidy(axes, "score", "share of the class's images", ", ".join(rates))
    axes.set_xlim(low, high)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    threshold, text = report["threshold"], f"threshold {report['threshold']:.3g}"
    axes.axvline(threshold, color=OPERATING_POINT, linewidth=1.5, label=text)
    axes.axvspan(low, threshold, color="0.5", alpha=0.12, lw=0, label="called minority")
    _count_outside(axes, report.scores, low, high)
    figure.legend(frameon=False, loc="outside lower center", ncols=4)
    return figure


def plot_roc(report: Report) -> Figure:
    """Draws the receiver operating characteristic, with the operating point.

    Raises:
        ValueError: if the report holds one class.
    """
    figure, axes = _unit_square(report, "ROC curve")
    fpr, tpr, _ = roc_curve(report.labels, -report.scores)
    axes.plot([0, 1], [0, 1], "--", color=REFERENCE, label="chance: 0.500")
    axes.plot(fpr, tpr, color=LINES[0], linewidth=2, label=_area(report, "auroc"))
    _mark_point(axes, 1 - report["specificity"], report["sensitivity"], report)
    x = "majority images called minority (1 - specificity)"
    title = "ROC: minority found against false alarms"
    tidy(axes, x, "minority images found (sensitivity)", title)
    axes.legend(frameon=False, loc="lower right")
    return figure


def plot_precision_recall(report: Report) -> Figure:
    """Draws precision against recall, with the operating point.

    Raises:
        ValueError: if the report holds one class.
    """
    figure, axes = _unit_square(report, "precision-recall curve")
    share = float(np.mean(report.labels))
    precision, recall, _ = precision_recall_curve(report.labels, -report.scores)
    text = f"always answering minority: {share:.3g}"
    axes.axhline(share, linestyle="--", color=REFERENCE, label=text)
    # Steps, as average precision sums them. The point that scikit-learn adds at recall
    # 0 has no images behind it.
    precision[-1] = precision[-2]
    look: dict[str, Any] = {"where": "post", "color": LINES[0], "linewidth": 2}
    axes.step(recall, precision, label=_area(report, "average_precision"), **look)
    if np.any(report.scores < report["threshold"]):
        _mark_point(axes, report["sensitivity"], report["precision"], report)
    else:
        axes.plot([], [], " ", label="nothing is below the threshold")
    x = "minority images found (recall, sensitivity)"
    title = f"Precision and recall, {100 * share:.3g}% of the images minority"
    tidy(axes, x, "minority among those called so (precision)", title)
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
    panels: dict[str, dict[str, Sequence[float]]]
    panels = {"losses": {}, "logits": {}, "scores": {}, "metrics": {}}
    kinds = {"loss": "losses", "logit": "logits", "score": "scores"}
    for name, values in history.items():
        if name.removeprefix("val_") != "learning_rate" and len(values):
            kind = next((kinds[word] for word in kinds if word in name), "metrics")
            panels[kind][name] = values
    panels = {kind: values for kind, values in panels.items() if values}
    if not panels:
        raise ValueError(
            "There is no training history to draw: expected values of one or more "
            f"epochs. Received: history={dict(history)}. Pass model.history.history."
        )
    figure = new_figure(1 + 4.2 * len(panels), 4.2)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (kind, values) in zip(grid, panels.items(), strict=True):
        _draw_history(axes, values)
        tidy(axes, "epoch", "", kind)
    return figure


def save_plots(
    folder: str | Path,
    report: Report,
    images: np.ndarray | None,
    history: Mapping[str, Sequence[float]] | None = None,
    images_names: Sequence[str] | None = None,
    model: Any | None = None,
) -> list[Path]:
    """Writes the plots of a report as PNG files, each replaced only when complete.

    One that cannot be made is warned of, and the others are made all the same.

    Args:
        folder: where to write; made if missing.
        report: of those images.
        images: shape (n, height, width[, channels]), pixels 0..255; without them there
            is no mistakes.png and no heat_maps.png.
        history: what `fit` recorded; without it there is no training.png.
        images_names: n names to write under the images of mistakes.png.
        model: the model that was judged; without it, or if it judges no places, there
            is no heat_maps.png.

    Returns:
        The files written: scores.png, roc.png and precision_recall.png (not for images
        of one class), training.png, mistakes.png, heat_maps.png.

    Raises:
        ValueError: if the images are not those that were judged.
    """
    if images is not None:
        check_judged(report, images, images_names)
    plots = {"scores": lambda: plot_scores(report)}
    if "auroc" in report:
        plots["roc"] = lambda: plot_roc(report)
        plots["precision_recall"] = lambda: plot_precision_recall(report)
    if history:
        plots["training"] = lambda: plot_history(history)
    if images is not None:
        plots["mistakes"] = lambda: plot_mistakes(report, images, names=images_names)
    if images is not None and getattr(model, "judges_places", False):
        plotted: dict[str, Any] = {"model": model, "names": images_names}
        plots["heat_maps"] = lambda: plot_heat_maps(report, images, **plotted)
    paths = {Path(folder) / f"{name}.png": draw for name, draw in plots.items()}
    shown = logs.shown(paths.items(), len(paths), "plots")
    return [path for path, draw in shown if save(path, draw)]


def score_range(report: Report) -> tuple[float, float]:
    """Returns axis limits that hold the threshold and all but extreme scores."""
    ends = [report["threshold"]]
    for label in np.unique(report.labels):
        scores = report.scores[report.labels == label].astype(float)
        first, third = np.quantile(scores, [0.25, 0.75])
        reach = 4 * (third - first)
        ends += [max(scores.min(), first - reach), min(scores.max(), third + reach)]
    low, high = min(ends), max(ends)
    margin = 0.04 * (high - low) or max(1.0, 0.1 * abs(high))
    return low - margin, high + margin


def histogram(
    report: Report, label: int, low: float, high: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns a class's scores, those within ends, counts by bin, and the bins' ends.

    Scores outside are counted in the first and the last bin.
    """
    scores = report.scores[report.labels == label].astype(float)
    inside = scores[(scores >= low) & (scores <= high)]
    n_bins = _BINS if len(report.scores) > _FEW_IMAGES else _BINS_OF_FEW
    counts, ends = np.histogram(np.clip(scores, low, high), n_bins, (low, high))
    return scores, inside, counts, ends


def _count_outside(axes: Axes, scores: np.ndarray, low: float, high: float) -> None:
    for outside, end, x, side, text in (
        (scores < low, scores.min(), 0.01, "left", "\u25c0 {} below, down to {:.3g}"),
        (scores > high, scores.max(), 0.99, "right", "{} above, up to {:.3g} \u25b6"),
    ):
        if outside.any():
            told, place = text.format(outside.sum(), end), axes.transAxes
            axes.text(x, 0.2, told, ha=side, fontsize="small", transform=place)


def _area(report: Report, name: str) -> str:
    low, high = report["ci95"][name]
    return f"{METRICS[name]}: {report[name]:.3f} [{low:.3f}, {high:.3f}]"


def _mark_point(axes: Axes, x: float, y: float, report: Report) -> None:
    text = f"threshold {report['threshold']:.3g}: ({x:.3f}, {y:.3f})"
    look: dict[str, Any] = {"color": OPERATING_POINT, "markersize": 8}
    look |= {"clip_on": False, "zorder": 3}
    axes.plot(x, y, "o", label=text, **look)


def _unit_square(report: Report, what: str) -> tuple[Figure, Axes]:
    """Returns the axes of a curve, or refuses it where there is one class alone."""
    if "auroc" not in report:
        raise ValueError(
            f"A {what} needs images of both classes. Received: "
            f"majority images={report['n_majority']}, "
            f"minority images={report['n_minority']}. Evaluate on images of both."
        )
    figure = new_figure(5.6, 5.2)
    limits = (-0.01, 1.01)
    return figure, figure.add_subplot(xlim=limits, ylim=limits, aspect="equal")


def _draw_history(axes: Axes, history: Mapping[str, Sequence[float]]) -> None:
    others = itertools.cycle(LINES)
    colours: dict[str, str] = {}
    for name, values in history.items():
        base = name.removeprefix("val_")
        if base not in colours:
            of_class = [colour for each, colour in CLASSES.items() if each in base]
            colours[base] = of_class[0] if of_class else next(others)
        epochs, few = np.arange(1, len(values) + 1), len(values) <= 30
        look: dict[str, Any] = {"marker": "o" if few else None, "markersize": 3}
        look |= {"color": colours[base], "linestyle": "-" if base == name else "--"}
        text = plain(name.replace("_", " "))
        axes.plot(epochs, np.asarray(values, float), label=text, **look)
    last = max(map(len, history.values()))
    axes.set_xlim(1 - 0.02 * last - 0.2, last + 0.02 * last + 0.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(frameon=False, fontsize="small")
