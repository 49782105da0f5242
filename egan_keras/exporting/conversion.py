"""From a SavedModel to the bytes of a .tflite file, in four forms."""

import os
import re

import numpy as np
import tensorflow as tf

from egan_keras.exporting.graph import SIGNATURE
from egan_keras.exporting.quantization import quantize_int8

FORMS = ("none", "float16", "dynamic", "int8")


def convert(
    saved_model: str | os.PathLike,
    form: str,
    *,
    representative: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> bytes:
    """Converts a SavedModel with TFLite's built-in operators alone.

    Args:
        saved_model: Its folder.
        form: `"none"` for float32, `"float16"` for weights of 16 bits, `"dynamic"`
            for weights of 8 bits, `"int8"` for weights and activations of 8 bits.
        representative: Images (n, h, w, 3), 0..255, whose activations set the ranges
            of int8.
        labels: Of these images, (n,), 0 = majority; `None` if most are.

    Raises:
        ValueError: If the architecture has operators that TFLite lacks, or none that
            int8 is for.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(
        os.fspath(saved_model), signature_keys=[SIGNATURE]
    )
    if form in ("float16", "dynamic"):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form == "float16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        content = converter.convert()
    # It answers with errors of many types.
    except Exception as error:
        raise ValueError(_reason(error)) from error
    if form == "int8":
        return quantize_int8(content, representative, labels)
    return content


def _reason(error: Exception) -> str:
    """Names the operators that are in the way."""
    named = sorted(set(re.findall(r"'tfl?\.(\w+)' op", str(error))))
    if named:
        return (
            "The architecture cannot be converted: TFLite has no built-in operator for "
            f"a part of it; expected built-in operators alone. Received: "
            f"{', '.join(named)}. Choose another backbone, or export a SavedModel."
        )
    said = (str(error).strip().splitlines() or [""])[0][:300]
    return (
        "TFLite's converter failed; expected a network that it can convert. Received: "
        f"{type(error).__name__}: {said}. Choose another backbone, or export a "
        "SavedModel."
    )
