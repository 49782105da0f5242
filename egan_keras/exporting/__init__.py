"""SavedModel and TFLite: the discriminator alone, checked, with its threshold."""

from egan_keras.exporting.exports import export_saved_model, export_tflite
from egan_keras.exporting.model_card import Export, Provenance
from egan_keras.exporting.tflite_model import TFLiteModel, load_tflite

__all__ = [
    "Export",
    "Provenance",
    "TFLiteModel",
    "export_saved_model",
    "export_tflite",
    "load_tflite",
]
