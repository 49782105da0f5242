"""The sheet of the most confident mistakes, as images."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure, SubFigure

from egan_keras import data
from egan_keras.evaluation.report import Report
from egan_keras.evaluation.style import CLASS_COLOURS, new_figure, plain
from egan_keras.text import printable

_COLUMNS = 8


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
    _check(images, count)
    called = report.scores < report["threshold"]
    kinds = []
    for label, order in ((1, -report.scores), (0, report.scores)):
        wrong = np.flatnonzero((report.labels == label) & (called != label))
        kinds.append(wrong[np.argsort(order[wrong], kind="stable")])
    rows = [-(-min(count, len(wrong)) // _COLUMNS) for wrong in kinds]
    heights = [0.5 + (1.6 if names is not None else 1.45) * n for n in rows]
    figure = new_figure(1.25 * _COLUMNS, 0.4 + sum(heights))
    figure.suptitle(
        "The most confident mistakes, each under its score "
        f"(threshold {report['threshold']:.3g})",
        x=0.01,
        ha="left",
    )
    parts = figure.subfigures(2, 1, height_ratios=heights)
    for part, label, wrong, n_rows in zip(parts, (1, 0), kinds, rows, strict=True):
        total = int(np.sum(report.labels == label))
        part.suptitle(
            _title(label, min(count, len(wrong)), len(wrong), total),
            x=0.01,
            ha="left",
            fontsize="medium",
            color=CLASS_COLOURS[label],
        )
        _draw(part, images, report, wrong[:count], n_rows, names)
    return figure


def _title(label: int, shown: int, wrong: int, total: int) -> str:
    class_name, what = (
        ("minority", "missed (score at or above the threshold)")
        if label
        else ("majority", "called minority (score below the threshold)")
    )
    if not total:
        return f"no {class_name} images to judge"
    few = "" if shown == wrong else f"; the {shown} most confident"
    return f"{wrong} of {total} {class_name} images {what}{few}"


def _draw(
    part: SubFigure,
    images: np.ndarray,
    report: Report,
    chosen: np.ndarray,
    rows: int,
    names: Sequence[str] | None,
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
        axes.spines[:].set(color=CLASS_COLOURS[report.labels[index]], linewidth=2)
        if names is not None:
            axes.set_xlabel(plain(_short(printable(names[index]))), fontsize="xx-small")


def _short(name: str, length: int = 20) -> str:
    return name if len(name) <= length else f"\u2026{name[1 - length :]}"


def check_judged(
    report: Report, images: np.ndarray, names: Sequence[str] | None = None
) -> None:
    """Refuses images that cannot be those of a report.

    Args:
        report: of the images.
        images: n images, an array or lazy.
        names: n names of them.

    Raises:
        ValueError: if they are a dataset, or others in number.
    """
    n = len(report.scores)
    if data.is_dataset(images):
        raise ValueError(
            "A dataset may give its images in another order than when it was judged; "
            "expected an array or ImageFiles. Received: images of type "
            f"{type(images).__name__}. Keep the images that the report was made of: "
            "np.concatenate([x for x, y in dataset])."
        )
    if len(images) != n or (names is not None and len(names) != n):
        received = f"images={len(images)}"
        received += f", names={len(names)}" if names is not None else ""
        raise ValueError(
            f"Images do not match the report: expected {n}, one for each score. "
            f"Received: {received}. Pass what the report was made of."
        )


def _check(images: np.ndarray, count: int) -> None:
    if np.ndim(images[0]) not in (2, 3):
        raise ValueError(
            "Images have the wrong shape: expected (n, height, width) or (n, height, "
            f"width, channels). Received: images.shape={np.shape(images)}. Pass "
            "images, not features."
        )
    if count < 1:
        raise ValueError(
            "The number of mistakes to draw is out of range: expected 1 or more. "
            f"Received: count={count}. Pass count=8, for example."
        )
