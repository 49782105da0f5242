"""A user's workflow on one backend, run by tests/test_backends.py.

    KERAS_BACKEND=jax python tests/helpers/backend_workflow.py IMAGES.npz WEIGHTS FOLDER

Leaves FOLDER/trained_<backend>.keras, calibrated, and FOLDER/scores_<backend>.npy, its
scores.
"""

import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import egan_keras as ek

BACKEND = keras.backend.backend()


class Poison(keras.callbacks.Callback):
    """Makes the second epoch diverge."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            layer = self.model.discriminator.tail.layers[-1]
            layer.kernel.assign(np.full(layer.kernel.shape, np.nan))


def build(weights) -> ek.EGAN:
    """Returns a small model, compiled with metrics."""
    tiny = "MobileNet:alpha=0.25"
    model = ek.EGAN.from_backbones(
        tiny, tiny, image_shape=(32, 32, 3), weights=weights, network_size=32
    )
    model.compile(metrics=[keras.metrics.AUC(name="auc"), "accuracy"])
    return model


def fit(model, images, labels, **options):
    """Trains with validation."""
    data = images, labels
    options = {"epochs": 2, "verbose": 0, "validation_data": data, **options}
    return model.fit(*data, **options).history


def check_training(model, images, labels, out) -> None:
    """Trains with callbacks and features in files."""
    backup = keras.callbacks.BackupAndRestore(out / f"backup_{BACKEND}")
    history = fit(model, images, labels, cache_features=out, callbacks=[backup])
    names = {"val_auroc", "val_auc", "val_accuracy", "val_sensitivity", "fake_logit"}
    assert names <= set(history), history
    assert all(np.isfinite(values).all() for values in history.values()), history
    results = model.evaluate(images, labels, verbose=0, return_dict=True)
    assert np.isclose(results["auroc"], history["val_auroc"][-1])


def check_judging(model, images, labels) -> None:
    """Calibrates and reports, on images that training did not see."""
    images = images[:, ::-1]
    calibration = model.calibrate(images, labels, specificity=0.9)
    assert calibration.threshold == model.threshold != 0
    report = ek.evaluate(model, images, labels)
    scores = model.predict(images, verbose=0)[:, 0]
    np.testing.assert_allclose(report.scores, scores, rtol=1e-4, atol=1e-4)
    # On JAX, rounding depends on how many images are scored at once, so that the one
    # at the threshold may come to lie on either side of it.
    allowed = 1 / np.sum(labels == 0) + 1e-9
    assert report["specificity"] >= 0.9 - allowed
    called = scores < model.threshold
    assert abs(report["specificity"] - np.mean(~called[labels == 0])) <= allowed
    assert report["sensitivity"] == np.mean(called[labels == 1])


def check_divergence(model, images, labels) -> None:
    """Goes back to the weights before the epoch that diverged."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = fit(model, images, labels, epochs=3, callbacks=[Poison()])
    assert any("weights of epoch 1" in str(each.message) for each in caught), caught
    assert len(history["discriminator_loss"]) == 2
    assert np.isfinite(model.predict(images, verbose=0)).all()


def check_refusal(model, path) -> None:
    """Refuses to export."""
    for export in (ek.export_tflite, ek.export_saved_model):
        try:
            export(model, path)
        except ValueError as error:
            assert f"Received: KERAS_BACKEND={BACKEND}" in str(error), error
        else:
            raise AssertionError(f"{export.__name__} exported on {BACKEND}")


def check_search(images, labels, out) -> None:
    """Searches, without what exporting would tell."""
    split = ek.LabelledImages(images, labels)
    options = {"weights": None, "network_size": 32, "epochs": 1, "verbose": False}
    arguments = {"encoders": ["MobileNet:alpha=0.25"], "trials": 1, **options}
    folder = out / f"search_{BACKEND}"
    try:
        ek.search_pairings(split, split, folder=folder, max_int8_kb=1, **arguments)
    except ValueError as error:
        assert f"Received: KERAS_BACKEND={BACKEND}, max_int8_kb=1" in str(error), error
    else:
        raise AssertionError(f"searched within a budget on {BACKEND}")
    (record,) = ek.search_pairings(split, split, folder=folder, **arguments).records
    assert record.failure is None and record.int8_kb is None, record


def main() -> None:
    """Goes through what a user does, but for exporting."""
    arrays, weights, out = np.load(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    data = arrays["images"], arrays["labels"]
    model = build(weights)
    check_training(model, *data, out)
    check_judging(model, *data)
    scores = model.predict(data[0], verbose=0)
    path = out / f"trained_{BACKEND}.keras"
    model.save(path)
    np.save(out / f"scores_{BACKEND}.npy", scores)
    loaded = keras.saving.load_model(path)
    np.testing.assert_array_equal(loaded.predict(data[0], verbose=0), scores)
    fit(loaded, *data, cache_features=False)
    assert loaded.optimizer.iterations == 2 * model.optimizer.iterations > 0
    check_divergence(loaded, *data)
    check_refusal(model, out / "refused.tflite")
    check_search(*data, out)


if __name__ == "__main__":
    main()
