import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

import egan_keras as ek
from egan_keras.exporting import conversion
from egan_keras.exporting.conversion import FORMS
from egan_keras.exporting.tflite_graph import TFLiteGraph
from egan_keras.exporting.tflite_model import read_metadata

pytestmark = pytest.mark.whole

# In standard deviations of the scores.
LARGEST_DIFFERENCE = 1e-4


@pytest.fixture(scope="module")
def trained(digits, tiny_weights):
    """A tiny EGAN that tells zeros from ones, with its held-out images."""
    keras.utils.set_random_seed(0)
    images, labels = digits
    model = ek.EGAN.from_backbones(
        "MobileNet:alpha=0.25",
        "MobileNet:alpha=0.25",
        image_shape=(32, 32, 3),
        weights=tiny_weights,
        network_size=32,
    )
    model.compile()
    model.fit(images[:100], labels[:100], epochs=5, verbose=0)
    model.calibrate(images[100:], labels[100:], specificity=0.9)
    return model


@pytest.fixture(scope="module")
def exported(trained, digits, tmp_path_factory):
    """The four forms of it: `Export` by form."""
    folder = tmp_path_factory.mktemp("exported")
    images, labels = digits
    return {
        form: ek.export_tflite(
            trained,
            folder / f"{form}.tflite",
            quantize=form,
            representative=(images[:100], labels[:100]),
            validation_data=(images[100:], labels[100:]),
            test_data=(images[:100], labels[:100]),
            provenance=ek.Provenance(("zero",), ("one",), 51, 49, seed=0),
        )
        for form in FORMS
    }


def run(path, images, dtype="uint8"):
    runner = Interpreter(model_content=path.read_bytes()).get_signature_runner()
    outputs = [runner(images=image[None].astype(dtype)) for image in images]
    return {
        name: np.concatenate([each[name] for each in outputs])
        for name in ("score", "is_minority")
    }


def check_equal(scores, expected):
    allowed = LARGEST_DIFFERENCE * max(1, expected.std())
    np.testing.assert_allclose(scores, expected, rtol=0, atol=allowed)


def check_decisions(is_minority, scores, threshold):
    """The decisions are the model's, but of images that rounding may carry across."""
    allowed = LARGEST_DIFFERENCE * max(1, scores.std())
    clear = np.abs(scores - threshold) > allowed
    assert clear.mean() > 0.9
    called = (scores < threshold).astype("float32")
    np.testing.assert_array_equal(np.asarray(is_minority)[clear], called[clear])


@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_saved_model_scores_as_keras_does(trained, digits, tmp_path, batch_size):
    images, labels = digits
    held_out = (images[100:], labels[100:])
    ek.export_saved_model(trained, tmp_path / "saved", validation_data=held_out)
    served = tf.saved_model.load(str(tmp_path / "saved"))
    pixels = images[:batch_size]
    outputs = served.signatures["serving_default"](images=tf.constant(pixels))
    scores = trained.predict(pixels, verbose=0)
    check_equal(outputs["score"], scores)
    check_decisions(outputs["is_minority"], scores, trained.threshold)
    told = json.loads((tmp_path / "saved/assets.extra/egan.json").read_text())
    assert told["threshold"]["threshold"] == trained.threshold


def test_float_tflite_scores_as_keras_does(trained, exported, digits):
    outputs = run(exported["none"].path, digits[0])
    scores = trained.predict(digits[0], verbose=0)
    check_equal(outputs["score"], scores)
    check_decisions(outputs["is_minority"], scores, trained.threshold)


@pytest.mark.parametrize("form", FORMS)
def test_the_threshold_in_the_graph_is_the_one_that_is_told(exported, digits, form):
    outputs = run(exported[form].path, digits[0])
    threshold = exported[form].calibration.threshold
    expected = (outputs["score"] < threshold).astype("float32")
    np.testing.assert_array_equal(outputs["is_minority"], expected)
    assert 0 < expected.mean() < 1


@pytest.mark.parametrize("form", [form for form in FORMS if form != "none"])
def test_the_threshold_is_set_again_on_quantised_scores(exported, digits, form):
    images, labels = digits
    held_out = images[100:][labels[100:] == 0]
    scores = run(exported[form].path, held_out)["score"][:, 0]
    again = ek.thresholds.calibrate(scores, np.zeros(len(scores)), specificity=0.9)
    allowed = LARGEST_DIFFERENCE * max(1, scores.std())
    assert abs(exported[form].calibration.threshold - again.threshold) <= allowed
    assert exported[form].calibration.guarantee == again.guarantee


