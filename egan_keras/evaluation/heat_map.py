"""Heat maps: where images speak for minority, as numbers and as pictures."""

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
# Of a picture in the sheet, inches.
_WIDTH, _HEIGHTS = 1.25, (0.6, 2.2)


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
        ValueError: If the model judges no places, or `count` is out of range.
    """
    if count < 1:
        raise ValueError(
            "The number of images to draw is out of range: expected 1 or more. "
            f"Received: count={count}. Pass count=8, for example."
        )
    chosen = {}
    for label in (1, 0):
        own = np.flatnonzero(report.labels == label)
        chosen[label] = own[np.argsort(report.scores[own], kind="stable")][:count]
    columns = max(map(len, chosen.values()))
    height, width = np.shape(images)[1:3]
    tall = np.clip(_WIDTH * height / width, *_HEIGHTS)
    figure = new_figure(max(6, _WIDTH * columns), 4 * tall + 1.6)
    figure.suptitle(
        "Where images of the lowest scores speak for minority, under their scores\n"
        "(strongest colour: enough to call an else usual image minority at score 0; "
        "pale: the score is the whole image's)",
        x=0.01,
        ha="left",
        fontsize="medium",
    )
    grid = figure.subplots(4, columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for (above, below), (label, rows) in zip(
        (grid[:2], grid[2:]), chosen.items(), strict=True
    ):
        if not len(rows):
            continue
        shown = np.asarray(images[rows])
        maps = heat_maps(model, shown)
        above[0].set_ylabel([*CLASSES][label])
        for column, row in enumerate(rows.tolist()):
            image = np.clip(np.rint(shown[column]), 0, 255).astype(np.uint8)
            _show(above[column], image, label)
            _show(below[column], overlaid(image, maps[column]), label)
            above[column].set_title(
                f"{report.scores[row]:.2f}", fontsize="small", pad=3
            )
            if names is not None:
                below[column].set_xlabel(caption(names[row]), fontsize="xx-small")
    return figure


def _show(axes: Axes, picture: np.ndarray, label: int) -> None:
    axes.imshow(picture)
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color=[*CLASSES.values()][label], linewidth=2)
