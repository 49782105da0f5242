"""Features of many images: what shards hold, and models that train on them."""

import json
import shutil

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import TINY, save_unique
from PIL import Image

import egan_keras as ek
from egan_keras import cli, features
from egan_keras.model.on_features import carry_over
from egan_keras.scale import FeatureTable, Network, jobs, networks
from egan_keras.scale.rows import FEATURES, SCORES, Task, Worker


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    """150 zeros and 40 ones in folders of their names, and a file that is no image."""
    root = tmp_path_factory.mktemp("digits")
    images, labels = digits
    for label, name, count in ((0, "zero", 150), (1, "one", 40)):
        (root / name).mkdir()
        rows = np.flatnonzero(labels == label)[:count]
        for number, row in enumerate(rows):
            save_unique(Image.fromarray(images[row]), root / name / f"{number:03}.png")
    (root / "zero" / "007b.png").write_bytes(b"no image")
    return root


@pytest.fixture(scope="module")
def command(folder, tiny_weights):
    given = ["features", TINY, folder, "--weights", tiny_weights, "--image-size", 32]
    return [*map(str, given), "--shard-size", "50", "--out"]


@pytest.fixture(scope="module")
def out(command, tmp_path_factory):
    """The folder that the command wrote."""
    place = tmp_path_factory.mktemp("features") / "out"
    assert cli.main([*command, str(place)]) == 0
    return place


@pytest.fixture
def rows(out, tmp_path):
    table = FeatureTable(out)
    return table.vectors(tmp_path), table.labels(["zero"], ["one"])


def whole_model(tiny_weights):
    keras.utils.set_random_seed(0)
    model = ek.EGAN.from_backbones(
        TINY, TINY, image_shape=(32, 32, 3), weights=tiny_weights, place_depths=0
    )
    model.compile()
    return model


def trained_images(folder):
    images, *_ = ek.read_images(sorted(folder.glob("*/[0-9]??.png")), image_size=32)
    return images, (np.arange(190) < 40).astype(np.int32)


def trained_on(rows, table):
    keras.utils.set_random_seed(0)
    model = ek.EGAN.from_features(None, table.vector_sizes, place_depths=0)
    model.compile()
    model.fit(*rows, epochs=3, verbose=0)
    return model


@pytest.mark.whole
def test_vectors_are_those_of_the_backbone(out, rows, folder, tiny_weights):
    table = FeatureTable(out)
    paths = [path for x in table.names() for path in x["path"].to_pylist()]
    images, *_ = ek.read_images(paths, image_size=32)
    stem = features.compiled(whole_model(tiny_weights).discriminator.stem)
    (expected,) = stem.raw(images)
    vectors, labels = rows
    assert vectors.shape == expected.shape == (190, sum(table.vector_sizes))
    np.testing.assert_allclose(np.asarray(vectors), expected, rtol=2e-3, atol=2e-3)
    assert labels.sum() == 40 and table.manifest["n_problems"] == 1
    assert [*labels] == [int("/one/" in path) for path in paths]


@pytest.mark.whole
def test_models_train_calibrate_and_are_judged_on_them(out, rows, tiny_weights):
    vectors, labels = rows
    table = FeatureTable(out)
    train, other = np.arange(0, 190, 2), np.arange(1, 190, 2)
    in_files = trained_on((vectors.select(train), labels[train]), table)
    in_memory = trained_on((np.asarray(vectors)[train], labels[train]), table)
    scores = in_files.predict(np.asarray(vectors), verbose=0)
    expected = in_memory.predict(np.asarray(vectors), verbose=0)
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-3)
    held_out = vectors.select(other), labels[other]
    in_files.calibrate(*held_out, specificity=0.8)
    assert in_files.calibration.n_majority == np.sum(labels[other] == 0)
    report = ek.evaluate(in_files, *held_out)
    expected = ek.evaluate(in_memory, np.asarray(vectors)[other], labels[other])
    assert report["auroc"] == pytest.approx(expected["auroc"], abs=0.01)
    assert report["auroc"] > 0.7


