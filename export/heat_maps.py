"""Draws images beside themselves under their heat maps, as egan_keras does."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

_COLOUR = 0xD5, 0x5E, 0x00
_MOST_OPAQUE = 0.75
_LUMA = 0.299, 0.587, 0.114
_LONGEST_STEM = 80


def overlaid(image: np.ndarray, heat_map: np.ndarray) -> np.ndarray:
    """Return an image in shades of gray under its heat map, uint8 (h, w, 3).

    The colour begins at 0 and is strongest from 1 on, whatever the image's largest.

    Args:
        image: RGB pixels, uint8 (h, w, 3).
        heat_map: float (h, w).
    """
    gray = image.astype(float) @ _LUMA
    opaque = _MOST_OPAQUE * np.clip(heat_map, 0, 1)[..., None]
    mixed = (1 - opaque) * gray[..., None] + opaque * np.array(_COLOUR)
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)


def prepare(folder: Path) -> None:
    """Make the folder of the pictures, and refuse one that holds anything.

    Raises:
        FileExistsError: if something is there already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            "There is something already where the heat maps would go; expected a new "
            f"or empty folder. Received: --heat-maps {str(folder)!r}. Name another one."
        )
    folder.mkdir(parents=True, exist_ok=True)


def write(folder: Path, number: int, path: Path, image: np.ndarray, heat_map) -> None:
    """Write the picture NUMBER_NAME.png of an image."""
    target = folder / f"{number:05}_{path.stem[:_LONGEST_STEM]}.png"
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        picture = Image.fromarray(np.hstack([image, overlaid(image, heat_map)]))
        picture.save(partial, format="PNG")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
