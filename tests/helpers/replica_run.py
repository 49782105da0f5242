"""Training on JAX's devices, run by tests/test_replicas.py.

    KERAS_BACKEND=jax python tests/helpers/replica_run.py MODEL.keras IMAGES.npz OUT.npz

Where there are several devices, each takes its share of every batch.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import egan_keras  # noqa: F401


def main() -> None:
    """Trains, validates, calibrates and scores."""
    model_path, images_path, out = sys.argv[1:]
    devices = keras.distribution.list_devices()
    if len(devices) > 1:
        # Before any variable is made.
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=devices)
        )
    arrays = np.load(images_path)
    data = arrays["images"], arrays["labels"]
    model = keras.saving.load_model(model_path)
    model.compile()
    history = model.fit(
        *data, batch_size=16, epochs=1, verbose=0, shuffle=False, validation_data=data
    ).history
    # Upside down they are images that training did not see.
    calibration = model.calibrate(data[0][:, ::-1], data[1], specificity=0.9)
    np.savez(
        out,
        devices=len(devices),
        logs=[history[name][-1] for name in sorted(history)],
        threshold=calibration.threshold,
        scores=model.predict(data[0], verbose=0),
        **{
            f"weight_{number}": keras.ops.convert_to_numpy(weight)
            for number, weight in enumerate(model.weights)
        },
    )


if __name__ == "__main__":
    main()
