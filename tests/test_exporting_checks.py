import dataclasses
import json
import shutil
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

import egan_keras as ek
from egan_keras.exporting import comparison, exports, work

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def model():
    """A network of three layers: what is tested here does not depend on its size."""
    keras.utils.set_random_seed(0)
    shape = (32, 32, 3)
    generator = keras.Sequential(
        [keras.Input(shape), keras.layers.Conv2D(3, 3, padding="same")]
    )
    discriminator = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, strides=4, activation="tanh"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1),
        ]
    )
    return ek.EGAN(generator, discriminator)


def test_parity_counts_what_changed():
    expected = np.array([-2.0, -1.0, 1.0, 2.0])
    measured = comparison.compare(expected, 0.0, expected + 1.5, 0.0, [1, 1, 0, 0])
    assert measured.largest_difference == 1.5
    assert measured.changed_decisions == 0.25
    assert measured.rank_correlation == pytest.approx(1.0)
    assert measured.auroc_change == 0.0


def test_scores_that_collapsed_fall_short():
    expected = np.linspace(-3, 3, 50)
    labels = expected < 0
    measured = comparison.compare(expected, 0.0, np.zeros(50), 0.0, labels)
    found = " ".join(measured.shortfalls("int8"))
    assert "rank correlation 0.000 (at least 0.95)" in found
    assert "AUROC change -0.5000" in found and "changed decisions 50.0%" in found
    assert measured.shortfalls("none") == ["largest difference 3 (at most 0.00018)"]


def test_scores_that_are_no_numbers_fall_short():
    measured = comparison.compare(np.arange(4.0), 0.0, np.full(4, np.nan), 0.0)
    assert measured.shortfalls("int8") and measured.shortfalls("none")


def test_an_export_that_scores_otherwise_is_refused_and_leaves_nothing(
    model, few_ones, tmp_path, monkeypatch
):
    monkeypatch.setattr(comparison, "LEAST_RANK_CORRELATION", 1.1)
    with pytest.raises(ValueError, match="dynamic.*rank correlation.*quantize='none'"):
        ek.export_tflite(
            model,
            tmp_path / "egan.tflite",
            quantize="dynamic",
            validation_data=few_ones,
        )
    assert not list(tmp_path.iterdir())


def test_force_writes_it_and_says_so(model, few_ones, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "LARGEST_DIFFERENCE", -1.0)
    path = tmp_path / "egan.tflite"
    export = ek.export_tflite(model, path, validation_data=few_ones, force=True)
    assert "Beyond tolerance: largest difference" in str(export)
    assert "Use with care" in path.with_suffix(".md").read_text()


def test_no_image_is_golden_that_keras_calls_otherwise(model, few_ones, tmp_path):
    path = tmp_path / "egan.tflite"
    ek.export_tflite(model, path, validation_data=few_ones)
    images = comparison.gather(model, None, few_ones, None)
    called = images.validation.scores < 0
    opposite = dataclasses.replace(images.validation, scores=np.where(called, 1, -1))
    disagreeing = dataclasses.replace(images, validation=opposite)
    written = ek.load_tflite(path)
    folder = tmp_path / "golden"
    told = comparison.write_golden(written, written, disagreeing, folder)
    assert told["images"] == [] and not list(folder.iterdir())


def test_a_failure_while_writing_keeps_the_earlier_export(
    model, few_ones, tmp_path, monkeypatch
):
    path = tmp_path / "egan.tflite"
    ek.export_tflite(model, path, validation_data=few_ones)
    before = {each: each.stat().st_mtime_ns for each in tmp_path.rglob("*")}

    def fail(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(work, "model_card", fail)
    with pytest.raises(KeyboardInterrupt):
        ek.export_tflite(model, path, validation_data=few_ones)
    assert {each: each.stat().st_mtime_ns for each in tmp_path.rglob("*")} == before


def test_without_held_out_images_a_quantised_threshold_has_no_guarantee(
    model, few_ones, tmp_path
):
    # Upside down they are images that training did not see.
    model.calibrate(few_ones[0][:, ::-1], few_ones[1], specificity=0.9)
    export = ek.export_tflite(
        model, tmp_path / "a.tflite", quantize="float16", representative=few_ones[0]
    )
    model.calibration, threshold = None, model.threshold
    assert export.calibration.threshold == threshold
    assert export.calibration.guarantee.startswith("No guarantee: the threshold was")


def test_representative_images_are_of_both_classes(model, few_ones):
    images, labels = few_ones
    many = np.concatenate([images[labels == 0]] * 5 + [images[labels == 1]])
    is_one = np.arange(len(many)) >= 500
    chosen = comparison.gather(model, (many, is_one), None, None).representative
    assert len(chosen.images) == 200 and chosen.labels.sum() == 4
    unlabelled = comparison.gather(model, many, None, None).representative
    assert len(unlabelled.images) == 200 and unlabelled.labels is None


def test_an_export_without_images_to_compare_by_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match="compared with the model on real images"):
        ek.export_tflite(model, tmp_path / "a.tflite")
    with pytest.raises(ValueError, match="compared with the model on real images"):
        ek.export_saved_model(model, tmp_path / "a")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.lite", {}, "needs the suffix .tflite.*a.lite"),
        ("a.tflite", {"quantize": "int4"}, "Unknown form.*'int4'"),
        ("a.tflite", {"quantize": "int8"}, "ranges of int8.*representative=None"),
        ("a.tflite", {"input_dtype": "int8"}, "type of pixels.*'int8'"),
        ("a.tflite", {"batch_size": 8}, "fixed at 1 image or free.*batch_size=8"),
    ],
)
def test_wrong_options_are_refused_early(
    model, few_ones, tmp_path, name, options, message
):
    with pytest.raises(ValueError, match=message):
        ek.export_tflite(model, tmp_path / name, validation_data=few_ones, **options)


