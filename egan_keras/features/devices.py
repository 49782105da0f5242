"""Accelerators are left to the backend that trains."""

import keras
import tensorflow as tf


def leave_accelerators_to_backend() -> None:
    """Keeps TensorFlow, where it only reads data, from filling a GPU's memory."""
    if keras.backend.backend() == "tensorflow":
        return
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        # Somebody else's use of TensorFlow has taken them before.
        return
