"""What one backend makes of saved models: run by tests/test_backends.py.

    KERAS_BACKEND=jax python tests/helpers/backend_run.py FOLDER float64

The second argument is Keras's policy of types. FOLDER holds `images.npz` and, for each
case, `<case>.keras`, untrained. Below FOLDER/<backend> it leaves `<case>.keras`, after
ten steps or more, and `<case>.npz`: losses after each step, weights and scores.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras.src.backend.common import dtypes

from egan_keras.model import step

BATCH = 16


class Losses(keras.callbacks.Callback):
    """Keeps the running means that each step returns."""

    def on_train_begin(self, logs=None):
        self.rows = []

    def on_train_batch_end(self, batch, logs=None):
        self.rows.append([logs["discriminator_loss"], logs["generator_loss"]])


def compute_in(policy: str) -> None:
    """Sets the type that layers compute in."""
    keras.config.set_dtype_policy(policy)
    if policy == "float64":
        keras.config.set_floatx(policy)
    # On JAX and PyTorch, Keras has batch normalisation compute in 32 bits at most.
    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"


def train(folder: Path, out: Path, case: str) -> None:
    """Takes the steps of an epoch from saved weights, in a fixed order."""
    arrays = np.load(folder / "images.npz")
    model = keras.saving.load_model(folder / f"{case}.keras")
    optimizers = model.optimizer, model.generator_optimizer
    model.compile(*optimizers, steps_per_execution=1)
    losses = Losses()
    model.fit(
        arrays["images"],
        arrays["labels"],
        batch_size=BATCH,
        epochs=1,
        verbose=0,
        shuffle=False,
        callbacks=[losses],
        cache_features="memory",
    )
    model.save(out / f"{case}.keras")
    np.savez(
        out / f"{case}.npz",
        losses=losses.rows,
        scores=model.predict(arrays["images"], verbose=0),
        **{
            f"weight_{number}": keras.ops.convert_to_numpy(weight)
            for number, weight in enumerate(model.weights)
        },
    )


def main() -> None:
    """Trains each saved model."""
    assert issubclass(step.of_backend(), step.Step)
    folder = Path(sys.argv[1])
    compute_in(sys.argv[2])
    out = folder / keras.backend.backend()
    out.mkdir()
    for path in sorted(folder.glob("*.keras")):
        train(folder, out, path.stem)


if __name__ == "__main__":
    main()
