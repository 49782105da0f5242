"""Damaged and foreign model files: the edge kit answers in words and never crashes."""

import json
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from tiny_export import IMPOSSIBLE, THRESHOLD, export_tiny, with_description

import egan_keras
from egan_keras.exporting.tflite_graph import TFLiteGraph

pytestmark = pytest.mark.whole

TESTS = Path(__file__).parent
KIT = TESTS.parent / "export"


@pytest.fixture(scope="module", params=["none", "int8"])
def exported(request, tmp_path_factory):
    return export_tiny(tmp_path_factory.mktemp("tiny"), request.param)


@pytest.fixture
def data(exported):
    return exported.read_bytes()


@pytest.fixture
def changed(data):
    """Writes the model anew with one thing changed; returns its bytes."""

    def write(change) -> bytes:
        model = flatbuffer_utils.convert_bytearray_to_object(bytearray(data))
        change(model)
        return bytes(flatbuffer_utils.convert_object_to_bytearray(model))

    return write


@pytest.fixture
def kit(monkeypatch):
    """The kit's own modules, taken out again after the test."""
    names = (
        "flatbuffer structure threshold schemas text description model images golden"
    ).split()
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(KIT))
    import model

    yield model
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def load(kit, tmp_path):
    """Writes bytes to a file and loads it without a trial."""

    def write_and_load(data: bytes):
        path = tmp_path / "other.tflite"
        path.write_bytes(data)
        return kit.load(path, trust=True)

    return write_and_load


def _tensor(model, number=0):
    return model.subgraphs[0].tensors[number]


CHANGES = {
    "tensor 0 refers to number 900": lambda m: setattr(_tensor(m), "buffer", 900),
    r"tensor 0 has shape \[1, -24": lambda m: setattr(
        _tensor(m), "shape", [1, -24, 32, 3]
    ),
    "more than the 1073741824 allowed": lambda m: setattr(
        _tensor(m), "shape", [1, 24, 2**30, 3]
    ),
    "tensor 0 has type 99": lambda m: setattr(_tensor(m), "type", 99),
    "operator 0 refers to number 77": lambda m: setattr(
        m.subgraphs[0].operators[0], "opcodeIndex", 77
    ),
    "operator 0's input refers to number 500": lambda m: setattr(
        m.subgraphs[0].operators[0], "inputs", [500]
    ),
    "the network's output refers to number -2": lambda m: setattr(
        m.subgraphs[0], "outputs", [-2]
    ),
    "signature 'serving_default' refers to number 3": lambda m: setattr(
        m.signatureDefs[0], "subgraphIndex", 3
    ),
    "of signature 'serving_default' refers to number 600": lambda m: setattr(
        m.signatureDefs[0].outputs[0], "tensorIndex", 600
    ),
    "metadata 'egan_keras' refers to number 999": lambda m: setattr(
        m.metadata[-1], "buffer", 999
    ),
    "it holds no network": lambda m: setattr(m, "subgraphs", []),
    "its schema has version 4": lambda m: setattr(m, "version", 4),
}


@pytest.mark.parametrize("message", CHANGES)
def test_wrong_indices_shapes_and_types_are_found(load, kit, changed, message):
    with pytest.raises(kit.ModelError, match=message):
        load(changed(CHANGES[message]))


def test_a_buffer_of_another_size_than_its_tensor_is_found(load, kit, changed):
    def shorten(model):
        for tensor in model.subgraphs[0].tensors:
            buffer = model.buffers[tensor.buffer]
            if buffer.data is not None and len(buffer.data) > 1:
                buffer.data = buffer.data[:-1]

    with pytest.raises(kit.ModelError, match=r"needs \d+ bytes, but its buffer has"):
        load(changed(shorten))


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -1.0, 1e35])
def test_scales_that_no_network_has_are_found(load, kit, changed, scale):
    def change(model):
        _tensor(model).quantization = schema.QuantizationParametersT()
        _tensor(model).quantization.scale = [scale]
        _tensor(model).quantization.zeroPoint = [0]

    with pytest.raises(kit.ModelError, match="tensor 0 has a scale outside"):
        load(changed(change))


def test_offsets_out_of_the_file_and_endless_sharing_are_found(kit, data):
    from structure import DamagedError, check_structure

    for offset in (len(data), 2**31, 2**32 - 4):
        with pytest.raises(DamagedError, match="outside the file"):
            check_structure(struct.pack("<I", offset) + data[4:])
    with pytest.raises(DamagedError, match="identifier"):
        check_structure(b"")


