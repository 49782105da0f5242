"""Every way in passes the same checks."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import tensorflow as tf

import egan_keras as ek

pytestmark = pytest.mark.whole

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype("float32")
LABELS = (np.arange(40) % 4 == 0).astype("int32")


@pytest.fixture(scope="module")
def model():
    inputs = keras.Input((8, 8, 3))
    vector = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    discriminator = keras.Model(inputs, keras.layers.Dense(1)(vector))
    fake = keras.layers.Dense(192, activation="sigmoid")(vector)
    fake = keras.layers.Rescaling(255.0)(keras.layers.Reshape((8, 8, 3))(fake))
    model = ek.EGAN(keras.Model(inputs, fake), discriminator, recipe="published")
    model.compile()
    model.fit(IMAGES[1:], LABELS[1:], epochs=1, verbose=0)
    return model


def dataset(images):
    return tf.data.Dataset.from_tensor_slices((images, LABELS)).batch(16)


PREDICTING = {
    "array": lambda model, x: model.predict(x, verbose=0),
    "list": lambda model, x: model.predict(list(x), verbose=0),
    "tensor": lambda model, x: model.predict(tf.constant(x), verbose=0),
    "dataset": lambda model, x: model.predict(dataset(x), verbose=0),
    "single": lambda model, x: model.predict(dataset(x).unbatch(), verbose=0),
    "generator": lambda model, x: model.predict(
        (x[i : i + 16] for i in (0, 16, 32)), steps=3, verbose=0
    ),
    "batch": lambda model, x: model.predict_on_batch(x),
}
JUDGING = {
    "evaluate arrays": lambda model, x: model.evaluate(x, LABELS, verbose=0),
    "evaluate dataset": lambda model, x: model.evaluate(dataset(x), verbose=0),
    "calibrate arrays": lambda model, x: model.calibrate(x, LABELS, criterion="f1"),
    "calibrate dataset": lambda model, x: model.calibrate(dataset(x), criterion="f1"),
    "report arrays": lambda model, x: ek.evaluate(model, x, LABELS, resamples=2),
    "report dataset": lambda model, x: ek.evaluate(model, dataset(x), resamples=2),
    "fit dataset": lambda model, x: model.fit(dataset(x), epochs=1, verbose=0),
    "validation": lambda model, x: model.fit(
        IMAGES, LABELS, epochs=1, verbose=0, validation_data=dataset(x)
    ),
    "subsample": lambda model, x: ek.subsample_minority(x, LABELS, minority_count=1),
}
ALL = {**PREDICTING, **JUDGING}


def with_a_nan_at_the_end(images):
    images = images.copy()
    images[-1, 0, 0, 0] = np.nan
    return images


@pytest.mark.parametrize("route", ALL)
def test_impossible_pixels_are_refused_on_every_way(model, route):
    with pytest.raises(ValueError, match="^Images hold NaN"):
        ALL[route](model, with_a_nan_at_the_end(IMAGES))
    with pytest.raises(ValueError, match="^Images hold negative pixels"):
        ALL[route](model, IMAGES / 127.5 - 1)
    with pytest.raises(ValueError, match="^Images hold pixels above 255"):
        ALL[route](model, IMAGES * 2)


@pytest.mark.parametrize("route", ALL)
def test_pixels_in_0_to_1_are_warned_of_once_on_every_way(model, route):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ALL[route](model, IMAGES[::-1] / 255)
    told = [each for each in caught if "multiply by 255" in str(each.message)]
    assert len(told) == 1


@pytest.mark.parametrize("route", [*PREDICTING, *list(JUDGING)[:-1], "call"])
def test_images_of_another_size_are_refused_on_every_way(model, route):
    ways = {**ALL, "call": lambda model, x: model(x)}
    # Images that no other test has trained on.
    ways[route](model, np.roll(IMAGES, 1 + list(ways).index(route), axis=(1, 2)))
    with pytest.raises(ValueError, match=r"shape \(n, 8, 8, 3\).*Resize the images"):
        ways[route](model, np.repeat(IMAGES, 2, axis=1))
    with pytest.raises(ValueError, match=r"Leave out the alpha channel"):
        ways[route](model, np.concatenate([IMAGES, IMAGES[..., :1]], axis=-1))


@pytest.mark.parametrize("route", PREDICTING)
def test_scores_are_the_same_on_every_way(model, route):
    expected = model(IMAGES).numpy()
    scores = PREDICTING[route](model, IMAGES)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)


def test_images_that_are_all_the_same_are_refused(model):
    same = np.repeat(IMAGES[:1], 40, axis=0)
    for route in ("calibrate arrays", "report dataset", "fit dataset"):
        with pytest.raises(ValueError, match="All images are one and the same"):
            JUDGING[route](model, same)
    with pytest.warns(UserWarning, match="40 of 40 images are of one colour"):
        model.predict(np.zeros_like(IMAGES), verbose=0)


@pytest.mark.parametrize("cache_features", ["memory", False])
def test_swapped_labels_are_warned_of_with_the_corrected_call(model, cache_features):
    options = {"epochs": 1, "verbose": 0, "cache_features": cache_features}
    with pytest.warns(UserWarning, match=r"10 of label 0 and 30.*fit\(images, 1 - la"):
        model.fit(IMAGES, 1 - LABELS, **options)
    swapped = dataset(IMAGES).map(lambda x, y: (x, 1 - y))
    with pytest.warns(UserWarning, match=r"dataset.map\(lambda x, y: \(x, 1 - y\)\)"):
        model.fit(swapped, **options)


def test_an_image_of_both_classes_is_warned_of(model):
    images = IMAGES.copy()
    images[0] = images[1]
    with pytest.warns(UserWarning, match="1 images are labelled both 0 and 1"):
        model.fit(images, LABELS, epochs=1, verbose=0)


@pytest.mark.parametrize(
    "option",
    [{"batch_size": 0}, {"batch_size": 2.5}, {"epochs": -1}, {"epochs": "ten"}],
)
def test_numbers_that_are_none_are_refused(model, option):
    with pytest.raises(ValueError, match="must be a positive int.*Received: "):
        model.fit(IMAGES, LABELS, **option)


def test_several_threads_may_predict_at_once(model):
    expected = model.predict(IMAGES, verbose=0)

    def score(start):
        return model.predict(IMAGES[start : start + 9], verbose=0)

    with ThreadPoolExecutor(8) as pool:
        for start, scores in enumerate(pool.map(score, range(24))):
            np.testing.assert_allclose(scores, expected[start : start + 9], atol=1e-5)
