"""The steps that Keras calls: `Step` is that of the backend which Keras runs on."""

import importlib

import keras

BACKEND = keras.backend.backend()

if BACKEND not in ("tensorflow", "jax", "torch"):
    raise ImportError(
        "egan_keras trains on TensorFlow, JAX or PyTorch; expected KERAS_BACKEND "
        f"tensorflow, jax or torch. Received: {BACKEND!r}. Set the environment "
        "variable KERAS_BACKEND, or leave it out."
    )

Step = importlib.import_module(f"egan_keras.model.step.{BACKEND}").Step
