"""A user's workflow on one backend, run by tests/test_backends.py.

    KERAS_BACKEND=jax python tests/backend_workflow.py IMAGES.npz FOLDER

Leaves FOLDER/workflow_<backend>.keras.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import egan_keras as ek

BACKEND = keras.backend.backend()


def build() -> ek.EGAN:
    """Returns a small model, compiled with a metric."""
    tiny = "MobileNet:alpha=0.25"
    model = ek.EGAN.from_backbones(
        tiny, tiny, image_shape=(32, 32, 3), weights=None, network_size=32
    )
    model.compile(metrics=[keras.metrics.AUC(name="auc"), "accuracy"])
    return model


def fit(model, images, labels, **options):
    """Trains for two epochs with validation."""
    data = images, labels
    history = model.fit(*data, epochs=2, verbose=0, validation_data=data, **options)
    return history.history


def main() -> None:
    """Goes through fit, callbacks, calibrate, predict, evaluate, save and load."""
    arrays, out = np.load(sys.argv[1]), Path(sys.argv[2])
    images, labels = arrays["images"], arrays["labels"]
    backup = keras.callbacks.BackupAndRestore(out / f"backup_{BACKEND}")
    model = build()
    history = fit(model, images, labels, cache_features=out, callbacks=[backup])
    names = {"val_auroc", "val_auc", "val_accuracy", "val_sensitivity", "fake_logit"}
    assert names <= set(history), history
    assert all(np.isfinite(values).all() for values in history.values()), history
    calibration = model.calibrate(images, labels, specificity=0.9)
    scores = model.predict(images, verbose=0)
    assert calibration.threshold == model.threshold != 0
    results = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert np.isclose(results["auroc"], history["val_auroc"][-1])
    path = out / f"workflow_{BACKEND}.keras"
    model.save(path)
    loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), scores)
    fit(loaded, images, labels, cache_features=False)
    assert loaded.optimizer.iterations == 2 * model.optimizer.iterations > 0
    print("all is well")


if __name__ == "__main__":
    main()
