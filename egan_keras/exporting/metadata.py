"""What a .tflite file tells of itself, inside it and beside it."""

import json
import struct
from typing import TYPE_CHECKING, Any

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from egan_keras.evaluation.environment import versions
from egan_keras.exporting.provenance import Provenance
from egan_keras.thresholds import Calibration

if TYPE_CHECKING:
    from egan_keras.model import EGAN

FORMAT = "egan-keras"
FORMAT_VERSION = 1
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
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "quantize": "float32" if form == "none" else form,
        "pairing": model.pairing,
        "recipe": model.recipe,
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


def read_metadata(content: bytes) -> dict[str, Any]:
    """Returns what `embed` put into a .tflite file.

    Raises:
        ValueError: If there is nothing of the kind in it, or it is damaged.
    """
    if content[4:8] != b"TFL3":
        raise ValueError(
            "The file is no TFLite model; expected the identifier TFL3 in its first "
            f"eight bytes. Received: {content[:8]!r}, {len(content)} bytes. Export the "
            "run again."
        )
    try:
        model = schema.Model.GetRootAsModel(content, 0)
        entries = (model.Metadata(index) for index in range(model.MetadataLength()))
        found = next(entry for entry in entries if entry.Name() == ENTRY)
        text = model.Buffers(found.Buffer()).DataAsNumpy().tobytes()
        metadata = json.loads(text)
    except StopIteration:
        metadata = {}
    except _UNREADABLE as error:
        raise ValueError(
            "The TFLite model is damaged; expected a file as `egan-keras export` wrote "
            f"it. Received: {len(content)} bytes ({error}). Copy or export it again."
        ) from error
    known = (metadata.get("format"), metadata.get("format_version"))
    if known != (FORMAT, FORMAT_VERSION):
        raise ValueError(
            "The TFLite model does not tell its size and threshold as this package's "
            f"exports do; expected format {FORMAT!r}, version {FORMAT_VERSION}. "
            f"Received: format={known[0]!r}, version={known[1]!r}. Export it with "
            "`egan-keras export` of this version."
        )
    return metadata