def test_folders_are_made_and_steps_named(model, few_ones, tmp_path, capsys):
    path = tmp_path / "served" / "1" / "a.tflite"
    ek.export_tflite(model, path, validation_data=few_ones)
    assert path.is_file() and ek.load_tflite(path)
    steps = capsys.readouterr().out.splitlines()
    assert "Converting it to TFLite, none" in steps and len(steps) == 5
    saved = tmp_path / "deep" / "saved"
    ek.export_saved_model(model, saved, validation_data=few_ones, verbose=0)
    assert (saved / "saved_model.pb").is_file() and capsys.readouterr().out == ""


def test_a_file_in_place_of_a_folder_is_named(model, few_ones, tmp_path):
    (tmp_path / "served").write_text("")
    for path in ("served/a.tflite", "served/1/a.tflite"):
        with pytest.raises(NotADirectoryError, match="file stands where the folder"):
            ek.export_tflite(model, tmp_path / path, validation_data=few_ones)
    (tmp_path / "a.json").mkdir()
    with pytest.raises(ValueError, match="is a folder; expected a file.*a.json"):
        ek.export_tflite(model, tmp_path / "a.tflite", validation_data=few_ones)
    (tmp_path / "b_golden").write_text("")
    with pytest.raises(ValueError, match="golden samples to is a file.*b_golden"):
        ek.export_tflite(model, tmp_path / "b.tflite", validation_data=few_ones)


def test_what_a_killed_export_left_is_removed_unless_it_lives(tmp_path, capsys):
    left = tmp_path / ".a.tflite.0123abcd.unfinished"
    left.mkdir()
    (left / "model").write_text("half")
    (tmp_path / ".b.tflite.0123abcd.unfinished").mkdir()
    with work.workplace(tmp_path / "a.tflite", 0) as folder:
        assert f"killed export had left: {left}" in capsys.readouterr().out
        assert not left.exists()
        with work.workplace(tmp_path / "a.tflite", 0) as other:
            assert folder.is_dir() and other != folder
    names = [path.name for path in tmp_path.iterdir()]
    assert names == [".b.tflite.0123abcd.unfinished"]


def test_no_moment_leaves_a_model_with_anothers_json(
    model, few_ones, tmp_path, monkeypatch
):
    path = tmp_path / "a.tflite"
    ek.export_tflite(model, path, validation_data=few_ones)
    put, done = exports.put_in_place, []

    def stop(made, target):
        if done:
            # As a kill at any of these moments would leave them.
            with pytest.raises(ValueError, match="not the one that the JSON beside"):
                ek.load_tflite(path)
        done.append(put(made, target))

    monkeypatch.setattr(exports, "put_in_place", stop)
    ek.export_tflite(model, path, quantize="float16", validation_data=few_ones)
    assert len(done) == 4 and ek.load_tflite(path).metadata["quantize"] == "float16"


def test_names_are_no_markup_in_the_model_card(model, few_ones, tmp_path):
    path = tmp_path / "a_b_<i>.tflite"
    classes = ("<script>x</script>", "a|b"), ("**rare**\n# heading",)
    ek.export_tflite(
        model, path, validation_data=few_ones, provenance=ek.Provenance(*classes)
    )
    card = path.with_suffix(".md").read_text()
    assert "<script>" not in card and "<i>" not in card and "a|b" not in card
    assert "**rare**" not in card and "\n# heading" not in card
    assert "&#60;script&#62;x" in card
    told = json.loads(path.with_suffix(".json").read_text())["classes"]
    assert told == {"majority": list(classes[0]), "minority": list(classes[1])}


