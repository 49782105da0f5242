"""A threshold belongs to its weights, and images trained on set none."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import egan_keras as ek

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def held_out(digits):
    """Zeros and ones that `few_ones` does not hold."""
    images, labels = digits
    return images[210:], labels[210:]


@pytest.fixture(scope="module")
def saved(few_ones, held_out, tiny_weights, tmp_path_factory):
    """The file of a model that was trained and calibrated."""
    keras.utils.set_random_seed(0)
    tiny = "MobileNet:alpha=0.25"
    options = {"weights": tiny_weights, "network_size": 32, "minimum_steps": 1}
    model = ek.EGAN.from_backbones(tiny, tiny, image_shape=(32, 32, 3), **options)
    model.compile()
    model.fit(*few_ones, epochs=1, verbose=0)
    model.calibrate(*held_out, specificity=0.9)
    path = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(path)
    return path


@pytest.fixture
def model(saved):
    return keras.saving.load_model(saved)


def reassign_score(model):
    model.discriminator.tail.get_layer("score").bias.assign([0.5])


def reassign_standardization(model):
    layer = model.discriminator.stem.get_layer("standardization")
    layer.set_weights([weight + 1 for weight in layer.get_weights()])


def set_all(model):
    model.set_weights([weight * 1.5 for weight in model.get_weights()])


def other_discriminator(model):
    old = model.discriminator
    model.discriminator = type(old).from_config(old.get_config())


@pytest.mark.parametrize(
    "change", [reassign_score, reassign_standardization, set_all, other_discriminator]
)
def test_other_weights_have_no_guarantee(model, change):
    assert model.threshold != 0
    change(model)
    assert model.threshold == 0 and model.calibration is None
    assert model.get_config()["calibration"] is None


def test_copies_without_the_weights_have_no_guarantee(model):
    for copy in (
        keras.models.clone_model(model),
        ek.EGAN.from_config(model.get_config()),
        keras.models.model_from_json(model.to_json()),
    ):
        assert copy.threshold == 0 and copy.calibration is None
        copy.set_weights(model.get_weights())
        assert copy.calibration == model.calibration


def test_what_makes_no_score_may_change(model):
    before = model.calibration
    layer = model.generator.tail.get_layer("latent")
    layer.set_weights([weight + 1 for weight in layer.get_weights()])
    model.trainable = False
    assert model.calibration == before is not None


def test_a_model_saved_before_weights_were_noted_keeps_its_threshold(model):
    config = model.get_config()
    del config["calibrated_weights"]
    old = ek.EGAN.from_config(config)
    assert old.calibration == model.calibration
    # What it is saved as from now on belongs to its weights.
    again = ek.EGAN.from_config(old.get_config())
    again.set_weights(old.get_weights())
    assert again.calibration == model.calibration
    set_all(again)
    assert again.calibration is None


def as_given(images, labels):
    return images, labels


def as_floats(images, labels):
    return images.astype("float64"), labels.tolist()


def as_dataset(images, labels):
    return (tf.data.Dataset.from_tensor_slices((images, labels)).batch(40),)


@pytest.mark.parametrize("given", [as_given, as_floats, as_dataset])
def test_images_trained_on_set_no_threshold(model, few_ones, held_out, given):
    expected = model.calibration
    with pytest.raises(ValueError, match="104 images, all of them trained on.*Hold"):
        model.calibrate(*given(*few_ones), specificity=0.9)
    both = [np.concatenate(pair) for pair in zip(few_ones, held_out, strict=True)]
    with pytest.warns(UserWarning, match="104 of 254 images were left out.*flatter"):
        calibration = model.calibrate(*given(*both), specificity=0.9)
    assert calibration.n_majority == expected.n_majority
    assert calibration.threshold == pytest.approx(expected.threshold, abs=1e-4)


def test_too_few_images_are_left_is_said_with_the_reason(model, few_ones, held_out):
    images = np.concatenate([few_ones[0], held_out[0][held_out[1] == 0][:9]])
    labels = np.append(few_ones[1], np.zeros(9, int))
    with pytest.raises(ValueError, match="needs at least 29.*104 of 113 images were"):
        model.calibrate(images, labels, specificity=0.9)


def test_reports_count_the_images_trained_on(model, few_ones, held_out):
    report = ek.evaluate(model, *held_out, resamples=2)
    assert report["n_seen_in_training"] == 0
    with pytest.warns(UserWarning, match="104 of 104 images were trained on"):
        report = ek.evaluate(model, *few_ones, resamples=2)
    assert report["n_seen_in_training"] == 104


def test_validation_images_are_not_trained_on(few_ones, held_out):
    rows = np.random.default_rng(0).normal(size=(150, 4))
    model = ek.EGAN.from_features(None, 4, minimum_steps=1)
    model.compile()
    watched = rows[50:], np.arange(50, 150) % 9 == 0
    model.fit(
        rows[:50], np.arange(50) < 3, epochs=1, verbose=0, validation_data=watched
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert model.calibrate(*watched, specificity=0.9).n_majority == 89
    with pytest.raises(ValueError, match="all of them trained on"):
        model.calibrate(rows[:50], np.zeros(50), specificity=0.9)


def test_what_several_fits_were_given_is_remembered():
    rows = np.random.default_rng(0).normal(size=(90, 4)).astype("float32")
    model = ek.EGAN.from_features(None, 4, minimum_steps=1)
    model.compile()
    for part in (rows[:40], rows[40:80]):
        for cache_features in ("memory", False):
            model.fit(
                part,
                np.arange(40) < 3,
                epochs=1,
                verbose=0,
                cache_features=cache_features,
            )
    scored = model.score_labelled(rows, np.arange(90) < 3)
    np.testing.assert_array_equal(scored.trained_on, np.arange(90) < 80)


def test_a_minority_that_scores_higher_is_told_of(model, held_out):
    images, _ = held_out
    scores = model.predict(images, verbose=0)[:, 0]
    # As if what looks least like the minority were labelled so.
    labels = scores > np.quantile(scores, 0.8)
    for judge in (
        lambda: ek.evaluate(model, images, labels, resamples=2),
        lambda: model.calibrate(images, labels, specificity=0.9),
    ):
        with pytest.warns(UserWarning, match=r"score higher.*AUROC 0\.000.*1 - labels"):
            judge()
