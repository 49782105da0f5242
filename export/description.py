"""What a model says of itself: the metadata inside it and the JSON beside it."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from decoding import check_gray_range

METADATA = "egan_keras"
FORMAT = "egan-keras"
FORMAT_VERSION = 1

_DTYPES = ("uint8", "float32")


class ModelError(ValueError):
    """A model that cannot be used; the message says why and what to do."""


class ChangedModelError(ModelError):
    """A model that is not the one the JSON beside it describes."""


class Description(NamedTuple):
    """What is known of a model.

    Attributes:
        path: the file, for messages.
        metadata: the object inside the model.
        height: of the images the model takes, in pixels.
        width: of the images the model takes, in pixels.
        dtype: of the pixels the model takes, "uint8" or "float32".
        gray_range: the values that are black and white in grayscale images of more
            than 8 bits; None takes all that their type can hold.
    """

    path: Path
    metadata: dict[str, Any]
    height: int
    width: int
    dtype: str
    gray_range: tuple[float, float] | None = None


def describe(path: Path, metadata: dict[str, bytes]) -> Description:
    """Read the object that egan_keras put into a model.

    Args:
        path: the model, for messages.
        metadata: the model's metadata by name.

    Raises:
        ModelError: if there is none, or it is not of the format this kit knows.
    """
    if METADATA not in metadata:
        raise ModelError(
            "The model holds nothing from egan_keras that would tell its size, "
            "classes and threshold; expected a file written by `egan-keras export`. "
            f"Received: model={str(path)!r}. Export the model again."
        )
    found = parse_object(metadata[METADATA], path)
    try:
        _, height, width, channels = found["input"]["shape"]
        dtype = found["input"]["dtype"]
        gray_range = check_gray_range(found["input"].get("gray_range"))
        usable = (
            all(type(size) is int and size > 0 for size in (height, width))
            and channels == 3
            and dtype in _DTYPES
            and isinstance(found["threshold"]["threshold"], int | float)
            and all(found["classes"][role] for role in ("majority", "minority"))
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        usable = False
    if not usable:
        raise ModelError(
            "What the model says of itself is incomplete; expected `input`, `classes` "
            f"and `threshold`. Received: model={str(path)!r}. Export the model again."
        )
    return Description(path, found, height, width, dtype, gray_range)


def parse_object(text: bytes, path: Path) -> dict[str, Any]:
    """Parse JSON of the format this kit knows.

    Args:
        text: UTF-8 JSON.
        path: where it comes from, for messages.

    Raises:
        ModelError: if it is no object of that format and version.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"The description of the model is no JSON ({error}). Received: "
            f"path={str(path)!r}. Export the model again."
        ) from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ModelError(
            f"The JSON does not describe a model; expected format {FORMAT!r}. "
            f"Received: path={str(path)!r}. Move it elsewhere, or export the model "
            "again."
        )
    if found.get("format_version") != FORMAT_VERSION:
        raise ModelError(
            "The model was exported in another version of the format; expected "
            f"{FORMAT_VERSION}. Received: format_version="
            f"{found.get('format_version')!r} in {str(path)!r}. Take this folder from "
            "the egan_keras that exported the model."
        )
    return found


def read_beside(model: Path, data: bytes) -> dict[str, Any] | None:
    """Read the JSON beside a model and check that it describes this very file.

    Args:
        model: the .tflite file; the JSON has its name with the suffix .json.
        data: the model's bytes.

    Returns:
        The object, or None if there is no JSON.

    Raises:
        ChangedModelError: if the model's SHA-256 is not the one in the JSON.
        ModelError: if the JSON is damaged or describes something else.
    """
    path = model.with_suffix(".json")
    if not path.is_file():
        return None
    found = parse_object(path.read_bytes(), path)
    try:
        expected = found["file"]["sha256"]
    except (KeyError, TypeError) as error:
        raise ModelError(
            "The JSON beside the model names no SHA-256; expected `file.sha256`. "
            f"Received: path={str(path)!r}. Export the model again."
        ) from error
    actual = hashlib.sha256(data).hexdigest()
    if actual != expected:
        raise ChangedModelError(
            f"The model is not the file that {path.name} beside it describes: its "
            f"SHA-256 is {actual}, expected {expected}. Received: "
            f"model={str(model)!r}. Copy both again."
        )
    return found


def in_words(description: Description) -> str:
    """Return what a person wants to know of a model, in lines."""
    found = description.metadata
    threshold = found["threshold"]
    said = threshold.get("guarantee") or "none is stated"
    if not threshold.get("calibrated", True):
        said = "none, the model was not calibrated"
    lines = {
        "image size": f"{description.width} x {description.height} pixels (width x "
        "height); other images are stretched to it",
        "input": f"RGB, {description.dtype}, 0 to 255",
        "gray range": _range_in_words(description.gray_range),
        "majority": f"{', '.join(map(str, found['classes']['majority']))} (high score)",
        "minority": f"{', '.join(map(str, found['classes']['minority']))} (low score)",
        "threshold": f"{threshold['threshold']:.6g}; minority where the score is below",
        "guarantee": said,
        "numbers in": found.get("quantize", "not stated"),
        "networks": f"{found.get('pairing', 'not stated')}, recipe "
        f"{found.get('recipe', 'not stated')}",
        "made by": f"egan_keras {found.get('package_version', 'not stated')}",
    }
    return "\n".join(f"{name + ':':<12} {value}" for name, value in lines.items())


def _range_in_words(gray_range: tuple[float, float] | None) -> str:
    """Return what becomes of images of more than 8 bits."""
    if gray_range is None:
        return "images of more than 8 bits are read by all that their type can hold"
    black, white = gray_range
    return (
        f"in images of more than 8 bits, {black:.10g} is black and {white:.10g} white"
    )
