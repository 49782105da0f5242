"""SavedModel and TFLite: the discriminator alone, checked, with its threshold."""

from egan_keras.exporting.provenance import Provenance
from egan_keras.exporting.result import Export
from egan_keras.exporting.saved_model import export_saved_model
from egan_keras.exporting.tflite import export_tflite
from egan_keras.exporting.tflite_model import TFLiteModel, load_tflite

__all__ = [
    "Export",
    "Provenance",
    "TFLiteModel",
    "export_saved_model",
    "export_tflite",
    "load_tflite",
]
