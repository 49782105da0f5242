import urllib.error

import keras
import numpy as np
import pytest

from egan_keras import backbones
from egan_keras.backbones import Backbone

pytestmark = pytest.mark.whole

# The others take more than about ten seconds or a gigabyte each.
SMALL = [
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Large",
    "MobileNetV3Small",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "VGG16",
    "Xception",
]
ALL = [
    pytest.param(name, marks=[] if name in SMALL else pytest.mark.large)
    for name in backbones.names()
]


def test_all_forty_backbones_are_known():
    assert len(backbones.names()) >= 40
    assert set(SMALL) <= set(backbones.names())


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_every_backbone_is_cut_without_changing_its_output(name):
    backbone = Backbone(name)
    network = backbone.build(backbone.minimum_size, weights=None)
    shape = (2, backbone.minimum_size, backbone.minimum_size, 3)
    pixels = np.random.default_rng(0).uniform(0, 255, shape).astype("float32")
    images = keras.ops.convert_to_tensor(
        backbones.BackbonePreprocessing(name)(pixels), dtype="float32"
    )
    uncut = keras.ops.convert_to_numpy(network(images, training=False))
    for trained_layers in (5, network.layers[len(network.layers) // 2].name):
        stem, tail = backbones.cut(network, trained_layers)
        joined = tail(stem(images, training=False), training=False)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(joined), uncut)
        assert not stem.trainable_weights
    keras.backend.clear_session()


@pytest.mark.parametrize("name", backbones.names())
def test_every_backbone_gets_its_own_preprocessing(name):
    import importlib

    pixels = np.random.default_rng(0).uniform(0, 255, (1, 4, 4, 3)).astype("float32")
    module = getattr(keras.applications, name).__module__.rsplit(".", 1)[-1]
    public = importlib.import_module(f"keras.applications.{module}")
    ours = backbones.BackbonePreprocessing(name)(pixels)
    theirs = public.preprocess_input(pixels.copy())
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_cut_through_skip_connections_has_several_tensors_on_its_frontier():
    network = Backbone("DenseNet121").build(32, weights=None)
    stem, tail = backbones.cut(network, len(network.layers) - 422)
    assert len(stem.outputs) == len(tail.inputs) == 2


def test_cut_by_name_puts_that_layer_first_in_the_tail():
    network = Backbone("MobileNet", {"alpha": 0.25}).build(32, weights=None)
    _, tail = backbones.cut(network, "conv_pw_13")
    first = [layer for layer in tail.layers if layer.weights][0]
    assert first.name == "conv_pw_13"


@pytest.mark.parametrize("trained_layers", [0, 10_000])
def test_cut_must_leave_layers_on_both_sides(trained_layers):
    network = Backbone("MobileNet", {"alpha": 0.25}).build(32, weights=None)
    received = f"both sides.*trained_layers={trained_layers}"
    with pytest.raises(ValueError, match=received):
        backbones.cut(network, trained_layers)


def test_cut_at_an_unknown_layer_names_near_matches():
    network = Backbone("MobileNet", {"alpha": 0.25}).build(32, weights=None)
    with pytest.raises(ValueError, match="No layer of that name.*conv_pw_13"):
        backbones.cut(network, "conv_pw_14")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("MobilNetV2", "Unknown backbone.*Received: 'MobilNetV2'.*MobileNetV2"),
        ("?", "Unknown backbone.*DenseNet121.*VGG16"),
        ("MobileNetV2:alpha", "Unreadable options.*MobileNetV2:alpha=0.35"),
        ("MobileNetV2:alpha=large", "Unreadable options.*'MobileNetV2:alpha=large'"),
        ("MobileNetV2:depth=3", "Unknown option.*expected alpha"),
        ("VGG16:weights=None", "Unknown option.*expected no options"),
    ],
)
def test_bad_specs_are_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        Backbone.parse(spec)


def test_spec_is_written_as_it_is_read():
    spec = "MobileNet:alpha=0.25,dropout=0.1"
    assert str(Backbone.parse(spec)) == spec
    assert Backbone.parse(spec).options == {"alpha": 0.25, "dropout": 0.1}


def test_too_small_images_are_refused_with_the_minimum():
    with pytest.raises(ValueError, match="at least 71 pixels. Received: 32"):
        Backbone("Xception").build(32, weights=None)


def test_missing_weights_file_is_refused():
    with pytest.raises(FileNotFoundError, match="Received: weights='no/such.h5'"):
        Backbone("MobileNet").build(32, weights="no/such.h5")


def test_without_network_the_error_names_the_file_to_provide(monkeypatch, tmp_path):
    def no_network(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", no_network)
    monkeypatch.setattr(
        "keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path)
    )
    with pytest.raises(OSError, match="vgg16_weights.*notop.h5 into .*models.*weights"):
        Backbone("VGG16").build(32)


def test_weights_of_one_size_serve_every_size(tmp_path):
    backbone = Backbone("MobileNet", {"alpha": 0.25})
    source = backbone.build(64, weights=None)
    source.save_weights(tmp_path / "source.weights.h5")
    loaded = backbone.build(32, weights=tmp_path / "source.weights.h5")
    for ours, theirs in zip(loaded.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["EfficientNetB0", "EfficientNetV2B0", "ConvNeXtTiny"])
def test_imagenet_weights_are_asked_for_by_keras_own_name(name, monkeypatch, tmp_path):
    asked = []

    def get_file(fname, *args, **kwargs):
        asked.append(fname)
        raise OSError("stop here")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", get_file)
    for build in (
        lambda: Backbone(name).build(64),
        lambda: getattr(keras.applications, name)(
            include_top=False, input_shape=(64, 64, 3)
        ),
    ):
        with pytest.raises(OSError, match="stop here"):
            build()
    assert asked[0] == asked[1]


def test_resized_backbones_keep_the_layers_that_imagenet_weights_bring(monkeypatch):
    backbone = Backbone("EfficientNetB0")
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *a, **k: "file")
    monkeypatch.setattr(keras.Model, "load_weights", lambda *a, **k: None)
    theirs = keras.applications.EfficientNetB0(
        include_top=False, input_shape=(64, 64, 3)
    )
    assert len(backbone.build(64).layers) == len(theirs.layers)
