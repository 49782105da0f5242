"""A comparison's report as a page, which holds what `report.md` does, and its plots."""

import functools
import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from egan_keras.evaluation import style
from egan_keras.evaluation.style import short
from egan_keras.experiments.grid import REFERENCE, as_file_name, fingerprint
from egan_keras.experiments.outcomes import CELL, by_seed

# Of all plots of a page, in bytes; the others are named.
_MOST_BYTES = 3_600_000
_COLOURS = (style.MAJORITY, style.MINORITY, *style.LINES[:4], "#999933", "#882255")
_DASHES = ("-", "--", ":", "-.")
_MARKERS = "osv^DPX<>*"

Words = list[tuple[str, str]]  # a kind (strong, code or plain) and its text


def make_page(sections: Sequence[str], out: Path) -> str:
    """Returns the page of the sections of `report.md`, with the plots in it.

    They are of the Markdown that `comparison_report` writes, no other.
    """
    blocks: list[dict[str, Any]] = []
    caption, room = "", _MOST_BYTES
    for text in re.split(r"\n\n+", "\n\n".join(sections)):
        if heading := re.fullmatch(r"(#+) (.*)", text):
            level, title = len(heading[1]), heading[2]
            caption = _plain(title)
            blocks.append({"kind": "heading", "level": level, "words": _words(title)})
        elif image := re.fullmatch(r"!\[(.*)\]\((.*)\)", text):
            path, told = out / image[2], _plain(image[1])
            room -= path.stat().st_size
            if room >= 0:
                source = style.data_uri("png", path.read_bytes())
                blocks.append({"kind": "image", "text": told, "source": source})
            else:
                told += f": see {image[2]}, for want of room here."
                blocks.append({"kind": "paragraph", "words": [("plain", told)]})
        elif text.startswith("|"):
            head, _, *rows = (
                [_words(cell.strip()) for cell in line.strip("|").split("|")]
                for line in text.splitlines()
            )
            table = {"caption": caption, "head": head, "rows": rows}
            blocks.append({"kind": "table"} | table)
        elif text.startswith("- "):
            items = [_words(line[2:]) for line in text.splitlines()]
            blocks.append({"kind": "list", "entries": items})
        elif text.startswith("    "):
            blocks.append({"kind": "code", "text": text.strip()})
        else:
            blocks.append({"kind": "paragraph", "words": _words(text)})
    title = f"Comparison of methods: {out.resolve().name}"
    return style.render("comparison.html", title=title, blocks=blocks)


def _words(text: str) -> Words:
    """Returns a text in parts by their markup, without it.

    >>> _words("a **b&#42;** `c`")
    [('plain', 'a '), ('strong', 'b*'), ('plain', ' '), ('code', 'c')]
    """
    kinds = {"*": "strong", "`": "code"}
    parts = re.split(r"(\*\*.+?\*\*|`.+?`)", text.replace("\n", " "))
    return [
        (kind, html.unescape(part.strip("*`") if kind != "plain" else part))
        for part, kind in ((part, kinds.get(part[:1], "plain")) for part in parts)
        if part
    ]


def _plain(text: str) -> str:
    return "".join(part for _, part in _words(text))


def draw_all(folder: Path, runs: pd.DataFrame, cells: pd.DataFrame) -> dict[str, str]:
    """Draws what there is something for; returns paths, by a title or `"gaps"`."""
    drawn, gaps = {}, functools.partial(plot_gaps, runs, cells)
    if len(_gaps(cells)) and style.save(folder / "gaps.png", gaps):
        drawn["gaps"] = f"{folder.name}/gaps.png"
    for title in cells["title"].unique():
        name = as_file_name(f"auroc_{title}")
        # Of names in other letters than ASCII's there may be nothing left.
        if f"{folder.name}/{name}.png" in drawn.values():
            name = f"{name}-{fingerprint(title)}"
        draw = functools.partial(plot_aurocs, cells, title)
        if style.save(folder / f"{name}.png", draw):
            drawn[title] = f"{folder.name}/{name}.png"
    return drawn