@pytest.mark.whole
def test_what_was_trained_on_features_scores_images(out, rows, folder, tiny_weights):
    table = FeatureTable(out)
    model = trained_on(rows, table)
    whole = whole_model(tiny_weights)
    carry_over(model, whole)
    paths = [path for x in table.names() for path in x["path"].to_pylist()]
    images, *_ = ek.read_images(paths, image_size=32)
    scores = whole.predict(images, verbose=0)
    expected = model.predict(np.asarray(rows[0]), verbose=0)
    np.testing.assert_allclose(scores, expected, rtol=0.01, atol=0.01)


@pytest.mark.whole
def test_a_run_gives_the_features_of_its_backbone(out, folder, tiny_weights, tmp_path):
    model = whole_model(tiny_weights)
    model.save(tmp_path / "model.keras")
    given = ["features", tmp_path / "model.keras", folder, "--out", tmp_path / "own"]
    assert cli.main([*map(str, given), "--dtype", "float32"]) == 0
    own = np.asarray(FeatureTable(tmp_path / "own").vectors(tmp_path))
    others = np.asarray(FeatureTable(out).vectors(tmp_path))
    np.testing.assert_allclose(own, others, rtol=2e-3, atol=2e-3)
    assert len([*tmp_path.glob("own/shards/*")]) == 1


@pytest.fixture
def given_gpu(monkeypatch):
    """Takes what Keras computes on for a GPU."""
    monkeypatch.setattr(networks.KerasFunction, "_check_device", lambda self: None)


@pytest.mark.whole
@pytest.mark.parametrize("kind", [SCORES, FEATURES])
def test_keras_on_a_gpu_gives_the_rows_of_a_processor(
    folder, tiny_weights, tmp_path, given_gpu, kind
):
    make = {SCORES: networks.score_network, FEATURES: networks.feature_network}[kind]
    model = whole_model(tiny_weights)
    if kind == SCORES:
        model.fit(*trained_images(folder), epochs=1, verbose=0)
    task = Task(str(tmp_path), kind, make(model), is_export=False)
    files = sorted(map(str, folder.glob("*/*.png")))
    on_processor, on_gpu = (
        Worker(each).table(files) for each in (task, task._replace(on_gpu=True))
    )
    column = {SCORES: "score", FEATURES: "vector"}[kind]
    expected, found = (
        np.array(each[column].drop_null().to_pylist(), np.float32)
        for each in (on_processor, on_gpu)
    )
    assert len(found) == 190 and np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    for each in ("path", "content_hash", "problem"):
        assert on_gpu[each].equals(on_processor[each])
    assert on_gpu.schema == on_processor.schema


@pytest.mark.whole
def test_a_gpu_that_is_not_there_is_said(out, tmp_path):
    content = Network(b"", (out / "network.keras").read_bytes())
    jobs.listing.write(jobs.Folder(str(tmp_path)), iter(["a.png"]), 1)
    with pytest.raises(ValueError, match="Keras sees no GPU"):
        Worker(Task(str(tmp_path), FEATURES, content, is_export=False, on_gpu=True))


@pytest.mark.whole
def test_the_copy_is_read_again(out, tmp_path):
    FeatureTable(out).vectors(tmp_path)
    (copy,) = tmp_path.iterdir()
    before = (copy / "0.npy").stat().st_mtime_ns
    again = FeatureTable(out).vectors(tmp_path)
    assert (copy / "0.npy").stat().st_mtime_ns == before
    assert again[3].dtype == np.float32


@pytest.mark.whole
def test_another_image_size_does_not_go_on(command, out, capsys):
    at = command.index("--image-size")
    given = [*command[:at], "--image-size", "64", *command[at + 2 :], str(out)]
    assert cli.main(given) == 2
    assert "expected the same model as then" in capsys.readouterr().err


@pytest.mark.whole
def test_the_same_job_needs_no_backbone_again(command, out, capsys, monkeypatch):
    monkeypatch.setattr("egan_keras.cli.features._network", None)
    assert cli.main([*command, str(out)]) == 0
    assert "4 of 4 shards are there already" in capsys.readouterr().out


