"""Training with features kept on the device, run by tests/test_backends.py.

    KERAS_BACKEND=jax python tests/helpers/backend_tables.py MODEL.keras IMAGES.npz

trains a saved model twice: with rows that come with each batch, and with rows that
steps take of tables, whether or not the backend is faster with them. The latter are
started three at a time, where the backend can.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from egan_keras import keras_hooks
from egan_keras.features import training_rows

_IS_TORCH = keras.backend.backend() == "torch"


class Score(keras.callbacks.Callback):
    """Scores images within training, as a user's callback may."""

    def __init__(self, images) -> None:
        super().__init__()
        self.images, self.scores = images, []

    def on_epoch_end(self, epoch, logs=None):
        self.scores.append(self.model.predict(self.images, verbose=0))


def train(path: str, images, labels, steps_per_execution: int) -> list:
    """Returns losses, scores within and after training, and weights."""
    keras.utils.set_random_seed(0)
    model = keras.saving.load_model(path)
    optimizers = model.optimizer, model.generator_optimizer
    model.compile(*optimizers, steps_per_execution=steps_per_execution)
    scored = Score(images)
    history = model.fit(
        images,
        labels,
        batch_size=16,
        epochs=2,
        verbose=0,
        validation_data=(images, labels),
        callbacks=[scored],
    ).history
    evaluated = model.evaluate(images, labels, verbose=0)
    weights = map(keras.ops.convert_to_numpy, model.weights)
    return [*history.values(), *scored.scores, evaluated, *weights]


def main() -> None:
    """Compares both."""
    if keras.backend.backend() == "jax" and len(keras.distribution.list_devices()) > 1:
        # Before any variable is made.
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    arrays = np.load(sys.argv[2])
    data = sys.argv[1], arrays["images"], arrays["labels"]
    results = []
    for kept, at_once in ((False, 1), (True, 1 if _IS_TORCH else 3)):
        training_rows.tables_are_faster = lambda kept=kept: kept
        keras_hooks.has_accelerator = training_rows.tables_are_faster
        results.append(train(*data, at_once))
    for expected, found in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    main()
