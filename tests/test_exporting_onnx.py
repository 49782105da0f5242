"""Exports to ONNX: they score as Keras does, and tell what a .tflite file tells."""

import importlib.util
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tiny_export import HEIGHT, WIDTH, tiny_model

import egan_keras as ek
from egan_keras.cli import main, runs
from egan_keras.exporting import onnx_file

WHY = "needs the extra `onnx`: pip install 'egan-keras[onnx]'"
needs_onnx = [
    pytest.mark.whole,
    pytest.mark.skipif(not importlib.util.find_spec("tf2onnx"), reason=WHY),
    pytest.mark.skipif(not importlib.util.find_spec("onnxruntime"), reason=WHY),
]


def run(path, images):
    """Returns what the file puts out for uint8 images, by name, without our code."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": images}), strict=True))


@pytest.fixture(scope="module")
def held_out(digits):
    images, labels = digits
    return images[100:], labels[100:]


@pytest.fixture(scope="module")
def trained(digits):
    """An EGAN whose features are smooth enough that rounding is not amplified."""
    keras.utils.set_random_seed(0)
    images, labels = digits
    model = ek.EGAN.from_backbones(
        "MobileNet:alpha=0.25",
        "MobileNet:alpha=0.25",
        image_shape=(32, 32, 3),
        weights=None,
        network_size=40,
    )
    model.compile()
    model.fit(images[:100], labels[:100], epochs=5, verbose=0)
    model.calibrate(images[100:], labels[100:], specificity=0.9)
    return model


class TestAnExport:
    pytestmark = needs_onnx

    @pytest.fixture(scope="class")
    def exported(self, trained, digits, held_out, tmp_path_factory):
        return ek.export_onnx(
            trained,
            tmp_path_factory.mktemp("onnx") / "egan.onnx",
            representative=(digits[0][:100], digits[1][:100]),
            validation_data=held_out,
            test_data=held_out,
            provenance=ek.Provenance(("zero",), ("one",), 51, 49, seed=0),
            heat_map=True,
        )

    def test_it_scores_as_keras_does_in_batches_of_any_size(
        self, exported, trained, held_out
    ):
        for count in (1, 7, len(held_out[0])):
            images = held_out[0][:count]
            found = run(exported.path, images)
            scores = trained.predict(images, verbose=0)
            allowed = 1e-4 * max(1, scores.std())
            np.testing.assert_allclose(found["score"], scores, rtol=0, atol=allowed)
            called = (found["score"] < trained.threshold).astype("float32")
            np.testing.assert_array_equal(found["is_minority"], called)
            maps = ek.heat_maps(trained, images)
            np.testing.assert_allclose(found["heat_map"], maps, rtol=0, atol=1e-4)
        assert 0 < called.mean() < 1
        assert exported.checks["ONNX, held out"].changed_decisions == 0

    def test_it_tells_inside_what_stands_beside_it(self, exported, trained):
        import onnx

        (entry,) = onnx.load(exported.path).metadata_props
        inside = json.loads(entry.value)
        beside = json.loads(exported.path.with_suffix(".json").read_text())
        assert entry.key == "egan_keras"
        assert {name: beside[name] for name in inside} == inside
        assert inside["threshold"]["threshold"] == trained.threshold
        assert inside["threshold"]["guarantee"] == trained.calibration.guarantee
        assert inside["classes"] == {"majority": ["zero"], "minority": ["one"]}
        assert inside["input"]["shape"] == [None, 32, 32, 3]
        assert beside["file"]["bytes"] == exported.path.stat().st_size
        assert exported.calibration == trained.calibration
        assert "| ONNX, test |" in exported.path.with_suffix(".md").read_text()

    def test_golden_samples_hold(self, exported):
        told = json.loads(exported.path.with_suffix(".json").read_text())["golden"]
        paths = [exported.path.parent / each["file"] for each in told["images"]]
        found = run(exported.path, np.stack([np.asarray(Image.open(p)) for p in paths]))
        expected = [each["score"] for each in told["images"]]
        differences = np.abs(found["score"][:, 0] - expected)
        assert differences.max() <= told["tolerance"] < 0.1
        called = [each["is_minority"] for each in told["images"]]
        assert list(found["is_minority"][:, 0]) == called and set(called) == {0, 1}

    def test_one_that_scores_otherwise_is_refused_unless_forced(
        self, trained, held_out, tmp_path, monkeypatch
    ):
        right = onnx_file._log1p

        def wrong(graph, node, name, arguments):
            right(graph, node, name, arguments)
            node.type = "Abs"

        monkeypatch.setattr(onnx_file, "_log1p", wrong)
        path, given = tmp_path / "egan.onnx", {"validation_data": held_out}
        with pytest.raises(ValueError, match="ONNX file does not score as the model"):
            ek.export_onnx(trained, path, **given)
        assert not any(tmp_path.iterdir())
        assert ek.export_onnx(trained, path, **given, force=True).shortfalls

    def test_an_operator_that_onnx_lacks_is_named(self, tmp_path):
        module = tf.Module()
        module.serve = tf.function(
            lambda images: {"score": tf.math.erfinv(images)},
            input_signature=[tf.TensorSpec((1, 2), tf.float32, name="images")],
        )
        tf.saved_model.save(module, str(tmp_path))
        told = {"input": {"shape": [1, 2], "dtype": "float32", "name": "images"}}
        with pytest.raises(ValueError, match="no operator in ONNX.*Received: Erfinv"):
            onnx_file.convert(tmp_path, told)

    def test_pixels_are_taken_as_asked_one_image_at_a_time(self, tmp_path):
        shape = (8, HEIGHT, WIDTH, 3)
        images = np.random.default_rng(0).uniform(0, 255, shape).astype("float32")
        model, path = tiny_model(), tmp_path / "tiny.onnx"
        one = {"input_dtype": "float32", "batch_size": 1}
        ek.export_onnx(model, path, representative=images, **one)
        found = [run(path, image[None])["score"] for image in images]
        scores = model.predict(images, verbose=0)
        np.testing.assert_allclose(np.concatenate(found), scores, atol=1e-3)


def test_another_suffix_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "_PACKAGES", ())
    with pytest.raises(ValueError, match=r"needs the suffix .onnx.*egan.onnx"):
        ek.export_onnx(tiny_model(), tmp_path / "egan.tflite")


def test_what_to_install_is_told_before_a_model_is_loaded(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(onnx_file, "_PACKAGES", ("onnx", "none_such"))
    monkeypatch.setattr(runs, "load_model", lambda path: 1 / 0)
    monkeypatch.setattr(runs.RunConfig, "load", lambda path: None)
    command = ["export", str(tmp_path), "--format", "onnx"]
    assert main([*command, "--out", str(tmp_path / "a.onnx")]) == 2
    assert "Received: none named" in (error := capsys.readouterr().err)
    assert "pip install 'egan-keras[onnx]'" in error
    with pytest.raises(ImportError, match="none_such"):
        ek.export_onnx(tiny_model(), tmp_path / "a.onnx")
