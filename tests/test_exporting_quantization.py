import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from egan_keras.exporting import int8
from egan_keras.exporting.int8 import Int8Quantizer, quantize_int8
from egan_keras.exporting.tflite_graph import TFLiteGraph

pytestmark = pytest.mark.whole

SIZE = 16


def network(n_blocks=2):
    """A network as MobileNet's, in which channels differ and none is around 0."""
    inputs = keras.Input((SIZE, SIZE, 3))
    outputs = layers.Rescaling(1 / 127.5, -1)(inputs)
    for block in range(n_blocks):
        outputs = layers.Conv2D(16 * 2**block, 1, activation="relu6")(outputs)
        outputs = layers.DepthwiseConv2D(3, padding="same", activation="relu6")(outputs)
        outputs = layers.Conv2D(8 * 2**block, 1)(outputs)
    features = layers.GlobalAveragePooling2D()(outputs)
    made = keras.Model(inputs, layers.Dense(1)(features))
    generator = np.random.default_rng(0)
    for weight in made.weights:
        values = generator.normal(size=weight.shape) * 0.4
        if len(weight.shape) == 4:
            # One input channel of large weights, as folded normalisation leaves them.
            values[:, :, 0] *= 20
        weight.assign(values + 0.3 * (len(weight.shape) == 1))
    return made


def to_tflite(model, dtype="float32", threshold=0.0):
    def serve(images):
        score = model(tf.cast(images, "float32"), training=False)
        return {"score": score, "is_minority": tf.cast(score < threshold, "float32")}

    archive = keras.export.ExportArchive()
    archive.track(model)
    images = tf.TensorSpec((1, SIZE, SIZE, 3), dtype, name="images")
    archive.add_endpoint("serve", serve, input_signature=[images])
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=["serving_default"]
        )
        return converter.convert()


def outputs(content, images, name="score"):
    runner = Interpreter(model_content=content).get_signature_runner()
    dtype = runner.get_input_details()["images"]["dtype"]
    found = [runner(images=image[None].astype(dtype))[name] for image in images]
    return np.concatenate(found)[:, 0]


def error(content, other, images):
    before = outputs(content, images)
    return np.abs(outputs(other, images) - before).mean() / before.std()


@pytest.fixture(scope="module")
def images():
    generator = np.random.default_rng(1)
    coarse = generator.integers(0, 256, (40, 4, 4, 3), "uint8")
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


@pytest.fixture(scope="module")
def content():
    return to_tflite(network())


def test_bias_correction_takes_back_what_rounding_shifts(content, images):
    made = Int8Quantizer(content, images[:20])
    unseen = images[20:]
    with_it = made.quantized(0)
    made.means = {tensor: 0 * mean for tensor, mean in made.means.items()}
    without = made.quantized(0)
    assert error(content, with_it, unseen) < 0.7 * error(content, without, unseen)


def test_first_layers_stay_float_where_scores_ask_for_it(images, monkeypatch):
    content = to_tflite(network(n_blocks=3))
    made = {}
    for tolerance in (0.0, 1e3):
        monkeypatch.setattr(int8, "_TOLERANCE", tolerance)
        made[tolerance] = quantize_int8(content, images[:20])
    shares = [TFLiteGraph(each).integer_share for each in (content, *made.values())]
    assert shares[0] == 0 < shares[1] < shares[2] == 1
    strict, lax = (error(content, each, images[20:]) for each in made.values())
    assert strict < lax


