"""Keras's own methods: each works, or says in a sentence what to do instead."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import egan_keras as ek

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def model(few_ones, tiny_weights):
    keras.utils.set_random_seed(0)
    tiny = "MobileNet:alpha=0.25"
    options = {"weights": tiny_weights, "network_size": 32, "minimum_steps": 1}
    model = ek.EGAN.from_backbones(tiny, tiny, image_shape=(32, 32, 3), **options)
    model.compile()
    model.fit(*few_ones, epochs=1, verbose=0)
    return model


@pytest.mark.parametrize("name", ["m.h5", "m.hdf5"])
@pytest.mark.parametrize(
    "save", [lambda model, path: model.save(path), keras.saving.save_model]
)
def test_hdf5_is_refused_before_a_model_is_lost(model, save, name, tmp_path):
    with pytest.raises(ValueError, match=r"ends in .keras.*model.save_weights"):
        save(model, tmp_path / name)


def test_weights_are_saved_as_hdf5(model, few_ones, build_tiny, tmp_path):
    model.save_weights(tmp_path / "model.weights.h5")
    other = build_tiny()
    other.load_weights(tmp_path / "model.weights.h5")
    images = few_ones[0][:5]
    np.testing.assert_allclose(other(images), model(images), atol=1e-5)


@pytest.mark.slow
def test_keras_own_export_gives_the_scores(model, few_ones, tmp_path):
    model.export(tmp_path / "exported", verbose=False)
    images = few_ones[0][:5].astype("float32")
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(exported.serve(images), model(images), atol=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.train_on_batch(None, None), "trained by fit.*model.fit"),
        (lambda model: model.test_on_batch(None), "tested by evaluate.*evaluate"),
        (lambda model: model.quantize("int8"), 'ek.export_tflite.*quantize="int8"'),
    ],
)
def test_what_has_no_meaning_says_what_has(model, call, message):
    with pytest.raises(ValueError, match=message):
        call(model)


def test_a_summary_is_printed(model):
    lines = []
    model.summary(print_fn=lines.append)
    assert "discriminator" in "\n".join(lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss_weights": [1, 2]}, "compile does not take loss_weights.*Leave it out"),
        ({"weighted_metrics": ["acc"]}, "compile does not take weighted_metrics"),
        ({"discriminator_optimizer": "foo"}, "`discriminator_optimizer` is no optim"),
        (
            # As in Keras: optimizer, loss.
            {"discriminator_optimizer": "adam", "generator_optimizer": "hinge"},
            "`generator_optimizer` is no optimizer.*Received: .*'hinge'.*loss=",
        ),
        ({"loss": ["hinge"]}, "Unknown adversarial loss.*Received: loss=.'hinge'"),
        ({"loss": keras.losses.Hinge()}, "Unknown adversarial loss"),
    ],
)
def test_compile_refuses_what_it_would_not_heed(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.compile(**arguments)
    model.compile()


def test_one_metric_need_not_be_in_a_list(model, few_ones):
    model.compile(metrics="accuracy")
    assert "accuracy" in model.evaluate(*few_ones, verbose=0, return_dict=True)
    model.compile()


def test_channels_first_is_refused_with_where_it_is_set():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match='"channels_last".*keras.json.*set_image'):
            ek.EGAN.from_backbones("VGG16", "VGG16", image_shape=(32, 32, 3))
    finally:
        keras.config.set_image_data_format("channels_last")
