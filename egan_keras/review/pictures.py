"""Images and their heat maps as JPEG files that a page shows."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from egan_keras.data.decoding import GrayRange, decode
from egan_keras.evaluation.sheets import overlaid

SIDE = 800
_QUALITY = 90


def picture(path: Path, gray_range: GrayRange | None = None) -> bytes:
    """Returns an image as a JPEG file, its longest side at most 800 pixels.

    It is decoded, within the package's limits, and encoded anew: what else the file
    holds does not get to the page.

    Raises:
        UnreadableError: If it cannot be decoded, or is gone.
    """
    return _as_jpeg(_shrunk(path, gray_range))


def heat_picture(
    path: Path,
    size: tuple[int, int],
    heat_map: Callable[[np.ndarray], np.ndarray],
    gray_range: GrayRange | None = None,
) -> bytes:
    """Returns an image in shades of gray under its heat map, as `picture`.

    Args:
        path: The image.
        size: (height, width) of the images that the model takes.
        heat_map: From an image of this size, uint8 (h, w, 3), to its heat map (h, w).
        gray_range: As for `ek.load_folder`.

    Raises:
        UnreadableError: If it cannot be decoded, or is gone.
    """
    shown = _shrunk(path, gray_range)
    heat = Image.fromarray(heat_map(decode(path, size, gray_range).pixels))
    heat = heat.resize(shown.size, Image.Resampling.BILINEAR)
    marked = overlaid(np.asarray(shown), np.asarray(heat))
    return _as_jpeg(Image.fromarray(marked))


def _shrunk(path: Path, gray_range: GrayRange | None) -> Image.Image:
    shown = Image.fromarray(decode(path, None, gray_range).pixels)
    shown.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return shown


def _as_jpeg(shown: Image.Image) -> bytes:
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return buffer.getvalue()