def test_weights_on_the_grid_are_left_alone(images):
    model = network(n_blocks=1)
    for weight in model.weights:
        weight.assign(np.sign(weight.numpy()) * 0.5)
    content = to_tflite(model)
    made = Int8Quantizer(content, images)
    corrected = made.corrected(made.graph.convolutions).to_bytes()
    np.testing.assert_allclose(
        outputs(corrected, images), outputs(content, images), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    "layer", [layers.Conv2D, layers.DepthwiseConv2D], ids=["full", "depthwise"]
)
def test_the_mean_of_a_layer_stays_when_its_weights_are_rounded(layer, padding, images):
    inputs = keras.Input((SIZE, SIZE, 3))
    chosen = {"filters": 4} if layer is layers.Conv2D else {"depth_multiplier": 2}
    maps = layer(kernel_size=3, strides=2, padding=padding, **chosen)(inputs)
    pooled = layers.GlobalAveragePooling2D()(maps)
    content = to_tflite(keras.Model(inputs, layers.Dense(1)(pooled)))
    corrected = Int8Quantizer(content, images).corrected([0])
    weights = corrected.constant(corrected.operators[0].inputs[1])
    axes = (0, 1, 2) if layer is layers.DepthwiseConv2D else (1, 2, 3)
    step = np.abs(weights).max(axis=axes, keepdims=True) / 127
    corrected.replace(0, 1, np.round(weights / step) * step)
    means = [outputs(each, images).mean() for each in (content, corrected.to_bytes())]
    assert means[0] == pytest.approx(means[1], rel=1e-5)


def test_a_constant_channel_keeps_its_value(images):
    inputs = keras.Input((SIZE, SIZE, 3))
    convolution = layers.Conv2D(4, 3, bias_initializer="ones")
    pooled = layers.GlobalAveragePooling2D()(convolution(inputs))
    model = keras.Model(inputs, layers.Dense(1, kernel_initializer="ones")(pooled))
    convolution.kernel.assign(np.full(convolution.kernel.shape, 1e-20))
    content = to_tflite(model)
    quantized = Int8Quantizer(content, images).quantized(0)
    np.testing.assert_allclose(outputs(quantized, images), 4.0, rtol=0.01)


def test_a_constant_that_operators_share_changes_for_one_alone(content):
    graph = TFLiteGraph(content)
    first, second = graph.convolutions[0], graph.convolutions[3]
    operator = graph.operators[second]
    operator.inputs = [*operator.inputs[:2], graph.operators[first].inputs[2]]
    before = graph.constant(graph.operators[first].inputs[2])
    graph.replace(second, 2, before + 1)
    again = TFLiteGraph(graph.to_bytes())
    for place, expected in ((first, before), (second, before + 1)):
        found = again.constant(again.operators[place].inputs[2])
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_inputs_and_outputs_stay_what_they_are(dtype, images):
    quantized = quantize_int8(to_tflite(network(), dtype), images)
    runner = Interpreter(model_content=quantized).get_signature_runner()
    assert runner.get_input_details()["images"]["dtype"] == np.dtype(dtype)
    details = runner.get_output_details()
    assert {name: each["dtype"] for name, each in details.items()} == {
        "score": np.float32,
        "is_minority": np.float32,
    }
    called = outputs(quantized, images, "is_minority")
    np.testing.assert_array_equal(called, outputs(quantized, images) < 0)


def test_it_is_smaller_and_the_same_each_time(content, images):
    quantized = quantize_int8(content, images)
    assert len(quantized) < len(content)
    assert quantized == quantize_int8(content, images)


@pytest.mark.parametrize("shape", [(3, 8, 8, 3), (SIZE, SIZE, 3), (0, SIZE, SIZE, 3)])
def test_images_that_do_not_fit_are_refused(shape, content):
    with pytest.raises(ValueError, match=r"expected one or more of shape \(16, 16, 3"):
        quantize_int8(content, np.zeros(shape, "uint8"))


@pytest.mark.parametrize("labels", [np.zeros(3), np.ones(40)], ids=["few", "minority"])
def test_labels_that_do_not_fit_are_refused(labels, content, images):
    with pytest.raises(ValueError, match="expected one for each, and 0 for some"):
        quantize_int8(content, images, labels)


def test_scores_do_not_depend_on_the_threshold(images):
    model = network(n_blocks=3)
    found = [
        outputs(quantize_int8(to_tflite(model, threshold=threshold), images), images)
        for threshold in (-100.0, 100.0)
    ]
    np.testing.assert_array_equal(*found)


def test_a_model_without_convolutions_is_refused(images):
    inputs = keras.Input((SIZE, SIZE, 3))
    dense = layers.Dense(1)(layers.Flatten()(inputs))
    with pytest.raises(ValueError, match="has no convolution; expected a backbone"):
        quantize_int8(to_tflite(keras.Model(inputs, dense)), images)
