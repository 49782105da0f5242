"""Sheets of images with what a model makes of them: mistakes, and heat maps."""

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from egan_keras import data
from egan_keras.evaluation.report import Report
from egan_keras.evaluation.style import CLASSES, MINORITY, caption, new_figure

_COLOUR = [int(MINORITY[place : place + 2], 16) for place in (1, 3, 5)]
_MOST_OPAQUE = 0.75
_LUMA = 0.299, 0.587, 0.114
_NAMES, _COLOURS = [*CLASSES], [*CLASSES.values()]
# Of a picture, inches; and how many mistakes stand in a row.
_WIDTH, _HEIGHTS = 1.25, (0.6, 2.2)
_COLUMNS = 8
_AT_LEFT: dict[str, Any] = {"x": 0.01, "ha": "left"}


def heat_maps(model: Any, images: Any, *, batch_size: int = 32) -> np.ndarray:
    """Returns where images speak for minority, float32 (n, height, width).

    The score is made of evidence of the whole image and of its most telling places, and
    falls as that of places rises. A heat map shows what each place would take from the
    score if the most telling ones were all like it, in the same unit for all images, in
    terms of held-out majority images: 0 is a place as telling as the most telling ones
    of usual majority images, and 1 is enough to bring an image that is usual in all
    else from the middle of the majority to score 0, below which are 5 % of them.
    Where images differ as a whole, their maps stay near 0.

    Args:
        model: An `EGAN` that judges places, as `recipe="default"` does; or a
            `TFLiteModel` that was exported with `heat_map=True`.
        images: RGB pixels 0..255, (n, height, width, 3), uint8 or float, or
            `ImageFiles`.
        batch_size: Images looked at at once.

    Raises:
        ValueError: If the model judges no places, or the images do not fit it.
    """
    images = data.check_images(images, image_shape=model.image_shape)
    found = [np.empty((0, *model.image_shape[:2]), "float32")]
    # A .tflite file runs all passes alike.
    pass_over = getattr(model, "pass_over", contextlib.nullcontext)
    with pass_over(len(images)):
        for batch in data.lazy.in_batches(images, batch_size):
            found.append(model.scores_and_heat_maps(batch)[1])
    return np.concatenate(found)


def overlaid(image: np.ndarray, heat_map: np.ndarray) -> np.ndarray:
    """Returns an image in shades of gray under its heat map, uint8 (h, w, 3).

    The colour begins at 0 and is strongest from 1 on, whatever the image's largest.

    Args:
        image: RGB pixels 0..255, (h, w, 3).
        heat_map: As `heat_maps` returns it, (h, w).
    """
    gray = np.asarray(image, float) @ _LUMA
    opaque = _MOST_OPAQUE * np.clip(heat_map, 0, 1)[..., None]
    mixed = (1 - opaque) * gray[..., None] + opaque * np.array(_COLOUR)
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)


