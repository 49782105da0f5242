"""What an exported file tells is believed only where its network and JSON agree."""

import json
import os
import sys
import threading

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from tiny_export import (
    HEIGHT,
    IMPOSSIBLE,
    THRESHOLD,
    WIDTH,
    export_tiny,
    tiny_model,
    with_description,
)

import egan_keras as ek
from egan_keras.exporting import tflite_model
from egan_keras.exporting.tflite_graph import TFLiteGraph

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def images():
    shape = (40, HEIGHT, WIDTH, 3)
    return np.random.default_rng(0).integers(0, 256, shape, "uint8")


@pytest.fixture
def copied(exported, tmp_path, monkeypatch):
    """The model and its JSON, to change; without the trial in another process."""
    monkeypatch.setattr(tflite_model, "_load_in_another_process", lambda path: None)
    for path in (exported, exported.with_suffix(".json")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / exported.name


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_be_is_refused_with_file_and_key(copied, name):
    change, message = IMPOSSIBLE[name]
    copied.with_suffix(".json").unlink()
    copied.write_bytes(with_description(copied.read_bytes(), change))
    with pytest.raises(ValueError, match=message) as caught:
        ek.load_tflite(copied)
    assert copied.name in str(caught.value)


def test_a_file_that_tells_nothing_is_refused(copied):
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(copied.read_bytes()))
    model.metadata = []
    copied.with_suffix(".json").unlink()
    copied.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    with pytest.raises(ValueError, match="does not tell its size and threshold"):
        ek.load_tflite(copied)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda told: told["threshold"].update(threshold=-0.7), "the same threshold"),
        (lambda told: told["classes"].update(minority=["x"]), "the same classes"),
        (lambda told: told.pop("recipe"), "the same recipe"),
        (lambda told: told.update(file=None), "'file' must be object"),
        (lambda told: told["file"].update(sha256=7), "'file.sha256' must be string"),
        (lambda told: told["golden"].update(tolerance=-1), "'golden.tolerance' must"),
        (lambda told: told.pop("golden"), "must contain .*golden"),
    ],
)
def test_the_json_beside_tells_what_the_file_does(copied, change, message):
    beside = copied.with_suffix(".json")
    told = json.loads(beside.read_text())
    change(told)
    beside.write_text(json.dumps(told))
    with pytest.raises(ValueError, match=message) as caught:
        ek.load_tflite(copied)
    assert beside.name in str(caught.value)


def test_exports_of_version_0_1_0_are_read(copied):
    beside = copied.with_suffix(".json")
    told = json.loads(beside.read_text())
    del told["results"]
    beside.write_text(json.dumps(told))
    assert ek.load_tflite(copied).threshold == THRESHOLD


@pytest.mark.slow
@pytest.mark.parametrize("quantize", ["none", "float16", "dynamic", "int8"])
def test_the_threshold_is_found_in_the_graph_of_each_form(tmp_path, quantize):
    path = export_tiny(tmp_path, quantize, calibrated=False)
    assert TFLiteGraph(path.read_bytes()).threshold == 0
    assert ek.load_tflite(path).calibration is None
    path = export_tiny(tmp_path, quantize)
    assert np.float32(TFLiteGraph(path.read_bytes()).threshold) == np.float32(THRESHOLD)


def test_a_network_that_decides_otherwise_is_refused(copied):
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(copied.read_bytes()))
    for code in model.operatorCodes:
        if code.builtinCode == schema.BuiltinOperator.LESS:
            code.builtinCode = schema.BuiltinOperator.GREATER
            code.deprecatedBuiltinCode = schema.BuiltinOperator.GREATER
    copied.with_suffix(".json").unlink()
    copied.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    with pytest.raises(ValueError, match="computed by CAST of GREATER"):
        ek.load_tflite(copied)


def test_threads_that_share_a_model_get_their_own_answers(exported, images):
    model = ek.load_tflite(exported)
    expected = model.predict(images)
    wrong = []

    def score_all():
        for number in range(250):
            row = number % len(images)
            if model.predict_on_batch(images[row : row + 1])[0] != expected[row]:
                wrong.append(row)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=score_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(interval)
    assert not wrong


def test_images_are_checked_as_those_of_a_model_in_keras(exported, images):
    model = ek.load_tflite(exported)
    with pytest.raises(ValueError, match=r"must have the shape \(n, 24, 32, 3\)"):
        model.predict_on_batch(np.zeros((1, 48, 48, 3), "uint8"))
    with pytest.raises(ValueError, match="pixels above 255"):
        model.outputs(images.astype("float32") + 1)
    with pytest.warns(UserWarning, match="multiply by 255"):
        model.predict(images / 255)


def test_scores_that_are_no_numbers_are_refused(copied, images):
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(copied.read_bytes()))
    for tensor in model.subgraphs[0].tensors:
        buffer = model.buffers[tensor.buffer]
        is_kernel = tensor.type == schema.TensorType.FLOAT32 and len(tensor.shape) == 4
        if is_kernel and buffer.data is not None and len(buffer.data):
            values = np.full(len(buffer.data) // 4, np.nan, "float32")
            buffer.data = np.frombuffer(values.tobytes(), "uint8")
    content = bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    with pytest.raises(ValueError, match="scores that are no numbers.*Received"):
        ek.TFLiteModel(content).predict(images)


def test_a_trial_without_an_end_is_told_in_words(exported, monkeypatch):
    monkeypatch.setattr(tflite_model, "_LOADING", "import time; time.sleep(60)")
    monkeypatch.setattr(tflite_model, "_LOADING_SECONDS", 0.5)
    with pytest.raises(ValueError, match="did not end in 0.5 seconds"):
        ek.load_tflite(exported)


def test_class_names_that_are_no_text_travel_with_a_file(tmp_path):
    names = os.fsdecode(b"gut\xe9"), os.fsdecode(b"<b>\xff\n|")
    provenance = ek.Provenance(names[:1], names[1:])
    path = tmp_path / "odd.tflite"
    images = np.random.default_rng(0).integers(0, 256, (8, HEIGHT, WIDTH, 3), "uint8")
    ek.export_tflite(tiny_model(), path, representative=images, provenance=provenance)
    beside = json.loads(path.with_suffix(".json").read_text("utf-8"))
    assert beside["classes"] == {"majority": [names[0]], "minority": [names[1]]}
    assert ek.load_tflite(path).metadata["classes"] == beside["classes"]
    card = path.with_suffix(".md").read_text("utf-8")
    assert "udce9" in card and "<b>" not in card
