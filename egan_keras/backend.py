"""Keras on the backend that was asked for, or one sentence that says what to do."""

import os
from types import ModuleType


def import_keras() -> ModuleType:
    """Imports Keras, and returns it.

    Raises:
        ImportError: if the backend that KERAS_BACKEND or keras.json names is not
            installed, or there is none of that name.
    """
    try:
        import keras
    except (ImportError, ValueError) as error:
        named = os.environ.get("KERAS_BACKEND")
        folder = os.environ.get("KERAS_HOME", os.path.join("~", ".keras"))
        received = (
            f"KERAS_BACKEND={named}"
            if named
            else f"what {os.path.join(folder, 'keras.json')} names"
        )
        raise ImportError(
            "Keras cannot start on the backend that was asked for; expected "
            "tensorflow, which is installed with egan_keras, jax or torch. Received: "
            f"{received} ({error}). Set KERAS_BACKEND=tensorflow, or install the "
            "other one: pip install 'egan-keras[jax]' (or [backends] for PyTorch too)."
        ) from error
    return keras