def plot_heat_maps(
    report: Report,
    images: Any,
    model: Any,
    *,
    count: int = 8,
    names: Sequence[str] | None = None,
) -> Figure:
    """Draws the images of lowest scores of both classes beside their heat maps.

    Args:
        report: Of those images.
        images: RGB pixels 0..255, (n, height, width, 3).
        model: As of `heat_maps`.
        count: At most so many of each class, 1 or more.
        names: n names to write under the images.

    Raises:
        ValueError: If the model judges no places, images or names are not as many as
            the report's scores, or `count` is out of range.
    """
    check_judged(report, images, names)
    _check_count(count, "images")
    under = [None] * len(report.scores) if names is None else names
    chosen = {}
    for label in (1, 0):
        own = np.flatnonzero(report.labels == label)
        chosen[label] = _in_order(own, report.scores)[:count]
    columns = max(map(len, chosen.values()))
    height, width = np.shape(images)[1:3]
    tall = np.clip(_WIDTH * height / width, *_HEIGHTS)
    figure = new_figure(max(6, _WIDTH * columns), 4 * tall + 1.6)
    figure.suptitle(
        "Where images of the lowest scores speak for minority, under their scores\n"
        "(strongest colour: enough to call an else usual image minority at score 0; "
        "pale: the score is the whole image's)",
        fontsize="medium",
        **_AT_LEFT,
    )
    grid = figure.subplots(4, columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for (label, rows), (above, below) in zip(
        chosen.items(), (grid[:2], grid[2:]), strict=True
    ):
        if not len(rows):
            continue
        above[0].set_ylabel(_NAMES[label])
        shown = np.asarray(images[rows])
        maps, pictures = heat_maps(model, shown), as_pixels(shown)
        for column, row in enumerate(rows.tolist()):
            _show(above[column], pictures[column], label, score=report.scores[row])
            marked = overlaid(pictures[column], maps[column])
            _show(below[column], marked, label, name=under[row])
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
    _check_count(count, "mistakes")
    under = [None] * len(report.scores) if names is None else names
    kinds = mistakes(report)
    n_rows = [-(-min(count, len(wrong)) // _COLUMNS) for wrong in kinds.values()]
    heights = [0.5 + (1.6 if names is not None else 1.45) * n for n in n_rows]
    figure = new_figure(_WIDTH * _COLUMNS, 0.4 + sum(heights))
    title = "The most confident mistakes, each under its score (threshold {:.3g})"
    figure.suptitle(title.format(report["threshold"]), **_AT_LEFT)
    parts = figure.subfigures(2, 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, n, (label, wrong) in zip(parts, n_rows, kinds.items(), strict=True):
        title = _mistakes_in_words(report, label, len(wrong), count)
        part.suptitle(title, color=_COLOURS[label], fontsize="medium", **_AT_LEFT)
        # The layout needs an axes in each part, even where there is no image.
        grid = part.subplots(max(1, n), _COLUMNS, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, row in zip(grid, wrong[:count].tolist(), strict=False):
            (picture,) = as_pixels(images[[row]])
            _show(axes, picture, label, score=report.scores[row], name=under[row])
    return figure


def mistakes(report: Report) -> dict[int, np.ndarray]:
    """Returns the rows of missed minority and false alarms, by label, worst first."""
    called = report.scores < report["threshold"]
    missed = np.flatnonzero((report.labels == 1) & ~called)
    false = np.flatnonzero((report.labels == 0) & called)
    return {1: _in_order(missed, -report.scores), 0: _in_order(false, report.scores)}


def as_pixels(images: Any) -> np.ndarray:
    """Returns images as pictures, uint8 (n, h, w) or (n, h, w, 3)."""
    pixels = np.clip(np.rint(np.asarray(images)), 0, 255).astype(np.uint8)
    return pixels[..., 0] if pixels.shape[3:] == (1,) else pixels


def check_judged(report: Report, images: Any, names: Sequence[Any] | None) -> None:
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


def _check_count(count: int, what: str) -> None:
    if count < 1:
        raise ValueError(
            f"The number of {what} to draw is out of range: expected 1 or more. "
            f"Received: count={count}. Pass count=8, for example."
        )


def _in_order(rows: np.ndarray, keys: np.ndarray) -> np.ndarray:
    return rows[np.argsort(keys[rows], kind="stable")]


def _mistakes_in_words(report: Report, label: int, n_wrong: int, count: int) -> str:
    name = _NAMES[label]
    total = report[f"n_{name}"]
    if not total:
        return f"no {name} images to judge"
    whats = ("called minority (score below", "missed (score at or above")
    few = "" if n_wrong <= count else f"; the {count} most confident"
    return f"{n_wrong} of {total} {name} images {whats[label]} the threshold){few}"


def _show(
    axes: Axes,
    picture: np.ndarray,
    label: int,
    *,
    score: float | None = None,
    name: object | None = None,
) -> None:
    """Draws a picture in its class's colour, under its score and above its name."""
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=_COLOURS[label], linewidth=2)
    if score is not None:
        axes.set_title(f"{score:.2f}", fontsize="small", pad=3)
    if name is not None:
        axes.set_xlabel(caption(name), fontsize="xx-small")
