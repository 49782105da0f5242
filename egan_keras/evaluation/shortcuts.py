"""Shortcuts: what besides the things shown tells the classes of images apart.

Where the minority was photographed on another day, with another camera or saved by
another program, a model may learn that instead. Figures on images of the same kind do
not show it; they are high, and the model fails elsewhere.
"""

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from egan_keras.data.decoding import read_header

_STRONG, _NEAR = 0.9, 0.02
# So many standard errors above a half, eight properties seldom come by chance.
_BEYOND_CHANCE = 3
_AT_ONCE = 64

IN_WORDS = {
    "brightness": "brightness (mean of all pixels)",
    "contrast": "contrast (standard deviation of all pixels)",
    "red": "colour, red against green (mean difference)",
    "blue": "colour, blue against green (mean difference)",
    "sharpness": "sharpness (variance of differences between neighbours)",
    "bytes": "size of the file in bytes",
    "pixels": "number of pixels of the original",
    "aspect": "width of the original, as a share of its height",
    "format": "type of the file, such as PNG or JPEG",
}


@dataclasses.dataclass(frozen=True)
class Shortcuts:
    """How well single properties of images tell their classes apart.

    Attributes:
        aurocs: AUROC of each property alone, by its name in `IN_WORDS`, whichever
            class has the higher values: 0.5 tells nothing, 1 everything.
        suspicious: the names of those that a model may have learned instead.
        n_images: images looked at.
        sizes: (height, width) of the originals looked at; empty without files.
    """

    aurocs: dict[str, float]
    suspicious: tuple[str, ...]
    n_images: int
    sizes: tuple[tuple[int, int], ...] = ()


def find_shortcuts(
    images: Any,
    labels: np.ndarray,
    paths: Sequence[str | os.PathLike] | None = None,
    *,
    model_auroc: float | None = None,
    most: int = 2000,
) -> Shortcuts:
    """Tells how well brightness, file size and the like alone tell the classes.

    A property is suspicious if its AUROC is at least 0.9 or at most 0.02 below the
    model's, and further above a half than chance explains (three standard errors), so
    that a handful of minority images raise no alarm.

    Args:
        images: pixels 0..255, (n, height, width[, channels]), an array or `ImageFiles`.
        labels: shape (n,), 0 = majority, 1 = minority, some of both.
        paths: the n files they come from, for what these tell; None leaves that out,
            and so does a file that cannot be read any more.
        model_auroc: AUROC of the model on these images.
        most: images of each class to look at; of more, so many are drawn.

    Raises:
        ValueError: if there is but one class, or not one label for each image.

    >>> dark, light = np.zeros((9, 8, 8, 3)), np.full((9, 8, 8, 3), 255)
    >>> found = find_shortcuts(np.concatenate([dark, light]), np.arange(18) // 9)
    >>> found.aurocs["brightness"], found.aurocs["contrast"], found.suspicious
    (1.0, 0.5, ('brightness',))
    """
    labels = np.asarray(labels)
    n_minority = int(np.sum(labels == 1))
    if len(images) != len(labels) or not 0 < n_minority < len(labels):
        raise ValueError(
            "Shortcuts need images of both classes, and a label for each: expected "
            f"labels 0 and 1. Received: images={len(images)}, labels={len(labels)}, "
            f"{n_minority} of them 1. Pass labelled images of both classes."
        )
    random, drawn = np.random.default_rng(0), []
    for own in (np.flatnonzero(labels == label) for label in (0, 1)):
        drawn.append(random.choice(own, most, False) if len(own) > most else own)
    rows = np.sort(np.concatenate(drawn))
    labels = labels[rows]
    starts, sizes = range(0, len(rows), _AT_ONCE), []
    batches = (np.asarray(images[rows[start : start + _AT_ONCE]]) for start in starts)
    found = [_measure(image.astype(np.float32)) for batch in batches for image in batch]
    measures = {name: np.array([each[name] for each in found]) for name in found[0]}
    if paths is not None:
        of_files, sizes = _of_files([paths[row] for row in rows], labels)
        measures |= of_files
    aurocs = {}
    for name, values in measures.items():
        auroc = float(roc_auc_score(labels, values))
        aurocs[name] = max(auroc, 1 - auroc)
    n_minority = int(labels.sum())
    n_pairs = n_minority * (len(labels) - n_minority)
    chance = 0.5 + _BEYOND_CHANCE * math.sqrt((len(labels) + 1) / (12 * n_pairs))
    wanted = _STRONG if model_auroc is None else min(_STRONG, model_auroc - _NEAR)
    suspicious = [n for n, x in aurocs.items() if x >= wanted and x > chance]
    return Shortcuts(aurocs, tuple(suspicious), len(rows), tuple(sizes))


def _measure(image: np.ndarray) -> dict[str, float]:
    pixels = image if image.ndim == 3 else image[..., None]
    gray = pixels.mean(axis=2)
    differences = [np.diff(gray, axis=axis).ravel() for axis in (0, 1)]
    measured = {
        "brightness": float(gray.mean()),
        "contrast": float(gray.std()),
        "sharpness": float(np.concatenate(differences).var()) if gray.size > 1 else 0.0,
    }
    if pixels.shape[2] == 3:
        red, green, blue = pixels.mean(axis=(0, 1)).tolist()
        measured |= {"red": red - green, "blue": blue - green}
    return measured


def _of_files(
    paths: Sequence[str | os.PathLike], labels: np.ndarray
) -> tuple[dict[str, np.ndarray], list[tuple[int, int]]]:
    """Returns the properties of files, and sizes; nothing if some cannot be read."""
    try:
        headers = [read_header(Path(path)) for path in paths]
        n_bytes = [os.stat(path).st_size for path in paths]
    except (OSError, ValueError):
        return {}, []
    heights, widths = np.array([header.size for header in headers], float).T
    measures = {
        "bytes": np.array(n_bytes, float),
        "pixels": heights * widths,
        "aspect": widths / heights,
        "format": _shares([header.format for header in headers], labels),
    }
    return measures, [header.size for header in headers]


def _shares(kinds: Sequence[str], labels: np.ndarray) -> np.ndarray:
    """Returns a number for each image: the share of minority among those of its kind.

    >>> _shares(["PNG", "PNG", "JPEG"], np.array([0, 1, 1])).tolist()
    [0.5, 0.5, 1.0]
    """
    _, kind = np.unique(kinds, return_inverse=True)
    return (np.bincount(kind, labels) / np.bincount(kind))[kind]
