"""The scores of both classes for a page: bars to be drawn, and numbers for its script.

The script counts at other thresholds, so it needs scores. Comparing the shortest
decimals of float32 numbers is the same as comparing the numbers, as Python did.
"""

from typing import Any

import numpy as np

from egan_keras.evaluation.plots import score_range
from egan_keras.evaluation.report import Report
from egan_keras.evaluation.style import CLASSES

_STEPS, _MOST = 500, 20_000
_BINS, _BINS_OF_FEW = 50, 25
_FEW_IMAGES, _FEW_MARKS = 200, 50
_WIDTH, _HEIGHT = 1000, 92


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
        if n > _MOST:
            scores = scores[np.rint(np.linspace(0, n - 1, _MOST)).astype(int)]
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
    scores = report.scores[report.labels == label].astype(float)
    n_bins = _BINS if len(report.scores) > _FEW_IMAGES else _BINS_OF_FEW
    heights, _ = np.histogram(np.clip(scores, low, high), n_bins, (low, high))
    tallest, width = int(heights.max()), _WIDTH / n_bins
    bars = [
        {"x": round(i * width, 1), "y": round(100 - height, 1)}
        | {"width": round(0.92 * width, 1), "height": round(height, 1)}
        for i, height in enumerate((heights * _HEIGHT / max(tallest, 1)).tolist())
        if height
    ]
    inside = scores[(scores >= low) & (scores <= high)]
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
        "marks": [f"{x:.1f}" for x in places] if len(scores) <= _FEW_MARKS else [],
    }


def _decimal(number: np.floating) -> float:
    """Returns the shortest decimal of a number in its own precision."""
    return float(np.format_float_positional(number))