def plot_aurocs(cells: pd.DataFrame, title: str) -> Figure:
    """Draws a task's AUROC by minority count: a line and a band of spread a method."""
    figure = style.new_figure(8, 4.6)
    axes = figure.subplots()
    looks, own = _looks(cells), cells[cells["title"] == title]
    for method, line in own.groupby("method", observed=True):
        counts, means = line["minority_count"], line["auroc_mean"]
        axes.plot(counts, means, **looks[method])
        deviations, colour = line["auroc_sd"].fillna(0), looks[method]["color"]
        low, high = means - deviations, (means + deviations).clip(upper=1)
        if len(counts) > 1:
            axes.fill_between(counts, low, high, color=colour, alpha=0.1, lw=0)
        else:
            axes.vlines(counts, low, high, color=colour, linewidth=1)
    quantity = "AUROC on the test split, mean ± sd over seeds"
    style.tidy(axes, "minority training images", quantity, style.plain(title))
    counts = own["minority_count"].unique()
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(min(counts) / 1.15, max(counts) * 1.15)
    figure.legend(frameon=False, loc="outside right upper", fontsize="small")
    return figure


def _looks(cells: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Returns how each method is drawn: eGAN black and strong, baselines coloured."""
    looks = {}
    for is_baseline, own in cells.groupby("is_baseline"):
        names = own["method"].sort_values().unique()
        for number, name in enumerate(names):
            turn, place = divmod(number, len(_COLOURS)) if is_baseline else (number, 0)
            look = {"color": "#000000", "linewidth": 2.4, "markersize": 5, "zorder": 3}
            if is_baseline:
                look = {"color": _COLOURS[place], "linewidth": 1.4, "markersize": 4}
            looks[name] = look | {
                "label": style.plain(name if is_baseline else f"eGAN, {name}"),
                "linestyle": _DASHES[turn % len(_DASHES)],
                "marker": _MARKERS[number % len(_MARKERS)],
            }
    return looks


def plot_gaps(runs: pd.DataFrame, cells: pd.DataFrame) -> Figure:
    """Draws, for each cell, the reference's AUROC less the best baseline's."""
    gaps, aurocs = _gaps(cells), by_seed(runs)
    figure = style.new_figure(8, 1.4 + 0.21 * len(gaps))
    axes = figure.subplots()
    axes.axvline(0, color=style.REFERENCE, linewidth=1)
    places, values = -np.arange(len(gaps)), gaps["gap_to_best_baseline"]
    for place, (*cell, best) in zip(
        places, gaps[[*CELL, "best_baseline"]].values, strict=True
    ):
        own = aurocs.loc[tuple(cell)]
        seeds = own[REFERENCE] - own[best]
        axes.plot(seeds, [place] * len(seeds), "|", color="0.65", zorder=1)
    colours = np.where(values >= 0, style.MAJORITY, style.MINORITY)
    axes.scatter(values, places, c=colours, s=30, zorder=3, label="mean over seeds")
    axes.plot([], [], "|", color="0.65", label="a seed")
    mean = values.mean()
    label = f"mean gap {short(mean, '+')}"
    axes.axvline(mean, color="black", ls=":", lw=1, label=label)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    title = f"eGAN, {REFERENCE}: gap to the best baseline of each cell, at the right"
    style.tidy(axes, "difference in AUROC", "", title)
    axes.set_yticks(places, gaps["cell"].map(style.plain))
    axes.set_ylim(0.5 - len(gaps), 0.5)
    right = axes.secondary_yaxis("right")
    right.set_yticks(places, gaps["best_baseline"])
    right.spines["right"].set_visible(False)
    for side in (axes.yaxis, right.yaxis):
        side.set_tick_params(length=0, labelsize="small")
    figure.legend(frameon=False, loc="outside lower center", ncols=3, fontsize="small")
    return figure


def _gaps(cells: pd.DataFrame) -> pd.DataFrame:
    own = cells[cells["method"] == REFERENCE]
    return own.dropna(subset="gap_to_best_baseline")
