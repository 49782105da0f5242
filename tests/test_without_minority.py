"""Training without any minority image: distances from the majority alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import egan_keras as ek

pytestmark = pytest.mark.whole

WARNING = "There is no minority image"


@pytest.fixture(scope="module")
def zeros(digits):
    images, labels = digits
    return images[labels == 0]


def fit(model, images, *, kind="array", **options):
    labels = np.zeros(len(images), int)
    given = images, labels
    if kind == "dataset":
        given = (tf.data.Dataset.from_tensor_slices(given).batch(16),)
    with pytest.warns(UserWarning, match=f"{WARNING}.*Received: {len(images)} maj"):
        return model.fit(*given, verbose=0, **options)


@pytest.mark.parametrize(
    "choices", [{}, pytest.param({"place_depths": 0}, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("kind", ["array", "dataset"])
def test_what_is_unlike_the_majority_scores_low(
    build_tiny, zeros, digits, choices, kind
):
    model = build_tiny(**choices)
    images, labels = digits
    history = fit(model, zeros[:120], kind=kind, validation_data=(images, labels))
    assert history.epoch == [0]
    assert history.history["val_auroc"][0] > 0.7
    scores = model.predict(images, verbose=0)[:, 0]
    report = ek.evaluate(model, images[120:], labels[120:], resamples=9)
    assert np.isfinite(scores).all() and report["auroc"] > 0.7
    # About 5 % of the majority are below 0.
    assert np.mean(scores[labels == 0] < 0) < 0.3


@pytest.mark.slow
def test_features_need_no_cache(build_tiny, zeros):
    kept, other = build_tiny(), build_tiny()
    fit(kept, zeros[:60])
    fit(other, zeros[:60], cache_features=False)
    np.testing.assert_allclose(
        kept.predict(zeros[60:80], verbose=0),
        other.predict(zeros[60:80], verbose=0),
        rtol=0.01,
        atol=0.01,
    )


@pytest.mark.slow
def test_an_earlier_training_is_forgotten(build_tiny, zeros, few_ones):
    model, new = build_tiny(), build_tiny()
    model.fit(*few_ones, epochs=1, verbose=0)
    for each in (model, new):
        fit(each, few_ones[0][few_ones[1] == 0])
    expected = new.predict(zeros[:20], verbose=0)
    np.testing.assert_allclose(
        model.predict(zeros[:20], verbose=0), expected, rtol=1e-3, atol=1e-3
    )


@pytest.mark.slow
def test_it_is_calibrated_saved_and_exported(build_tiny, zeros, tmp_path):
    model = build_tiny()
    fit(model, zeros[:100])
    calibration = model.calibrate(
        zeros[100:], np.zeros(len(zeros) - 100, int), specificity=0.9, confidence=None
    )
    assert calibration.n_minority == 0
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    scores = model.predict(zeros[:9], verbose=0)
    np.testing.assert_allclose(again.predict(zeros[:9], verbose=0), scores, rtol=1e-3)
    ek.export_tflite(
        model,
        tmp_path / "model.tflite",
        validation_data=(zeros[100:], np.zeros(len(zeros) - 100, int)),
        provenance=ek.Provenance(n_majority=100, n_minority=0),
        verbose=0,
    )
    lite = ek.load_tflite(tmp_path / "model.tflite")
    np.testing.assert_allclose(lite.predict(zeros[:9]), scores, rtol=0.01, atol=0.01)
    assert "seen no minority image" in (tmp_path / "model.md").read_text()


def test_callbacks_see_one_epoch(build_tiny, zeros, tmp_path):
    seen = []
    path = str(tmp_path / "best.keras")
    callbacks = [
        keras.callbacks.ModelCheckpoint(path),
        keras.callbacks.LambdaCallback(
            on_train_begin=lambda logs: seen.append("begin"),
            on_epoch_end=lambda epoch, logs: seen.append(epoch),
            on_train_end=lambda logs: seen.append("end"),
        ),
    ]
    fit(build_tiny(), zeros[:60], callbacks=callbacks)
    assert seen == ["begin", 0, "end"]
    keras.saving.load_model(path)


def test_a_recipe_without_distances_needs_both_classes(build_tiny, zeros):
    for model in (
        build_tiny("published"),
        build_tiny(distance_weight=0, place_depths=0),
    ):
        with pytest.raises(ValueError, match="no minority image.*Received: 9 majority"):
            model.fit(zeros[:9], np.zeros(9, int), verbose=0)


def test_minority_images_alone_are_no_majority(build_tiny, zeros):
    with pytest.raises(ValueError, match="no majority image"):
        build_tiny().fit(zeros[:9], np.ones(9, int), verbose=0)
