"""What stands in a report's page: the strip of scores with its slider, and thumbnails.

The page's script counts at other thresholds, so it needs scores. Comparing the shortest
decimals of float32 numbers is the same as comparing the numbers, as Python did.
"""

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from egan_keras.evaluation.plots import FEW_MARKS, histogram, score_range
from egan_keras.evaluation.report import Report
from egan_keras.evaluation.sheets import as_pixels, heat_maps, mistakes, overlaid
from egan_keras.evaluation.style import CLASSES, data_uri

_STEPS, _MOST_SCORES = 500, 20_000
_WIDTH, _HEIGHT = 1000, 92
MOST_THUMBNAILS = 24
SIDE = 160
# Of all thumbnails of a page, in letters of base64.
_BUDGET = 3_600_000
# Longest side and JPEG quality, the next where all together would be over the budget.
_LOOKS = ((SIDE, 80), (SIDE, 60), (112, 50), (72, 40))
# Smaller images are enlarged so far by whole factors, so that pixels stay pixels.
_SMALL = 96


def for_script(report: Report) -> dict[str, Any]:
    """Returns what the page's script counts with; all values are JSON's.

    Of a class of more than 20,000 images so many scores are taken, evenly spread in
    rank, the lowest and the highest among them.
    """
    low, high = score_range(report)
    classes = {}
    for label, name in enumerate(CLASSES):
        scores = np.sort(report.scores[report.labels == label])
        below = int(np.sum(scores < report["threshold"]))
        n = len(scores)
        if n > _MOST_SCORES:
            scores = scores[np.rint(np.linspace(0, n - 1, _MOST_SCORES)).astype(int)]
        classes[name] = {"n": n, "below": below, "scores": [*map(_decimal, scores)]}
    threshold = _decimal(report.scores.dtype.type(report["threshold"]))
    ends = {"low": float(f"{low:.6g}"), "high": float(f"{high:.6g}")}
    return {"threshold": threshold, "steps": _STEPS, **ends, "classes": classes}


def for_drawing(report: Report, live: dict[str, Any]) -> dict[str, Any]:
    """Returns the strip as the page first shows it, of what `for_script` returned."""
    low, high, threshold = live["low"], live["high"], live["threshold"]
    share = min(1.0, max(0.0, (threshold - low) / (high - low)))
    kept = max(len(each["scores"]) for each in live["classes"].values())
    most = max(each["n"] for each in live["classes"].values())
    return {
        "rows": [_row(report, *each, low, high) for each in enumerate(CLASSES)],
        "step": round(_STEPS * share),
        "place": f"{_WIDTH * share:.1f}",
        "outside": int(np.sum((report.scores < low) | (report.scores > high))),
        "is_thinned": most > kept,
        "kept": kept,
        "precision": max(1, round(most / kept / 2)),
    }


def _row(
    report: Report, label: int, name: str, low: float, high: float
) -> dict[str, Any]:
    """Returns the histogram of a class: bars, and marks if few."""
    scores, inside, heights, _ = histogram(report, label, low, high)
    tallest, width = int(heights.max()), _WIDTH / len(heights)
    bars = [
        {"x": round(i * width, 1), "y": round(100 - height, 1)}
        | {"width": round(0.92 * width, 1), "height": round(height, 1)}
        for i, height in enumerate((heights * _HEIGHT / max(tallest, 1)).tolist())
        if height
    ]
    places = (_WIDTH * (inside - low) / (high - low)).tolist()
    words = "no images"
    if len(scores):
        middle = np.quantile(scores, [0, 0.5, 1]).tolist()
        words = "lowest {:.3g}, median {:.3g}, highest {:.3g}".format(*middle)
    return {
        "name": name,
        "n": f"{len(scores):,}",
        "tallest": f"{tallest:,}",
        "in_words": words,
        "bars": bars,
        "marks": [f"{x:.1f}" for x in places] if len(scores) <= FEW_MARKS else [],
    }


def _decimal(number: np.floating) -> float:
    """Returns the shortest decimal of a number in its own precision."""
    return float(np.format_float_positional(number))


class Group(NamedTuple):
    """Images to be shown together: what they are, and how they were chosen."""

    title: str
    note: str
    rows: np.ndarray  # of the report, the most telling first


def choose(report: Report, most: int = MOST_THUMBNAILS) -> list[Group]:
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
    heat maps without a model, or if it judges no places. `images` are pixels 0..255,
    (n, height, width[, channels]), an array or `ImageFiles`.
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
    return data_uri("jpeg", buffer.getvalue())