def test_without_test_images_the_card_says_so(model, few_ones, tmp_path):
    path = tmp_path / "a.tflite"
    assert ek.export_tflite(model, path, validation_data=few_ones).results is None
    assert "the export was given no test images" in path.with_suffix(".md").read_text()
    with pytest.raises(ValueError, match="expected their labels.*images, None"):
        ek.export_tflite(
            model, path, validation_data=few_ones, test_data=(few_ones[0], None)
        )


def test_a_saved_model_tells_what_it_does_on_test_images(model, few_ones, tmp_path):
    ek.export_saved_model(
        model, tmp_path / "a", validation_data=few_ones, test_data=few_ones
    )
    told = json.loads((tmp_path / "a/assets.extra/egan.json").read_text())["results"]
    report = ek.evaluate(model, *few_ones)
    assert told["n_minority"] == 4
    assert told["auroc"] == pytest.approx(report["auroc"], abs=0.01)


def test_the_space_is_asked_for_before_any_work(
    model, few_ones, tmp_path, monkeypatch, capsys
):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    for export, name in (
        (ek.export_tflite, "a.tflite"),
        (ek.export_saved_model, "a"),
    ):
        with pytest.raises(OSError, match="for an export; expected 1.* MB.* 1.0 kB"):
            export(model, tmp_path / name, validation_data=few_ones)
    assert not list(tmp_path.iterdir()) and capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["a.tflite", "a.onnx", "saved"])
def test_a_disk_that_is_full_meanwhile_is_told_in_words(
    model, few_ones, tmp_path, monkeypatch, name
):
    def fail(*arguments, **options):
        said = "{{function_node}} x.tempstate; No space left on device [Op:SaveV2]"
        raise tf.errors.ResourceExhaustedError(None, None, said)

    monkeypatch.setattr(tf.saved_model, "save", fail)
    # The class is another one for each backend.
    monkeypatch.setattr(type(keras.export.ExportArchive()), "write_out", fail)
    export = {"a.tflite": ek.export_tflite, "a.onnx": ek.export_onnx}
    export = export.get(name, ek.export_saved_model)
    with pytest.raises(OSError, match=f"disk is full.*{name}.*Received: .* free"):
        export(model, tmp_path / name, validation_data=few_ones)
    assert not list(tmp_path.iterdir())


def test_a_converter_that_fails_is_told_in_words(
    model, few_ones, tmp_path, monkeypatch
):
    def fail():
        raise RuntimeError("loc: something\nand more")

    converter = types.SimpleNamespace(convert=fail)
    monkeypatch.setattr(
        tf.lite.TFLiteConverter, "from_saved_model", lambda *a, **o: converter
    )
    with pytest.raises(ValueError, match="converter failed.*RuntimeError: loc: some"):
        ek.export_tflite(model, tmp_path / "a.tflite", validation_data=few_ones)


def test_a_model_whose_scores_are_no_numbers_is_not_exported(few_ones, tmp_path):
    shape = (32, 32, 3)
    generator = keras.Sequential(
        [keras.Input(shape), keras.layers.Conv2D(3, 3, padding="same")]
    )
    nan = keras.initializers.Constant(np.nan)
    discriminator = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, bias_initializer=nan),
        ]
    )
    model = ek.EGAN(generator, discriminator)
    for export, name in (
        (ek.export_tflite, "a.tflite"),
        (ek.export_saved_model, "a"),
    ):
        with pytest.raises(ValueError, match="scores that are no numbers"):
            export(model, tmp_path / name, validation_data=few_ones, force=True)
    assert not list(tmp_path.iterdir())


def test_a_model_on_features_is_refused(tmp_path):
    model = ek.EGAN.from_features(None, 8)
    data = (np.zeros((4, 8)), np.zeros(4))
    with pytest.raises(ValueError, match="built on features.*from_backbones"):
        ek.export_tflite(model, tmp_path / "a.tflite", validation_data=data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no TFLite model"),
        (b"\x00" * 100, "no TFLite model"),
        (b"\xff\xff\xff\x7fTFL3" + b"\x00" * 50, "damaged"),
    ],
)
def test_what_is_no_model_of_ours_is_refused(tmp_path, content, message):
    path = tmp_path / "a.tflite"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        ek.load_tflite(path)


def test_a_changed_or_damaged_file_is_refused_and_crashes_nothing(
    model, few_ones, tmp_path
):
    path = tmp_path / "a.tflite"
    ek.export_tflite(model, path, validation_data=few_ones)
    assert ek.load_tflite(path).image_shape == (32, 32, 3)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not the one that the JSON beside"):
        ek.load_tflite(path)
    path.with_suffix(".json").unlink()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="damaged|cannot be loaded"):
        ek.load_tflite(path)
