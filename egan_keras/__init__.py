"""Find the rare class in images from a handful of examples, in Keras.

    import egan_keras as ek

A score is high for the majority and low for the minority; an image is called minority
when its score is below the model's threshold.
"""

import sys
from pathlib import Path

from egan_keras.backend import import_keras
from egan_keras.version import __version__ as __version__

# The command line imports what it needs by itself, after it has read its arguments:
# `egan-keras --help` would take ten seconds otherwise.
_PROGRAM = Path(*sys.argv[:1]).name in ("egan-keras", "egan-keras.exe")
_MODULE = ("-m", "egan_keras") in zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
if not (_PROGRAM or (_MODULE and sys.argv[:1] == ["-m"])):
    import_keras()

    from egan_keras import devices as devices  # attaches itself to EGAN
    from egan_keras.backbones import Backbone, cut
    from egan_keras.data import (
        ImageFiles,
        LabelledImages,
        Splits,
        load_folder,
        load_tfds,
        read_images,
        subsample_minority,
    )
    from egan_keras.evaluation import Report, evaluate, save_plots
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
    from egan_keras.model import EGAN
    from egan_keras.networks import RECIPES, Recipe
    from egan_keras.thresholds import Calibration, images_needed
    from egan_keras.tuning import EGANHyperModel, Search, search_pairings

__all__ = [
    "EGAN",
    "EGANHyperModel",
    "RECIPES",
    "AdversarialLoss",
    "Backbone",
    "Calibration",
    "Export",
    "Hinge",
    "ImageFiles",
    "LabelledImages",
    "LeastSquares",
    "NonSaturating",
    "Provenance",
    "Recipe",
    "Report",
    "Search",
    "Splits",
    "TFLiteModel",
    "Wasserstein",
    "cut",
    "evaluate",
    "export_saved_model",
    "export_tflite",
    "images_needed",
    "load_folder",
    "load_tflite",
    "load_tfds",
    "read_images",
    "save_plots",
    "search_pairings",
    "subsample_minority",
]