@pytest.mark.whole
def test_trained_backbones_have_no_features_to_keep(folder, tmp_path, build_tiny):
    path = tmp_path / "model.keras"
    build_tiny(recipe="published").save(path)
    given = ["features", path, folder, "--out", tmp_path / "own"]
    assert cli.main([*map(str, given)]) == 2


@pytest.mark.whole
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"is_complete": False}, "lacks some of its shards"),
        ({"n_images": 1, "n_problems": 1}, "where none could be read"),
        ({"job": {"kind": "scores"}}, "which holds scores"),
    ],
)
def test_what_is_no_table_of_features_is_refused(out, tmp_path, change, said):
    manifest = json.loads((out / "manifest.json").read_text()) | change
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=said):
        FeatureTable(tmp_path)


@pytest.mark.whole
@pytest.mark.parametrize("damage", ["none", "half", "a page", "another shard"])
def test_shards_that_are_gone_or_damaged_are_not_read(out, tmp_path, damage):
    shutil.copytree(out, tmp_path / "out")
    path = tmp_path / "out" / "shards" / "00000001.parquet"
    content = bytearray(path.read_bytes())
    if damage == "a page":
        found = pq.ParquetFile(path).metadata.row_group(0).column(2)
        assert found.path_in_schema.startswith("vector")
        middle = found.data_page_offset + found.total_compressed_size // 2
        content[middle : middle + 9] = bytes(9)
    path.unlink()
    if damage == "another shard":
        shutil.copy(path.with_name("00000003.parquet"), path)
    elif damage != "none":
        path.write_bytes(content[: len(content) // (2 if damage == "half" else 1)])
    with pytest.raises(ValueError, match="other features than its manifest tells of"):
        FeatureTable(tmp_path / "out").vectors(tmp_path)


@pytest.mark.whole
@pytest.mark.parametrize("options", [["--gray-range", "0,100"], ["--dtype", "float32"]])
def test_images_read_otherwise_have_other_vectors(
    tiny_weights, tmp_path, monkeypatch, options
):
    # Of 16 bits, which alone are scaled.
    deep = np.random.default_rng(0).integers(0, 200, (32, 32)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    given = ["features", TINY, tmp_path / "deep.png", "--weights", tiny_weights]
    given += ["--image-size", 32, "--gray-range", "0,200", "--dtype", "float16"]
    tables = []
    for place, added in (("a", []), ("b", options)):
        out = tmp_path / place
        assert cli.main([*map(str, given), *added, "--out", str(out)]) == 0
        # As another process would make it; the names in it count up.
        made = Network((out / "network.tflite").read_bytes(), None, (768,))
        network = lambda *_, made=made: made  # noqa: E731
        monkeypatch.setattr("egan_keras.cli.features._network", network)
        found = FeatureTable(out)
        vectors = found.vectors(tmp_path / "cache")[0]
        (batch,) = found._batches(["vector"])
        np.testing.assert_array_equal(vectors, batch["vector"].to_pylist()[0])
        tables.append(vectors)
    assert not np.array_equal(*tables)


@pytest.mark.whole
def test_another_file_of_weights_does_not_go_on(folder, tiny_weights, tmp_path, capsys):
    weights = shutil.copy(tiny_weights, tmp_path)
    given = ["features", TINY, folder, "--weights", weights, "--image-size", 32]
    given = [*map(str, given), "--out", str(tmp_path / "out")]
    assert cli.main(given) == 0
    with open(weights, "ab") as file:
        file.write(b"changed")
    assert cli.main(given) == 2
    assert "expected the same model as then" in capsys.readouterr().err


def test_an_empty_folder_is_no_table_of_features(tmp_path):
    with pytest.raises(ValueError, match="holds no job"):
        FeatureTable(tmp_path)


@pytest.mark.whole
def test_folders_of_no_class_are_named(out):
    with pytest.raises(ValueError, match="40 of 190 images, in one"):
        FeatureTable(out).labels(["zero"], ["two"])


@pytest.mark.whole
def test_rows_of_images_that_could_not_be_read_hold_no_vector(out):
    table = pq.read_table(out / "shards")
    (row,) = [row for row, x in enumerate(table["problem"].to_pylist()) if x]
    assert table["vector"][row].as_py() is None
    assert table["path"][row].as_py().endswith("007b.png")
