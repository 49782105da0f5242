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
    from egan_keras.backbones import Backbone, cut
    from egan_keras.data import (
        ImageFiles,
        LabelledImages,
        Splits,
        load_folder,
        load_table,
        load_tfds,
        read_images,
        subsample_minority,
    )
    from egan_keras.devices import EGAN
    from egan_keras.evaluation import Report, evaluate, heat_maps, save_plots
    from egan_keras.exporting import (
        Export,
        Provenance,
        TFLiteModel,
        export_saved_model,
        export_tflite,
        load_tflite,
    )
    from egan_keras.losses import (
        AdversarialLoss,
        Hinge,
        LeastSquares,
        NonSaturating,
        Wasserstein,
    )
    from egan_keras.model import calibrate_cross_fitted, cross_fitted_scores
    from egan_keras.networks import RECIPES, Recipe
    from egan_keras.scale import FeatureTable
    from egan_keras.thresholds import Calibration, images_needed
    from egan_keras.tuning import EGANHyperModel, Search, search_pairings

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
    "exporting": [
        "Export",
        "Provenance",
        "TFLiteModel",
        "export_saved_model",
        "export_tflite",
        "load_tflite",
    ],
    "losses": "AdversarialLoss Hinge LeastSquares NonSaturating Wasserstein".split(),
    "model": ["calibrate_cross_fitted", "cross_fitted_scores"],
    "networks": ["RECIPES", "Recipe"],
    "scale": ["FeatureTable"],
    "thresholds": ["Calibration", "images_needed"],
    "tuning": ["EGANHyperModel", "Search", "search_pairings"],
}
_ROOM_OF = {name: room for room, names in _NAMES.items() for name in names}
__all__ = sorted(_ROOM_OF)
# Who loads a .tflite file has no model of Keras's to load, and does not wait for it.
_WITHOUT_KERAS = {"TFLiteModel", "load_tflite", "data", "thresholds"}


def __getattr__(name: str) -> Any:
    """Imports a public name, or a room, when it is first used (PEP 562)."""
    if name not in _ROOM_OF and name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    needs_keras = name not in _WITHOUT_KERAS
    if needs_keras:
        # First, since it says what to do where Keras's backend is not there.
        importlib.import_module("egan_keras.keras_hooks")
    value = importlib.import_module(f"egan_keras.{_ROOM_OF.get(name, name)}")
    if name in _ROOM_OF:
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
