"""The page of a report: `report.html`."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from egan_keras import data
from egan_keras.evaluation import page_parts
from egan_keras.evaluation.plots import (
    plot_history,
    plot_precision_recall,
    plot_roc,
)
from egan_keras.evaluation.report import NO_WIDTH, Report
from egan_keras.evaluation.sheets import check_judged
from egan_keras.evaluation.shortcuts import IN_WORDS, Shortcuts, find_shortcuts
from egan_keras.evaluation.style import CLASSES, as_png, render
from egan_keras.version import versions

_FEW_SIZES = 3
_MOST_SUSPECTS = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Suspects:
    """Training images of the majority most likely to be minority, worst first.

    Attributes:
        images: pixels 0..255, (n, height, width[, channels]), an array or `ImageFiles`.
        names: to stand under them, (n,).
        scores: by models that were not trained on them, (n,), low = minority.
    """

    images: Any
    names: Sequence[str | os.PathLike]
    scores: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """What a page tells of how its report came about.

    Attributes:
        title: the heading.
        run: the folder of the run as a shell takes it, for the commands that are shown.
        command: the one that made the run.
        troubles: sentences on what was odd about the images.
        settings: choices by name.
        versions: of packages; those that are installed, unless told otherwise.
    """

    title: str = "Report"
    run: str = "RUN"
    command: str = ""
    troubles: Sequence[str] = ()
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=versions)


def make_page(
    report: Report,
    images: Any | None = None,
    *,
    names: Sequence[str | os.PathLike] | None = None,
    model: Any | None = None,
    history: Mapping[str, Sequence[float]] | None = None,
    origin: Origin | None = None,
    suspects: Suspects | None = None,
) -> str:
    """Returns the page of a report as text, below 5 MB.

    Args:
        report: the report.
        images: those that were judged: `LabelledImages`; or pixels 0..255, shape (n,
            height, width[, channels]), an array or `ImageFiles`.
        names: n names to stand under the images; without them, those of their files.
        model: the model that was judged, for heat maps if it judges places.
        history: what `fit` recorded.
        origin: how the report came about.
        suspects: training images to look at, whether their label is right.

    Raises:
        ValueError: if the images or names are not those of the report.
    """
    origin, paths, classes = origin or Origin(), None, None
    if isinstance(images, data.LabelledImages):
        paths, classes = images.paths or None, images.class_names or None
        images = images.images
    if images is not None:
        check_judged(report, images, names)
    names = names or paths or [f"image {n:,}" for n in range(len(report.scores))]
    live = page_parts.for_script(report)
    troubles = [*origin.troubles]
    shown = {"groups": [], "shortcuts": None, "is_marked": False, "is_small": False}
    if images is not None:
        shown |= _pictures(report, images, names, classes, model)
        if "auroc" in report:
            judged = images, report.labels, paths
            found = find_shortcuts(*judged, model_auroc=report["auroc"])
            shown["shortcuts"] = found
            troubles += _sizes_in_words(found, images)
    share = report.values.get("prevalence", float(np.mean(report.labels)))
    return render(
        "report.html",
        title=origin.title,
        origin=origin,
        report=report,
        measured=report.values,
        no_width=NO_WIDTH,
        prevalence=f"{100 * share:.3g}",
        properties=IN_WORDS,
        troubles=troubles or ["None is known."],
        live=live,
        threshold=live["threshold"],
        strip=page_parts.for_drawing(report, live),
        plots=_plots(report, history),
        suspects=_suspects(suspects) if suspects else [],
        classes=_by_class(report, classes),
        **shown,
    )


def _by_class(report: Report, classes: Sequence[str] | None) -> list[dict[str, Any]]:
    """Returns what was found of each minority class, where there are several."""
    names = np.asarray(classes) if classes else np.array([])
    minority = np.unique(names[report.labels == 1]) if len(names) else names
    if len(minority) < 2:
        return []
    called, rows = report.scores < report["threshold"], []
    for name in minority:
        own = (names == name) & (report.labels == 1)
        row = {"name": name, "count": own.sum(), "found": called[own].sum()}
        if report.most_like is not None:
            row["most_like"] = np.sum(report.most_like[own] == name)
        rows.append(row)
    return rows


def _pictures(
    report: Report,
    images: Any,
    names: Sequence[str | os.PathLike],
    classes: Sequence[str] | None,
    model: Any | None,
) -> dict[str, Any]:
    """Returns the thumbnails, in their groups."""
    chosen = [each for each in page_parts.choose(report) if len(each.rows)]
    pictures, marked = page_parts.encode(images, chosen, model)
    groups = []
    for group in chosen:
        shown = []
        for row in group.rows.tolist():
            known = {"kind": [*CLASSES][report.labels[row]]}
            known["marked"] = marked.get(row, "")
            if classes:
                known["class_name"] = classes[row]
            if report.most_like is not None:
                known["most_like"] = report.most_like[row]
            told = pictures[row], names[row], report.scores[row]
            shown.append(_picture(*told, **known))
        groups.append({"title": group.title, "note": group.note, "images": shown})
    is_small = max(np.shape(images)[1:3]) < page_parts.SIDE
    return {"groups": groups, "is_marked": bool(marked), "is_small": is_small}


def _suspects(found: Suspects) -> list[dict[str, str]]:
    rows = np.arange(min(len(found.names), _MOST_SUSPECTS))
    pictures, _ = page_parts.encode(found.images, [page_parts.Group("", "", rows)])
    return [
        _picture(pictures[row], found.names[row], found.scores[row])
        for row in rows.tolist()
    ]


def _picture(
    source: str, name: str | os.PathLike, score: float, **known: str
) -> dict[str, str]:
    """Returns what the page shows of an image, by default of the majority."""
    shown = f"{score:#.3g}".removesuffix(".")
    told = {"source": source, "name": Path(name).name, "score": shown}
    unknown = dict.fromkeys(("marked", "class_name", "most_like"), "")
    return told | unknown | {"kind": next(iter(CLASSES))} | known


def _sizes_in_words(found: Shortcuts, images: Any) -> list[str]:
    """Returns a sentence where the originals have several sizes, or another one."""
    sizes = sorted(set(found.sizes))
    height, width = np.shape(images)[1:3]
    if not sizes or sizes == [(height, width)]:
        return []
    named = [f"{each[0]} x {each[1]}" for each in sizes]
    if len(named) > _FEW_SIZES:
        named = [named[0], "...", named[-1]]
    are = f"{len(sizes):,} sizes" if len(sizes) > 1 else "one size"
    return [
        f"The {len(found.sizes):,} files looked at have {are} ({', '.join(named)} "
        f"pixels, height first); all are stretched to {height} x {width}."
    ]


def _plots(
    report: Report, history: Mapping[str, Sequence[float]] | None
) -> list[dict[str, Any]]:
    """Returns the plots, and what each of them shows."""
    drawn = []
    if "auroc" in report:
        told = f"ROC: minority found against false alarms; AUROC {report['auroc']:.3f}"
        drawn.append((told, False, plot_roc(report)))
        told = "Precision and sensitivity, at the share of minority of these images"
        drawn.append((told, False, plot_precision_recall(report)))
    if history:
        told = "Training: losses and what else was recorded, by epoch"
        drawn.append((told, True, plot_history(history)))
    return [
        {"title": title, "is_broad": is_broad, "source": as_png(figure)}
        for title, is_broad, figure in drawn
    ]
