"""Images on two sides of a split that are nearly the same picture.

Copies that were compressed, resized or brightened again have other bytes, and so are
no duplicates by their contents. Compared are the steps from pixel to pixel of small
grays, less the mean steps of all images: what a set has in common, such as a board's
layout or the bars of a solar cell, makes no two of its images alike. (A hash of 64 bits
was tried: of 1,340 crops of circuit boards, 973 pairs have equal ones.) Their mean
colours must be near, too.

Pictures that are moved by more than about a hundredth of their width are not found.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from PIL import Image

from egan_keras.data.decoding import Source, UnreadableError, opened
from egan_keras.data.duplicates import n_bytes
from egan_keras.data.lazy import by_threads
from egan_keras.text import counted

MOST_IMAGES, MOST_BYTES = 5000, 10**9

# Correlation of the steps of two images that are named. Of what the sets of real images
# hold by chance, the most alike reach 0.96; compressed, halved or brightened copies
# have 0.98 or so.
_ALIKE = 0.97
_SIDE = 48
# What there must be to compare: a standard deviation of grays, of 255, and steps at
# more places than along one straight edge.
_LEAST_DEVIATION, _LEAST_PLACES = 5.0, 1.33 * _SIDE
# Between mean colours, of 255 in each channel: what a picture 15% brighter may have.
_MOST_COLOUR = 40.0
_ROWS_AT_ONCE = 1024

Pair = tuple[str, str]


def near_duplicates(splits: Sequence[Sequence[Source]]) -> list[Pair]:
    """Return pairs of nearly equal images of two splits, the most alike first.

    Of each image, at most the pair with the most similar one of the splits before its
    own is named; of more than 5,000 images or 1 GB of files in all, none. Left aside
    are images that cannot be read and those of nearly one gray.
    """
    sources = [source for split in splits for source in split]
    if sum(map(bool, splits)) < 2 or are_too_many(sources):
        return []
    small = {row: x for row, x in enumerate(by_threads(_small, sources)) if x}
    if not small:
        return []
    rows = list(small)
    part_of = np.repeat(np.arange(len(splits)), list(map(len, splits)))[rows]
    grays, colours = map(np.stack, zip(*small.values(), strict=True))
    steps, found = _steps(grays), []
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        here = slice(start, start + _ROWS_AT_ONCE)
        alike = steps[here] @ steps.T
        alike[part_of[None, :] >= part_of[here, None]] = -1
        for channel in range(3):
            far = abs(colours[here, None, channel] - colours[None, :, channel])
            alike[far > _MOST_COLOUR] = -1
        for row, other in enumerate(alike.argmax(axis=1), start):
            if (likeness := alike[row - start, other]) >= _ALIKE:
                found.append((likeness, str(sources[rows[row]]), rows[other]))
    found.sort(key=lambda each: (-each[0], each[1]))
    return [(path, str(sources[other])) for _, path, other in found]


def are_too_many(sources: Sequence[Source]) -> bool:
    """Tell whether so many images are not compared."""
    # What is not there is refused by its reader.
    sizes = (n_bytes(source) or 0 for source in sources)
    return len(sources) > MOST_IMAGES or sum(sizes) > MOST_BYTES


def warn_of(pairs: Sequence[Pair]) -> None:
    """Warn of pairs, if there are any, and say what to do."""
    if pairs:
        named = counted([" ~ ".join(pair) for pair in pairs])
        warnings.warn(
            "Some images are nearly the same picture as one on another side of the "
            f"split, so that the figures may flatter: {named}. Look at them. "
            "With groups (--groups, or a column of --labels) pictures of one object "
            "stay on one side.",
            stacklevel=3,
        )


def _small(source: Source) -> tuple[np.ndarray, np.ndarray] | None:
    """Return grays, (side, side) in 0..255, and the mean colour; None if too plain.

    Of grays of more than 8 bits, which are stretched, the colour is not known: NaN.
    """
    try:
        with opened(source) as image:
            # A JPEG is decoded at a fraction of its size.
            image.draft(None, (2 * _SIDE, 2 * _SIDE))
            is_deep = image.mode.startswith(("F", "I"))
            image = image.convert("F" if is_deep else "RGB")
            image = image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
            if is_deep:
                values = np.asarray(image)
                gray = (values - values.min()) * (255 / max(np.ptp(values), 1e-9))
                colour = np.full(3, np.nan, np.float32)
            else:
                gray = np.asarray(image.convert("L"), np.float32)
                colour = np.asarray(image, np.float32).mean(axis=(0, 1))
    except UnreadableError:
        return None
    return (gray, colour) if gray.std() >= _LEAST_DEVIATION else None


def _steps(grays: np.ndarray) -> np.ndarray:
    """Return the steps between neighbours without the mean ones, each row's norm 1.

    The norm is 0 where there are too few steps to compare.
    """
    down = np.diff(grays, axis=1)[:, :, :-1]
    right = np.diff(grays, axis=2)[:, :-1]
    steps = np.concatenate([down, right], axis=1).reshape(len(grays), -1)
    energy = steps**2
    places = energy.sum(axis=1) ** 2 / np.maximum((energy**2).sum(axis=1), 1e-9)
    steps -= steps.mean(axis=0)
    norms = np.linalg.norm(steps, axis=1)
    norms[places < _LEAST_PLACES] = np.inf
    return steps / np.maximum(norms, 1e-6)[:, None]
