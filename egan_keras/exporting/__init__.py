"""SavedModel, TFLite and ONNX: the discriminator alone, checked, with its threshold.

Scoring with a .tflite file needs neither Keras nor TensorFlow, and does not wait for
them.
"""

import importlib
from typing import TYPE_CHECKING, Any

from egan_keras.exporting.tflite_model import TFLiteModel, load_tflite

if TYPE_CHECKING:
    from egan_keras.exporting.exports import (
        export_onnx,
        export_saved_model,
        export_tflite,
    )
    from egan_keras.exporting.model_card import Export, Provenance

_WRITING = {
    "Export": "model_card",
    "Provenance": "model_card",
    "export_onnx": "exports",
    "export_saved_model": "exports",
    "export_tflite": "exports",
}
__all__ = [
    "Export",
    "Provenance",
    "TFLiteModel",
    "export_onnx",
    "export_saved_model",
    "export_tflite",
    "load_tflite",
]


def __getattr__(name: str) -> Any:
    """Imports what writes exports when it is first used (PEP 562)."""
    if name not in _WRITING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    file = importlib.import_module(f"egan_keras.exporting.{_WRITING[name]}")
    return getattr(file, name)
