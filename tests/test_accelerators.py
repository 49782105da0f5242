"""How TensorFlow treats GPUs, which are pretended here."""

import importlib

import keras
import pytest
import tensorflow as tf

import egan_keras as ek
from egan_keras import features
from egan_keras.keras_hooks import has_accelerator, share_accelerators


@pytest.fixture
def told(monkeypatch):
    """Pretends that there are two GPUs; returns what TensorFlow is told of them."""
    calls = []

    def get_visible_devices(kind):
        return [f"{kind}:0", f"{kind}:1"]

    monkeypatch.setattr(tf.config, "get_visible_devices", get_visible_devices)
    monkeypatch.setattr(
        tf.config.experimental, "set_memory_growth", lambda *a: calls.append(a)
    )
    monkeypatch.setattr(
        tf.config, "set_visible_devices", lambda *a: calls.append(("visible", *a))
    )
    return calls


def test_tensorflow_takes_memory_as_it_needs_it(told):
    share_accelerators()
    assert told == [("GPU:0", True), ("GPU:1", True)]


@pytest.mark.parametrize(
    "use",
    [
        lambda model: ek.Backbone.parse("MobileNet").build(32, weights=None),
        lambda model: ek.EGAN.from_features(None, 8),
        lambda model: ek.EGAN.from_config(model.get_config()),
    ],
    ids=["backbone", "features", "config"],
)
def test_what_builds_or_loads_networks_tells_it_and_importing_does_not(told, use):
    importlib.reload(features)
    assert told == []
    model = ek.EGAN.from_features(None, 8)
    told.clear()
    use(model)
    assert told == [("GPU:0", True), ("GPU:1", True)]


def test_gpus_are_left_to_another_backend(told, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    share_accelerators()
    assert told == [("visible", [], "GPU")]


def test_devices_in_use_stay_as_the_program_set_them(told, monkeypatch):
    def refuse(*_):
        raise RuntimeError("Physical devices cannot be modified after initialization")

    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", refuse)
    share_accelerators()
    assert told == []


def test_a_processor_is_no_accelerator():
    if not tf.config.list_logical_devices("GPU"):
        assert not has_accelerator()
