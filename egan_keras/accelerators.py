"""Accelerators: whether one trains, and what TensorFlow leaves of it to others."""

import keras
import tensorflow as tf


def share_accelerators() -> None:
    """Keeps TensorFlow from taking the whole memory of the GPUs.

    Where it only reads data for another backend it sees none of them; where it trains
    it takes memory as it needs it, unless TF_FORCE_GPU_ALLOW_GROWTH says otherwise. To
    be called before TensorFlow computes anything: what builds or loads networks does.
    """
    try:
        if keras.backend.backend() != "tensorflow":
            tf.config.set_visible_devices([], "GPU")
            return
        for device in tf.config.get_visible_devices("GPU"):
            tf.config.experimental.set_memory_growth(device, True)
    except (RuntimeError, ValueError):
        # The program has used or divided them before, as it saw fit.
        return


def has_accelerator() -> bool:
    """Whether the backend computes on another device than the processor."""
    return "cpu" not in str(keras.ops.zeros(()).device).lower()
