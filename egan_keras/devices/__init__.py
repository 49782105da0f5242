"""Several devices of one machine, attached to a model from outside when it is compiled.

Under TensorFlow they are the replicas of a `MirroredStrategy`; under JAX Keras itself
gives each device of a `DataParallel` its share of every batch. Importing this room
attaches it; no room above knows of it.
"""

import functools

import keras

from egan_keras.devices import mirrored
from egan_keras.model import EGAN


def attach(model: EGAN) -> dict:
    """Makes a model train on all devices that it was built for.

    Args:
        model: It stays as it is where it was built for one device.

    Returns:
        Options of `keras.Model.compile`.

    Raises:
        ValueError: If it was built for devices that cannot train it.
    """
    if keras.backend.backend() == "tensorflow":
        return mirrored.attach(model)
    if keras.distribution.distribution() is not None:
        # Keras divides batches where it starts each step by itself.
        model.make_train_function = functools.partial(
            keras.Model.make_train_function, model
        )
    return {}


EGAN.attachments.append(attach)

__all__ = ["EGAN", "attach"]
