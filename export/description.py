"""What a model says of itself: the metadata inside it and the JSON beside it."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import schemas
from text import printable

METADATA = "egan_keras"

# Lists of classes, and of golden samples, may be long.
_MOST_BYTES = 1024**2
_MOST_BYTES_BESIDE = 16 * 1024**2


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
    found = parse_object(metadata[METADATA], path, schemas.METADATA, _MOST_BYTES)
    given = found["input"]
    _, height, width, _ = given["shape"]
    gray_range = given.get("gray_range")
    if gray_range is not None and not gray_range[0] < gray_range[1]:
        raise ModelError(
            "The model's range of grays is none; expected black below white. Received: "
            f"input.gray_range={gray_range} in {str(path)!r}. Export the model again."
        )
    return Description(
        path, found, height, width, given["dtype"], gray_range and tuple(gray_range)
    )


def parse_object(
    text: bytes, path: Path, schema: schemas.Schema, most_bytes: int
) -> dict[str, Any]:
    """Parse JSON of the format this kit knows.

    Args:
        text: UTF-8 JSON.
        path: where it comes from, for messages.
        schema: what it must be.
        most_bytes: how long it may be.

    Raises:
        ModelError: if it is no object of that format and version, or one of its values
            cannot be.
    """
    try:
        if len(text) > most_bytes:
            raise ValueError(f"it has {len(text)} bytes, more than {most_bytes}")
        found = schemas.parse(text, schemas.ANYTHING)
    except ValueError as error:
        raise ModelError(
            f"The description of the model is no JSON ({error}). Received: "
            f"path={str(path)!r}. Export the model again."
        ) from error
    if found.get("format") != schemas.FORMAT:
        raise ModelError(
            f"The JSON does not describe a model; expected format {schemas.FORMAT!r}. "
            f"Received: path={str(path)!r}. Move it elsewhere, or export the model "
            "again."
        )
    if found.get("format_version") != schemas.FORMAT_VERSION:
        raise ModelError(
            "The model was exported in another version of the format; expected "
            f"{schemas.FORMAT_VERSION}. Received: format_version="
            f"{str(found.get('format_version'))[:20]!r} in {str(path)!r}. Take this "
            "folder from the egan_keras that exported the model."
        )
    try:
        schemas.check(found, schema)
    except ValueError as error:
        raise ModelError(
            "What the model says of itself is incomplete or wrong; expected what "
            f"`egan-keras export` wrote. Received: {str(path)!r} ({error}). Export the "
            "model again."
        ) from error
    return found


def check_threshold(description: Description, threshold: float) -> None:
    """Check that a model tells the threshold that its network has in it.

    Raises:
        ModelError: if it does not.
    """
    told = description.metadata["threshold"]["threshold"]
    if np.float32(told) != np.float32(threshold):
        raise ModelError(
            "The model tells another threshold than its network has in it; expected "
            f"{threshold:.9g}. Received: threshold.threshold={told:.9g} in "
            f"{str(description.path)!r}. Export the model again."
        )


def check_agreement(beside: dict[str, Any] | None, description: Description) -> None:
    """Check that the JSON beside a model tells what the model itself does.

    Raises:
        ChangedModelError: if it tells something else.
    """
    inside = description.metadata
    other = [] if beside is None else [k for k in inside if beside.get(k) != inside[k]]
    if other:
        raise ChangedModelError(
            "The JSON beside the model tells other things than the model itself; "
            f"expected the same {', '.join(other)}. Received: "
            f"model={str(description.path)!r}. Copy both again."
        )


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
    n_bytes = path.stat().st_size
    if n_bytes > _MOST_BYTES_BESIDE:
        raise ModelError(
            f"The JSON beside the model has {n_bytes} bytes, more than the "
            f"{_MOST_BYTES_BESIDE} allowed. Received: path={str(path)!r}. Copy it "
            "again, or export the model again."
        )
    text = path.read_bytes()
    found = parse_object(text, path, schemas.BESIDE, _MOST_BYTES_BESIDE)
    expected = found["file"]["sha256"]
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
    said = threshold["guarantee"]
    if not threshold["calibrated"]:
        said = "none, the model was not calibrated"
    lines = {
        "image size": f"{description.width} x {description.height} pixels (width x "
        "height); other images are stretched to it",
        "input": f"RGB, {description.dtype}, 0 to 255",
        "gray range": _range_in_words(description.gray_range),
        "majority": f"{', '.join(found['classes']['majority'])} (high score)",
        "minority": f"{', '.join(found['classes']['minority'])} (low score)",
        "threshold": f"{threshold['threshold']:.6g}; minority where the score is below",
        "guarantee": said,
        "numbers in": found.get("quantize", "not stated"),
        "networks": f"{found.get('pairing', 'not stated')}, recipe "
        f"{found.get('recipe', 'not stated')}",
        "made by": f"egan_keras {found.get('package_version', 'not stated')}",
    }
    return "\n".join(
        f"{name + ':':<12} {printable(value)}" for name, value in lines.items()
    )


def _range_in_words(gray_range: tuple[float, float] | None) -> str:
    """Return what becomes of images of more than 8 bits."""
    if gray_range is None:
        return "images of more than 8 bits are read by all that their type can hold"
    black, white = gray_range
    return (
        f"in images of more than 8 bits, {black:.10g} is black and {white:.10g} white"
    )