def test_a_model_without_metadata_is_refused(load, kit, changed):
    with pytest.raises(kit.ModelError, match="holds nothing from egan_keras"):
        load(changed(lambda model: setattr(model, "metadata", [])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "another version of the format; expected 1"),
        ({"format": "else"}, "expected format 'egan-keras'"),
        ({"input": None}, "is incomplete or wrong.*'input' must be object"),
    ],
)
def test_metadata_that_cannot_be_used_is_refused(load, kit, data, change, message):
    with pytest.raises(kit.ModelError, match=message):
        load(with_description(data, lambda told: {**told, **change}))


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_be_is_refused_with_file_and_key(load, kit, data, name):
    change, message = IMPOSSIBLE[name]
    message = message.replace("must be object", "(must be object|is no JSON)")
    with pytest.raises(kit.ModelError, match=message) as caught:
        load(with_description(data, change))
    assert "other.tflite" in str(caught.value)


def test_a_network_that_decides_otherwise_is_refused(load, kit, changed):
    def turn(model):
        for code in model.operatorCodes:
            if code.builtinCode == schema.BuiltinOperator.LESS:
                code.builtinCode = schema.BuiltinOperator.GREATER
                code.deprecatedBuiltinCode = schema.BuiltinOperator.GREATER

    with pytest.raises(kit.ModelError, match="does not compare the score with one"):
        load(changed(turn))


def test_the_threshold_in_the_network_is_found_as_by_the_package(kit, data):
    from threshold import threshold_in

    assert threshold_in(data) == TFLiteGraph(data).threshold == np.float32(THRESHOLD)


def test_threads_that_share_a_model_get_their_own_answers(kit, exported):
    model = kit.load(exported, trust=True)
    images = np.random.default_rng(0).integers(0, 256, (40, *model.size, 3), "uint8")
    expected = [model.score(image) for image in images]
    wrong = []

    def score_all():
        for number in range(250):
            row = number % len(images)
            try:
                if model.score(images[row]) != expected[row]:
                    wrong.append(row)
            except kit.ModelError as error:
                wrong.append(str(error))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=score_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(interval)
    assert not wrong


@pytest.mark.parametrize("name", ["schemas.py", "text.py"])
def test_the_kit_has_the_packages_own_code(name):
    package = Path(egan_keras.__file__).parent
    assert (KIT / name).read_text() == (package / name).read_text()


def test_a_file_that_is_not_the_one_described_is_refused(kit, data, exported, tmp_path):
    from description import ChangedModelError

    path = tmp_path / "tiny.tflite"
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    beside = exported.with_suffix(".json").read_text()
    path.with_suffix(".json").write_text(beside)
    with pytest.raises(ChangedModelError, match="SHA-256 is .* Copy both again"):
        kit.load(path)
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(kit.ModelError, match="Move it elsewhere, or export"):
        kit.load(path)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os; os.abort()", "ended the process that tried it .signal 6, a crash"),
        ("import time; time.sleep(60)", "did not end in 1 seconds"),
        ("import sys; sys.exit('it has said why')", "exit code 1: it has said why"),
    ],
)
def test_a_trial_that_crashes_or_hangs_is_told_in_words(
    kit, exported, tmp_path, monkeypatch, program, message
):
    trial = tmp_path / "trial.py"
    trial.write_text(program)
    monkeypatch.setattr(kit, "_TRIAL", trial)
    monkeypatch.setattr(kit, "_TRIAL_SECONDS", 1)
    with pytest.raises(kit.ModelError, match=message):
        kit.load(exported)


def test_what_only_the_runtime_can_find_is_told_in_words(changed, tmp_path):
    path = tmp_path / "other.tflite"

    def drop_input(model):
        for operator in model.subgraphs[0].operators:
            operator.inputs = operator.inputs[:1]

    path.write_bytes(changed(drop_input))
    done = subprocess.run(
        [sys.executable, KIT / "score.py", path, "--info"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("score.py: error: The ")
    assert "other.tflite" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_no_damaged_copy_crashes_the_caller(exported):
    count = 500
    done = subprocess.run(
        [
            sys.executable,
            TESTS / "helpers" / "damage_models.py",
            exported,
            str(count),
            "0",
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    ended = json.loads(done.stdout)
    assert ended["crashed_caller"] == []
    answered = sum(ended[key] for key in ended if not key.startswith("crashed"))
    assert answered + len(ended["crashed_trial"]) == count
    assert ended["refused_early"] > count / 2 and ended["loaded"] > 0
