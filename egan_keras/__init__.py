"""Find the rare class in images from a handful of examples, in Keras.

    import egan_keras as ek

A score is high for the majority and low for the minority; an image is called minority
when its score is below the model's threshold.

Names are imported when they are first used, since Keras and TensorFlow take seconds to
start. `keras.saving.load_model` knows a saved model once one of them other than
`load_tflite` has been used, or where Keras was imported before this package.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from egan_keras.version import __version__ as __version__

if TYPE_CHECKING:
    # By both names, so that type checkers take them for public.
    from egan_keras.backbones import Backbone as Backbone
    from egan_keras.backbones import cut as cut
    from egan_keras.data import ImageFiles as ImageFiles
    from egan_keras.data import LabelledImages as LabelledImages
    from egan_keras.data import Splits as Splits
    from egan_keras.data import load_folder as load_folder
    from egan_keras.data import load_table as load_table
    from egan_keras.data import load_tfds as load_tfds
    from egan_keras.data import read_images as read_images
    from egan_keras.data import subsample_minority as subsample_minority
    from egan_keras.devices import EGAN as EGAN
    from egan_keras.evaluation import Report as Report
    from egan_keras.evaluation import evaluate as evaluate
    from egan_keras.evaluation import heat_maps as heat_maps
    from egan_keras.evaluation import save_plots as save_plots
    from egan_keras.exporting.exports import export_onnx as export_onnx
    from egan_keras.exporting.exports import export_saved_model as export_saved_model
    from egan_keras.exporting.exports import export_tflite as export_tflite
    from egan_keras.exporting.model_card import Export as Export
    from egan_keras.exporting.model_card import Provenance as Provenance
    from egan_keras.exporting.tflite_model import TFLiteModel as TFLiteModel
    from egan_keras.exporting.tflite_model import load_tflite as load_tflite
    from egan_keras.losses import AdversarialLoss as AdversarialLoss
    from egan_keras.losses import Hinge as Hinge
    from egan_keras.losses import LeastSquares as LeastSquares
    from egan_keras.losses import NonSaturating as NonSaturating
    from egan_keras.losses import Wasserstein as Wasserstein
    from egan_keras.model import calibrate_cross_fitted as calibrate_cross_fitted
    from egan_keras.model import cross_fitted_scores as cross_fitted_scores
    from egan_keras.networks import RECIPES as RECIPES
    from egan_keras.networks import Recipe as Recipe
    from egan_keras.scale import FeatureTable as FeatureTable
    from egan_keras.thresholds import Calibration as Calibration
    from egan_keras.thresholds import images_needed as images_needed
    from egan_keras.tuning import EGANHyperModel as EGANHyperModel
    from egan_keras.tuning import Search as Search
    from egan_keras.tuning import search_pairings as search_pairings

_NAMES = {
    "backbones": ["Backbone", "cut"],
    "data": [
        "ImageFiles",
        "LabelledImages",
        "Splits",
        "load_folder",
        "load_table",
        "load_tfds",
        "read_images",
        "subsample_minority",
    ],
    "devices": ["EGAN"],
    "evaluation": ["Report", "evaluate", "heat_maps", "save_plots"],
    "exporting.exports": ["export_onnx", "export_saved_model", "export_tflite"],
    "exporting.model_card": ["Export", "Provenance"],
    "exporting.tflite_model": ["TFLiteModel", "load_tflite"],
    "losses": "AdversarialLoss Hinge LeastSquares NonSaturating Wasserstein".split(),
    "model": ["calibrate_cross_fitted", "cross_fitted_scores"],
    "networks": ["RECIPES", "Recipe"],
    "scale": ["FeatureTable"],
    "thresholds": ["Calibration", "images_needed"],
    "tuning": ["EGANHyperModel", "Search", "search_pairings"],
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}
_ROOMS = {module.partition(".")[0] for module in _NAMES}
__all__ = sorted(_MODULE_OF)
# Who loads a .tflite file has no model of Keras's to load, and does not wait for it.
_WITHOUT_KERAS = {"TFLiteModel", "load_tflite", "data", "thresholds"}


def __getattr__(name: str) -> Any:
    """Imports a public name, or a room, when it is first used (PEP 562)."""
    if name not in _MODULE_OF and name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    needs_keras = name not in _WITHOUT_KERAS
    if needs_keras:
        # First, since it says what to do where Keras's backend is not there.
        importlib.import_module("egan_keras.keras_hooks")
    value = importlib.import_module(f"egan_keras.{_MODULE_OF.get(name, name)}")
    if name in _MODULE_OF:
        if needs_keras:
            _attach_and_register()
        value = getattr(value, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Returns the public names, as if all were imported."""
    return sorted({*globals(), *__all__})


def _attach_and_register() -> None:
    """Lets models train on several devices, and Keras know those that were saved."""
    importlib.import_module("egan_keras.devices")


if "keras" in sys.modules:
    _attach_and_register()
