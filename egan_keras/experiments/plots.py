"""Plots of a comparison: AUROC by minority count, and gaps to the best baseline."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from egan_keras.evaluation.style import (
    LINES,
    MAJORITY,
    MINORITY,
    REFERENCE,
    new_figure,
    plain,
    save,
    tidy,
)
from egan_keras.experiments.grid import Cell, as_file_name
from egan_keras.experiments.layout import by_task, name_cell
from egan_keras.experiments.markdown import signed
from egan_keras.experiments.methods import Method
from egan_keras.experiments.outcomes import Outcomes

_EGAN = "#000000"
_COLOURS = (MAJORITY, MINORITY, *LINES[:4], "#999933", "#882255")
_DASHES = ("-", "--", ":", "-.")
_MARKERS = "osv^DPX<>*"


def draw_all(folder: Path, outcomes: Outcomes) -> dict[Any, str]:
    """Draws every plot that there is something for.

    Args:
        folder: where PNG files are written; it is made.
        outcomes: what was measured.

    Returns:
        The path of each, from the folder above, by what it shows: `"gaps"`, or the
        task and pairing.
    """
    figures = {}
    if outcomes.reference() and any(map(outcomes.best_baseline, outcomes.cells)):
        figures["gaps"] = "gaps", lambda: plot_gaps(outcomes)
    for title, cells in by_task(outcomes):
        key = cells[0].task, cells[0].pairing
        draw = functools.partial(plot_aurocs, outcomes, cells, title)
        figures[key] = f"auroc_{title}", draw
    written = {}
    for key, (name, draw) in figures.items():
        path = folder / f"{as_file_name(name)}.png"
        if save(path, draw):
            written[key] = f"{folder.name}/{path.name}"
    return written


def plot_aurocs(outcomes: Outcomes, cells: Sequence[Cell], title: str) -> Figure:
    """Draws AUROC against minority count: a line and a band of spread each method.

    Args:
        outcomes: what was measured.
        cells: the cells of one task and pairing.
        title: the title.
    """
    figure = new_figure(8, 4.6)
    axes = figure.subplots()
    looks = _looks(outcomes.methods)
    for method in outcomes.methods:
        own = [cell for cell in cells if outcomes.mean(cell, method) is not None]
        if own:
            _draw_line(axes, outcomes, own, method, looks[method])
    quantity = "AUROC on the test split, mean ± sd over seeds"
    tidy(axes, "minority training images", quantity, plain(title))
    counts = [cell.count for cell in cells]
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(min(counts) / 1.15, max(counts) * 1.15)
    figure.legend(frameon=False, loc="outside right upper", fontsize="small")
    return figure


def _looks(methods: Sequence[Method]) -> dict[Method, dict[str, Any]]:
    """Returns how each method is drawn: eGAN black and strong, baselines coloured."""
    looks, egans, baselines = {}, 0, 0
    for method in methods:
        if method.is_baseline:
            looks[method] = {
                "color": _COLOURS[baselines % len(_COLOURS)],
                "linestyle": _DASHES[baselines // len(_COLOURS) % len(_DASHES)],
                "marker": _MARKERS[baselines % len(_MARKERS)],
                "linewidth": 1.4,
                "markersize": 4,
            }
            baselines += 1
        else:
            looks[method] = {
                "color": _EGAN,
                "linestyle": _DASHES[egans % len(_DASHES)],
                "marker": _MARKERS[egans % len(_MARKERS)],
                "linewidth": 2.4,
                "markersize": 5,
                "zorder": 3,
            }
            egans += 1
    return looks


def _draw_line(
    axes: Axes,
    outcomes: Outcomes,
    cells: Sequence[Cell],
    method: Method,
    look: dict[str, Any],
) -> None:
    counts = [cell.count for cell in cells]
    means = np.array([outcomes.mean(cell, method) for cell in cells])
    deviations = [outcomes.deviation(cell, method, "auroc") or 0.0 for cell in cells]
    axes.plot(counts, means, label=_name(method), **look)
    low, high = means - deviations, np.minimum(means + deviations, 1)
    if len(counts) > 1:
        axes.fill_between(counts, low, high, color=look["color"], alpha=0.1, lw=0)
    else:
        axes.vlines(counts, low, high, color=look["color"], linewidth=1)


def _name(method: Method) -> str:
    return plain(method.name if method.is_baseline else f"eGAN, {method.name}")


def plot_gaps(outcomes: Outcomes) -> Figure:
    """Draws, for each cell, the reference's AUROC less the best baseline's.

    Args:
        outcomes: what was measured, by the reference and by a baseline at least.
    """
    reference = outcomes.reference()
    gaps = {cell: outcomes.gap(cell, reference) for cell in outcomes.cells}
    gaps = {cell: gap for cell, gap in gaps.items() if gap is not None}
    figure = new_figure(8, 1.4 + 0.21 * len(gaps))
    axes = figure.subplots()
    places = -np.arange(len(gaps))
    values = np.array(list(gaps.values()))
    axes.axvline(0, color=REFERENCE, linewidth=1)
    for place, cell in zip(places, gaps, strict=True):
        baseline, _ = outcomes.best_baseline(cell)
        seeds = outcomes.differences(cell, reference, baseline)
        axes.plot(seeds, [place] * len(seeds), "|", color="0.65", zorder=1)
    colours = [MAJORITY if gap >= 0 else MINORITY for gap in values]
    axes.scatter(values, places, c=colours, s=30, zorder=3, label="mean over seeds")
    axes.plot([], [], "|", color="0.65", label="a seed")
    mean = float(np.mean(values))
    axes.axvline(mean, color="black", ls=":", lw=1, label=f"mean gap {signed(mean)}")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    title = f"{_name(reference)}: gap to the best baseline of each cell, at the right"
    tidy(axes, "difference in AUROC", "", title)
    _name_rows(axes, places, outcomes, list(gaps))
    figure.legend(frameon=False, loc="outside lower center", ncols=3, fontsize="small")
    return figure


def _name_rows(
    axes: Axes, places: np.ndarray, outcomes: Outcomes, cells: Sequence[Cell]
) -> None:
    """Writes each cell's name at the left and its best baseline at the right."""
    axes.set_yticks(places, [plain(name_cell(cell, outcomes)) for cell in cells])
    axes.set_ylim(0.5 - len(cells), 0.5)
    right = axes.secondary_yaxis("right")
    best = [_name(outcomes.best_baseline(cell)[0]) for cell in cells]
    right.set_yticks(places, best)
    right.spines["right"].set_visible(False)
    for side in (axes.yaxis, right.yaxis):
        side.set_tick_params(length=0, labelsize="small")
