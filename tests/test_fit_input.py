"""What fit takes, and what it refuses before any long work."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import egan_keras as ek
from egan_keras import features

pytestmark = pytest.mark.whole


@pytest.fixture
def no_long_work(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("the stems ran before the input was checked")

    monkeypatch.setattr(features, "by_class", fail)


@pytest.mark.slow
def test_datasets_and_arrays_train_the_same(build_tiny, few_ones):
    scores = []
    for given in (
        few_ones,
        [tf.data.Dataset.from_tensor_slices(few_ones).batch(16)],
        [tf.data.Dataset.from_tensor_slices(few_ones)],
    ):
        model = build_tiny()
        model.fit(*given, epochs=1, verbose=0)
        scores.append(model.predict(few_ones[0], verbose=0))
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-4)
    np.testing.assert_allclose(scores[0], scores[2], atol=1e-4)


def test_image_dataset_from_directory(build_tiny, few_ones, tmp_path):
    for index, (image, label) in enumerate(zip(*few_ones, strict=True)):
        folder = tmp_path / ("a_zero", "b_one")[label]
        folder.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / f"{index}.png")
    dataset = keras.utils.image_dataset_from_directory(
        tmp_path, image_size=(32, 32), verbose=False, shuffle=False
    )
    model = build_tiny()
    assert model.calibrate(dataset, specificity=0.9).n_majority == 100
    history = model.fit(dataset, epochs=1, verbose=0, validation_data=dataset)
    assert "val_auroc" in history.history


def test_validation_as_dataset_equals_arrays(build_tiny, few_ones, digits):
    results = []
    for validation in (digits, tf.data.Dataset.from_tensor_slices(digits).batch(50)):
        history = build_tiny().fit(
            *few_ones, epochs=1, verbose=0, validation_data=validation
        )
        results.append(history.history["val_auroc"][0])
    assert np.isclose(*results, atol=1e-4)


@pytest.mark.slow
def test_float_pixels_train_like_bytes(build_tiny, few_ones):
    images, labels = few_ones
    scores = []
    for given in (images, images.astype("float32")):
        model = build_tiny()
        model.fit(given, labels, epochs=1, verbose=0)
        scores.append(model.predict(given, verbose=0))
    np.testing.assert_allclose(*scores, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, np.ones_like(y)), "no majority image"),
        (lambda x, y: (x, y + 1), "Labels must be 0"),
        (lambda x, y: (x, y[:-1]), "one label for each"),
        (lambda x, y: (x, None), "label"),
        (lambda x, y: (x[..., :1], y), "RGB|channel"),
        (lambda x, y: (x[:, :16], y), "image_shape"),
        (lambda x, y: (x.astype("float32") - 1, y), "negative|below 0"),
        (lambda x, y: (np.where(x > 9, np.nan, x).astype("float32"), y), "NaN"),
        (lambda x, y: ("images", y), "array or a tf.data.Dataset"),
    ],
)
def test_bad_input_is_refused_before_long_work(
    build_tiny, few_ones, no_long_work, change, message
):
    with pytest.raises(ValueError, match=message):
        build_tiny().fit(*change(*few_ones), epochs=1, verbose=0)


def test_pixels_in_0_to_1_get_a_warning(build_tiny, few_ones):
    images, labels = few_ones
    with pytest.warns(UserWarning, match="255"):
        build_tiny().fit(images / 255.0, labels, epochs=1, verbose=0)


@pytest.mark.parametrize(
    "name", ["class_weight", "sample_weight", "validation_split", "steps_per_epoch"]
)
def test_options_without_a_meaning_are_refused(build_tiny, few_ones, name):
    with pytest.raises(ValueError, match=f"fit does not take {name}.*Received"):
        build_tiny().fit(*few_ones, epochs=1, verbose=0, **{name: 1})


def test_validation_data_with_weights_is_refused(build_tiny, few_ones):
    with pytest.raises(ValueError, match="Validation data must be.*length 3"):
        build_tiny().fit(*few_ones, validation_data=(*few_ones, few_ones[1]))


def test_a_dataset_of_one_class_is_refused(build_tiny, few_ones):
    images, labels = few_ones
    labels = np.ones_like(labels)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    with pytest.raises(ValueError, match="no majority image"):
        build_tiny().fit(dataset, epochs=1, verbose=0)


def test_predicting_bad_images_is_refused(build_tiny):
    model = build_tiny()
    with pytest.raises(ValueError, match="image_shape"):
        model.predict(np.zeros((1, 16, 16, 3), "uint8"), verbose=0)
    with pytest.raises(ValueError, match="NaN"):
        model.predict(np.full((1, 32, 32, 3), np.nan, "float32"), verbose=0)


def test_too_few_images_for_the_guarantee_are_refused_with_the_number(
    build_tiny, digits
):
    images, labels = digits
    majority = np.flatnonzero(labels == 0)[:58]
    with pytest.raises(ValueError, match="59"):
        build_tiny().calibrate(images[majority], labels[majority], specificity=0.95)


def test_networks_that_do_not_fit_are_refused(build_tiny):
    model = build_tiny()
    with pytest.raises(ValueError, match="one score an image.*\\(None, 32, 32, 3\\)"):
        inputs = keras.Input((32, 32, 3))
        identity = keras.Model(inputs, keras.layers.Rescaling(1.0)(inputs))
        ek.EGAN(identity, identity)
    with pytest.raises(ValueError, match="fakes do not fit.*Received: \\(None, 1\\)"):
        ek.EGAN(model.discriminator, model.discriminator)