def test_quantised_files_are_smaller(exported):
    sizes = {form: export.path.stat().st_size for form, export in exported.items()}
    assert sizes["float16"] < 0.6 * sizes["none"]
    assert max(sizes["dynamic"], sizes["int8"]) < 0.45 * sizes["none"]


@pytest.mark.parametrize("form", FORMS)
def test_golden_samples_hold_with_the_written_file(exported, form):
    export = exported[form]
    told = json.loads(export.path.with_suffix(".json").read_text())
    names = [sample["file"] for sample in told["golden"]["images"]]
    images = [np.asarray(Image.open(export.path.parent / name)) for name in names]
    outputs = run(export.path, np.stack(images))
    golden = told["golden"]["images"]
    expected = np.array([sample["score"] for sample in golden])
    differences = np.abs(outputs["score"][:, 0] - expected)
    assert differences.max() <= told["golden"]["tolerance"]
    called = [sample["is_minority"] for sample in golden]
    np.testing.assert_array_equal(outputs["is_minority"][:, 0], called)
    assert set(called) == {0, 1}


def test_metadata_inside_the_file_equal_those_beside_it(exported):
    path = exported["int8"].path
    inside = read_metadata(path.read_bytes())
    beside = json.loads(path.with_suffix(".json").read_text())
    assert {name: beside[name] for name in inside} == inside
    assert inside["classes"] == {"majority": ["zero"], "minority": ["one"]}
    assert beside["file"]["bytes"] == path.stat().st_size


def test_metadata_leave_scores_as_they_were(trained, exported, digits):
    content = exported["none"].path.read_bytes()
    told = read_metadata(content)
    graph = TFLiteGraph(content)
    graph.embed({**told, "more": "x" * 10_000})
    before = ek.TFLiteModel(content).predict(digits[0])
    after = ek.TFLiteModel(graph.to_bytes()).predict(digits[0])
    np.testing.assert_array_equal(before, after)


def test_the_model_card_names_data_threshold_and_limits(exported):
    card = exported["int8"].path.with_suffix(".md").read_text()
    assert "51 majority images (zero) and 49 minority images (one): 1 to 1." in card
    assert exported["int8"].calibration.guarantee in card
    assert "| TFLite int8, held out |" in card
    assert "It has seen 49 minority images" in card
    assert re.search(r"- Form: int8 \([1-9]\d?% of the multiplications", card)


@pytest.mark.parametrize("form", ["none", "int8"])
def test_every_figure_that_travels_with_a_file_is_its_own(exported, digits, form):
    path, (images, labels) = exported[form].path, digits
    report = ek.evaluate(ek.load_tflite(path), images[:100], labels[:100])
    results = json.loads(path.with_suffix(".json").read_text())["results"]
    assert results == exported[form].results
    assert results["threshold"] == exported[form].calibration.threshold
    card = path.with_suffix(".md").read_text()
    assert f"at its threshold {results['threshold']:.9g}" in card
    for name in ("auroc", "sensitivity", "specificity", "f1"):
        assert results[name] == pytest.approx(report[name], abs=1e-6)
        assert results["ci95"][name] == pytest.approx(report["ci95"][name], abs=1e-6)
        assert re.search(rf"\| {results[name]:.3f} \| [01]\.\d+ to [01]\.\d+ \|", card)
    shown = f"specificity {results['specificity']:.3f}"
    assert shown in str(exported[form])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_pixels_are_taken_as_asked_in_a_free_batch(trained, digits, tmp_path, dtype):
    images, labels = digits
    path = tmp_path / "free.tflite"
    ek.export_tflite(
        trained,
        path,
        validation_data=(images[:20], labels[:20]),
        input_dtype=dtype,
        batch_size=None,
    )
    model = ek.load_tflite(path)
    expected = trained.predict(images[:9], verbose=0)
    for size in (1, 4, 9):
        scores = model.predict(images[:9].astype(dtype), batch_size=size)
        check_equal(scores, expected)


def test_an_architecture_with_a_missing_operator_is_refused_by_name(tmp_path):
    module = tf.Module()
    module.serve = tf.function(
        lambda images: {"score": tf.math.erfinv(images)},
        input_signature=[tf.TensorSpec((1, 2), tf.float32, name="images")],
    )
    signatures = {"serving_default": module.serve}
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=signatures)
    with pytest.raises(ValueError, match="no built-in operator.*Received: Erfinv"):
        conversion.convert(tmp_path / "saved", "none")
