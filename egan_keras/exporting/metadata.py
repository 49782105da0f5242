"""What a .tflite file tells of itself, inside it and beside it."""

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from egan_keras import schemas
from egan_keras.evaluation.environment import versions
from egan_keras.exporting.provenance import Provenance
from egan_keras.thresholds import Calibration

if TYPE_CHECKING:
    from egan_keras.model import EGAN

ENTRY = b"egan_keras"

_UNCALIBRATED = Calibration(
    threshold=0.0,
    criterion="uncalibrated",
    target=None,
    confidence=None,
    n_majority=0,
    n_minority=0,
    guarantee="No guarantee: the threshold was not calibrated.",
)
# What a damaged or foreign file makes of reading it.
_UNREADABLE = (struct.error, IndexError, ValueError, AttributeError, TypeError)
# The list of classes may be long.
_MOST_BYTES = 1024**2


def describe(
    model: "EGAN",
    provenance: Provenance,
    *,
    form: str,
    input_dtype: str,
    batch_size: int | None,
    calibration: Calibration | None,
) -> dict[str, Any]:
    """Returns what an export tells of itself, as an object that JSON can hold.

    Args:
        model: The model that is exported.
        provenance: What it was trained on.
        form: `"savedmodel"`, or a form as in `conversion.convert`.
        input_dtype: Type of the pixels it takes.
        batch_size: 1 or `None`, which is free.
        calibration: How the threshold was set; `None` if it was not.
    """
    gray_range = provenance.gray_range
    return {
        "format": schemas.FORMAT,
        "format_version": schemas.FORMAT_VERSION,
        "quantize": "float32" if form == "none" else form,
        "pairing": model.pairing,
        "recipe": str(model.recipe),
        "seed": provenance.seed,
        "input": {
            "name": "images",
            "dtype": input_dtype,
            "shape": [batch_size, *model.image_shape],
            "colour_order": "RGB",
            "range": [0, 255],
            "resize": "stretch",
            **({"gray_range": list(gray_range)} if gray_range else {}),
        },
        "outputs": {
            "score": "float32 (n, 1): high = majority, low = minority",
            "is_minority": "float32 (n, 1): 1 where score < threshold, else 0",
        },
        "classes": {
            "majority": list(provenance.majority),
            "minority": list(provenance.minority),
        },
        "threshold": {
            "calibrated": calibration is not None,
            **(calibration or _UNCALIBRATED).to_dict(),
        },
        "package_version": versions()["egan-keras"],
    }


def embed(content: bytes, metadata: dict[str, Any]) -> bytes:
    """Returns a .tflite file with metadata inside; it scores as before."""
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    buffer = schema.BufferT()
    buffer.data = list(json.dumps(metadata, allow_nan=False).encode())
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = ENTRY, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def read_metadata(content: bytes, path: Path | None = None) -> dict[str, Any]:
    """Returns what `embed` put into a .tflite file.

    Args:
        content: The bytes of the file.
        path: The file, for messages.

    Raises:
        ValueError: If there is nothing of the kind in it, it is damaged, or says what
            cannot be.
    """
    received = f"{len(content)} bytes" if path is None else repr(str(path))
    if content[4:8] != b"TFL3":
        raise ValueError(
            "The file is no TFLite model; expected the identifier TFL3 in its first "
            f"eight bytes. Received: {received}, which begin with {content[:8]!r}. "
            "Export the run again."
        )
    try:
        text = _entry(content)
    except _UNREADABLE as error:
        raise ValueError(
            "The TFLite model is damaged; expected a file as `egan-keras export` wrote "
            f"it. Received: {received} ({error}). Copy or export it again."
        ) from error
    try:
        if len(text) > _MOST_BYTES:
            raise ValueError(f"it has {len(text)} bytes, more than {_MOST_BYTES}")
        return schemas.parse(text, schemas.METADATA)
    except ValueError as error:
        raise ValueError(
            "The TFLite model does not tell its size and threshold as this package's "
            f"exports do; expected its entry {ENTRY.decode()!r} in format "
            f"{schemas.FORMAT!r}, version {schemas.FORMAT_VERSION}. Received: "
            f"{received} ({error}). Export it with `egan-keras export` of this version."
        ) from error


def _entry(content: bytes) -> bytes:
    """Returns the text that `embed` put into a file; an empty one if it did not."""
    model = schema.Model.GetRootAsModel(content, 0)
    for index in range(model.MetadataLength()):
        if model.Metadata(index).Name() == ENTRY:
            buffer = model.Buffers(model.Metadata(index).Buffer())
            return buffer.DataAsNumpy().tobytes()
    return b"{}"
