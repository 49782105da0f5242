"""Plots of a report, as matplotlib figures."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.metrics import precision_recall_curve, roc_curve

from egan_keras import data, logs
from egan_keras.evaluation.heat_map import plot_heat_maps
from egan_keras.evaluation.report import METRICS, Report
from egan_keras.evaluation.style import (
    CLASSES,
    LINES,
    OPERATING_POINT,
    REFERENCE,
    caption,
    new_figure,
    plain,
    save,
    tidy,
)

_FEW = 50
_COLUMNS = 8  # of the sheet of mistakes


def plot_scores(report: Report) -> Figure:
    """Draws the histograms of both classes' scores, with the threshold.

    Each class is drawn as a share of its own images, so that a rare class can be seen.
    Scores far outside are counted at the edge rather than squeezing the rest.
    """
    figure = new_figure(8, 4.2)
    axes = figure.subplots()
    low, high = score_range(report)
    bins = np.linspace(low, high, 51 if len(report.scores) > 200 else 26).tolist()
    for label, (name, colour) in enumerate(CLASSES.items()):
        scores = report.scores[report.labels == label].astype(float)
        if not len(scores):
            continue
        look: dict[str, Any] = {"histtype": "stepfilled", "linewidth": 1.5}
        look |= {"facecolor": (colour, 0.35), "edgecolor": colour}
        shares = np.full(len(scores), 1 / len(scores))
        text = f"{name} (n = {len(scores)})"
        axes.hist(np.clip(scores, low, high), bins, weights=shares, label=text, **look)
        if len(scores) <= _FEW:
            inside = scores[(scores >= low) & (scores <= high)]
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


def plot_mistakes(
    report: Report,
    images: np.ndarray,
    *,
    count: int = 8,
    names: Sequence[str] | None = None,
) -> Figure:
    """Draws the most confident mistakes of both kinds, the worst first.

    Above the minority images that were missed (highest score first), below the majority
    images called minority (lowest score first), each with its score.

    Args:
        report: of those images.
        images: shape (n, height, width[, channels]), pixels 0..255, 1 or 3 channels.
        count: at most so many of each kind, 1 or more.
        names: n names to write under the images.

    Raises:
        ValueError: if images or names are not as many as the report's scores, or an
            argument is out of range.
    """
    check_judged(report, images, names)
    if np.ndim(images[0]) not in (2, 3):
        raise ValueError(
            "Images have the wrong shape: expected (n, height, width[, channels]). "
            f"Received: images.shape={np.shape(images)}. Pass images, not features."
        )
    if count < 1:
        raise ValueError(
            "The number of mistakes to draw is out of range: expected 1 or more. "
            f"Received: count={count}. Pass count=8, for example."
        )
    called = report.scores < report["threshold"]
    kinds = {}
    for label, order in ((1, -report.scores), (0, report.scores)):
        wrong = np.flatnonzero((report.labels == label) & (called != label))
        kinds[label] = wrong[np.argsort(order[wrong], kind="stable")]
    rows = [-(-min(count, len(wrong)) // _COLUMNS) for wrong in kinds.values()]
    heights = [0.5 + (1.6 if names is not None else 1.45) * n for n in rows]
    figure = new_figure(1.25 * _COLUMNS, 0.4 + sum(heights))
    title = "The most confident mistakes, each under its score (threshold {:.3g})"
    at_left = {"x": 0.01, "ha": "left"}
    figure.suptitle(title.format(report["threshold"]), **at_left)
    parts = figure.subfigures(2, 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, n_rows, (label, wrong) in zip(parts, rows, kinds.items(), strict=True):
        colour = [*CLASSES.values()][label]
        title = _mistakes_in_words(report, label, len(wrong), count)
        part.suptitle(title, color=colour, fontsize="medium", **at_left)
        _draw_images(part, images, report, wrong[:count], n_rows, names, colour)
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
        plots["heat_maps"] = lambda: plot_heat_maps(
            report, images, model, names=images_names
        )
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


def _count_outside(axes: Axes, scores: np.ndarray, low: float, high: float) -> None:
    for outside, end, x, side, text in (
        (scores < low, scores.min(), 0.01, "left", "\u25c0 {} below, down to {:.3g}"),
        (scores > high, scores.max(), 0.99, "right", "{} above, up to {:.3g} \u25b6"),
    ):
        if outside.any():
            look: dict[str, Any] = {
                "ha": side,
                "fontsize": "small",
                "transform": axes.transAxes,
            }
            axes.text(x, 0.2, text.format(outside.sum(), end), **look)


def _area(report: Report, name: str) -> str:
    low, high = report["ci95"][name]
    return f"{METRICS[name]}: {report[name]:.3f} [{low:.3f}, {high:.3f}]"


def _mark_point(axes: Axes, x: float, y: float, report: Report) -> None:
    text = f"threshold {report['threshold']:.3g}: ({x:.3f}, {y:.3f})"
    look: dict[str, Any] = {
        "color": OPERATING_POINT,
        "markersize": 8,
        "clip_on": False,
        "zorder": 3,
    }
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


def _mistakes_in_words(report: Report, label: int, n_wrong: int, count: int) -> str:
    name = [*CLASSES][label]
    total = report[f"n_{name}"]
    if not total:
        return f"no {name} images to judge"
    whats = ("called minority (score below", "missed (score at or above")
    few = "" if n_wrong <= count else f"; the {count} most confident"
    return f"{n_wrong} of {total} {name} images {whats[label]} the threshold){few}"


def _draw_images(
    part: SubFigure,
    images: np.ndarray,
    report: Report,
    chosen: np.ndarray,
    rows: int,
    names: Sequence[str] | None,
    colour: str,
) -> None:
    # The layout needs an axes in each part, even where there is no image.
    grid = part.subplots(max(1, rows), _COLUMNS, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, index in zip(grid, chosen, strict=False):
        image = np.clip(np.asarray(images[index], float), 0, 255).astype(np.uint8)
        if image.ndim == 3 and image.shape[-1] == 1:
            image = image[..., 0]
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        axes.set_title(f"{report.scores[index]:.2f}", fontsize="small", pad=3)
        axes.set_axis_on()
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color=colour, linewidth=2)
        if names is not None:
            axes.set_xlabel(caption(names[index]), fontsize="xx-small")


def check_judged(
    report: Report, images: np.ndarray, names: Sequence[str] | None
) -> None:
    """Refuses images or names that cannot be those of a report."""
    n = len(report.scores)
    if data.is_dataset(images):
        raise ValueError(
            "A dataset may give its images in another order than when it was judged; "
            "expected an array or ImageFiles. Received: images of type "
            f"{type(images).__name__}. Keep the images that the report was made of: "
            "np.concatenate([x for x, y in dataset])."
        )
    if len(images) != n or (names is not None and len(names) != n):
        named = f", names={len(names)}" if names is not None else ""
        raise ValueError(
            f"Images do not match the report: expected {n}, one for each score. "
            f"Received: images={len(images)}{named}. Pass what the report was made of."
        )
