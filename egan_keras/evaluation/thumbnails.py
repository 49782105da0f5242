"""Small pictures of a report's page: which images, and their bytes within a limit."""

import base64
import dataclasses
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from egan_keras.evaluation.heat_map import heat_maps, overlaid
from egan_keras.evaluation.report import Report

MOST = 24
SIDE = 160
# Of all thumbnails of a page, in letters of base64.
_BUDGET = 3_600_000
# Longest side and JPEG quality, the next where all together would be over the budget.
_LOOKS = ((SIDE, 80), (SIDE, 60), (112, 50), (72, 40))
# Smaller images are enlarged so far by whole factors, so that pixels stay pixels.
_SMALL = 96


@dataclasses.dataclass(frozen=True)
class Group:
    """Images to be shown together.

    Attributes:
        title: what they are.
        note: how they were chosen, and how many there are.
        rows: which images of the report, the most telling first.
    """

    title: str
    note: str
    rows: np.ndarray


def choose(report: Report, most: int = MOST) -> list[Group]:
    """Returns which images to show: mistakes, the most minority-like, the nearest.

    Args:
        report: the report.
        most: images a group at most.
    """
    scores, labels, threshold = report.scores, report.labels, report["threshold"]
    called = scores < threshold
    missed = np.flatnonzero((labels == 1) & ~called)
    false = np.flatnonzero((labels == 0) & called)
    nearness = np.abs(scores.astype(float) - threshold)

    def group(title: str, order: str, rows: np.ndarray, keys: np.ndarray) -> Group:
        ordered = rows[np.argsort(keys[rows], kind="stable")]
        shown = f"{len(rows):,}" if len(rows) <= most else f"{most} of {len(rows):,}"
        return Group(title, f"{shown} images, {order}", ordered[:most])

    everything = np.arange(len(scores))
    return [
        group(
            "Missed: minority called majority", "highest score first", missed, -scores
        ),
        group(
            "False alarms: majority called minority",
            "lowest score first",
            false,
            scores,
        ),
        group("Most minority-like", "lowest score first", everything, scores),
        group("Nearest to the threshold", "nearest first", everything, nearness),
    ]


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
    pixels = np.clip(np.rint(np.asarray(images[rows])), 0, 255).astype(np.uint8)
    pictures, marked = dict(zip(rows.tolist(), pixels, strict=True)), {}
    if getattr(model, "judges_places", False):
        maps = heat_maps(model, np.asarray(images[rows]))
        pairs = zip(pictures.items(), maps, strict=True)
        marked = {row: overlaid(image, heat) for (row, image), heat in pairs}
    for side, quality in _LOOKS:
        encoded = [
            {row: as_jpeg(image, side, quality) for row, image in each.items()}
            for each in (pictures, marked)
        ]
        if sum(len(each.get(row, "")) for each in encoded for row in shown) < _BUDGET:
            break
    return encoded[0], encoded[1]


def as_jpeg(image: np.ndarray, side: int = SIDE, quality: int = 80) -> str:
    """Returns an image as the data URI of a JPEG, its longest side at most `side`.

    Args:
        image: uint8 (h, w), (h, w, 1) or (h, w, 3).
        side: pixels.
        quality: of the JPEG, 1..95.
    """
    picture = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
    longest = max(picture.size)
    if longest > side:
        factor, how = side / longest, Image.Resampling.LANCZOS
    else:
        factor, how = max(1, min(_SMALL, side) // longest), Image.Resampling.NEAREST
    size = [max(1, round(factor * each)) for each in picture.size]
    buffer = io.BytesIO()
    resized = picture.resize(size, how).convert("RGB")
    resized.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
