"""Small pictures of a report's page: which images, and their bytes within a limit."""

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from egan_keras.evaluation import pages
from egan_keras.evaluation.report import Report
from egan_keras.evaluation.sheets import as_pixels, heat_maps, mistakes, overlaid

MOST = 24
SIDE = 160
# Of all thumbnails of a page, in letters of base64.
_BUDGET = 3_600_000
# Longest side and JPEG quality, the next where all together would be over the budget.
_LOOKS = ((SIDE, 80), (SIDE, 60), (112, 50), (72, 40))
# Smaller images are enlarged so far by whole factors, so that pixels stay pixels.
_SMALL = 96


class Group(NamedTuple):
    """Images to be shown together: what they are, and how they were chosen."""

    title: str
    note: str
    rows: np.ndarray  # of the report, the most telling first


def choose(report: Report, most: int = MOST) -> list[Group]:
    """Returns which images to show: mistakes, the most minority-like, the nearest.

    Of each group there are `most` at most.
    """
    missed, false = mistakes(report).values()
    lowest = np.argsort(report.scores, kind="stable")
    nearness = np.abs(report.scores.astype(float) - report["threshold"])
    nearest = np.argsort(nearness, kind="stable")
    groups = []
    for title, order, rows in (
        ("Missed: minority called majority", "highest score first", missed),
        ("False alarms: majority called minority", "lowest score first", false),
        ("Most minority-like", "lowest score first", lowest),
        ("Nearest to the threshold", "nearest first", nearest),
    ):
        shown = f"{len(rows):,}" if len(rows) <= most else f"{most} of {len(rows):,}"
        groups.append(Group(title, f"{shown} images, {order}", rows[:most]))
    return groups


def encode(
    images: Any, groups: Sequence[Group], model: Any | None = None
) -> tuple[dict[int, str], dict[int, str]]:
    """Returns the pictures of all rows of groups, and their heat maps, as data URIs.

    All together they are below about 4 MB, if need be smaller and coarser. There are no
    heat maps without a model, or if it judges no places.

    Args:
        images: pixels 0..255, (n, height, width[, channels]), an array or `ImageFiles`.
        groups: what is shown.
        model: as for `heat_maps`.
    """
    shown = [row for group in groups for row in group.rows.tolist()]
    rows = np.unique(np.array(shown, int))
    if not len(rows):
        return {}, {}
    pictures = dict(zip(rows.tolist(), as_pixels(images[rows]), strict=True))
    marked = {}
    if getattr(model, "judges_places", False):
        maps = heat_maps(model, np.asarray(images[rows]))
        pairs = zip(pictures.items(), maps, strict=True)
        marked = {row: overlaid(image, heat) for (row, image), heat in pairs}
    for side, quality in _LOOKS:
        encoded = [
            {row: _as_jpeg(image, side, quality) for row, image in each.items()}
            for each in (pictures, marked)
        ]
        if sum(len(each.get(row, "")) for each in encoded for row in shown) < _BUDGET:
            break
    return encoded[0], encoded[1]


def _as_jpeg(image: np.ndarray, side: int, quality: int) -> str:
    """Returns an image, uint8, whose longest side becomes at most `side`."""
    picture = Image.fromarray(image)
    longest = max(picture.size)
    if longest > side:
        factor, how = side / longest, Image.Resampling.LANCZOS
    else:
        factor, how = max(1, min(_SMALL, side) // longest), Image.Resampling.NEAREST
    size = [max(1, round(factor * each)) for each in picture.size]
    buffer = io.BytesIO()
    resized = picture.resize(size, how).convert("RGB")
    resized.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    return pages.data_uri("jpeg", buffer.getvalue())
