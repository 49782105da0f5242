"""Comparisons on what `egan-keras features` wrote, beside those on the images."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import TINY, save_unique
from PIL import Image

from egan_keras import cli, data
from egan_keras.experiments import compare, make_grid
from egan_keras.experiments.task_features import TaskFeatures
from egan_keras.scale import FeatureTable

pytestmark = pytest.mark.whole

# The default recipe as it is on vectors.
VECTORS = {
    "name": "vectors",
    "choices": {"place_depths": 0, "mirrored_minority": False},
}
CLASSES = {"majority": "zero", "minority": "one"}


@pytest.fixture(scope="module")
def write(digits):
    """Writes so many zeros and ones into folders of their names."""

    def write(folder, zeros, ones, start=0):
        images, labels = digits
        for label, name, count in ((0, "zero", zeros), (1, "one", ones)):
            (folder / name).mkdir(parents=True)
            rows = np.flatnonzero(labels == label)[start : start + count]
            for number, row in enumerate(rows):
                path = folder / name / f"{number:03}.png"
                save_unique(Image.fromarray(images[row]), path)

    return write


@pytest.fixture(scope="module")
def base(write, tiny_weights, tmp_path_factory):
    """Images in one folder for all and in train and test, and features of both."""
    base = tmp_path_factory.mktemp("images")
    write(base / "flat", 120, 40)
    write(base / "parted" / "train", 60, 8)
    write(base / "parted" / "test", 20, 10, start=80)
    for folder in (base / "flat", base / "parted" / "train"):
        shutil.copy(folder / "zero" / "000.png", folder / "zero" / "050.png")
    (base / "flat" / "beside").mkdir()
    shutil.copy(base / "flat" / "one" / "000.png", base / "flat" / "beside")
    for name in ("flat", "parted"):
        make_features(base / name, base / f"{name}_features", tiny_weights)
    return base


def make_features(images, out, weights):
    given = ["features", TINY, images, "--weights", weights, "--out", out]
    given += ["--image-size", 32, "--dtype", "float32", "--shard-size", 50]
    assert cli.main([*map(str, given)]) == 0


def grid(base, weights, *tasks, **more):
    values = {"task": [CLASSES | task for task in tasks], "variant": [VECTORS]}
    options = {"pairings": TINY, "weights": str(weights), "seeds": 1, "methods": "all"}
    return make_grid(values, base, options | more)


@pytest.mark.filterwarnings("ignore:.*left out", "ignore:Some images have equal")
@pytest.mark.parametrize("name", ["flat", "parted"])
@pytest.mark.parametrize(("count", "seed"), [(2, 0), (4, 3)])
def test_splits_are_those_of_the_images(base, tiny_weights, name, count, seed):
    task = {"features": f"{name}_features", "counts": count}
    images = TaskFeatures(grid(base, tiny_weights, task).tasks[0])
    table = FeatureTable(base / f"{name}_features")
    paths = [path for x in table.names() for path in x["path"].to_pylist()]
    expected = data.load_folder(base / name, **CLASSES, minority_count=count, seed=seed)
    for rows, split in zip(images.splits(count, seed), expected, strict=True):
        assert [paths[row] for row in rows.numbers] == [*split.paths]
        np.testing.assert_array_equal(rows.labels, split.labels)
    assert images.counts == {"n_duplicates": 1, "n_dropped_duplicates": 0}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*left out", "ignore:Some images have equal")
def test_vectors_give_the_auroc_of_the_images(base, tiny_weights, tmp_path):
    of_images, of_features = ({"data": "flat"}, {"features": "flat_features"})
    both = [task | {"counts": [3]} for task in (of_images, of_features)]
    chosen = ["vectors", "logistic regression", "class means"]
    compare(grid(base, tiny_weights, *both, methods=chosen), tmp_path / "out")
    runs = pd.read_csv(tmp_path / "out" / "results.csv")
    runs = runs.pivot(index="method", columns="task", values="auroc")
    expected, found = runs["flat zero/one"], runs["flat_features zero/one"]
    # LiteRT made the features and Keras those of the images.
    assert found["vectors"] == pytest.approx(expected["vectors"], abs=0.005)
    # Baselines read vectors of length 1 there, which eGAN makes of those of the images.
    np.testing.assert_allclose(found, expected, atol=0.05)
    assert len(found) == 3 and expected.min() > 0.6


@pytest.mark.filterwarnings("ignore:.*left out", "ignore:Some images have equal")
def test_rows_are_read_when_asked_for(base, tiny_weights):
    task = {"features": "flat_features", "counts": 2}
    sample = TaskFeatures(grid(base, tiny_weights, task).tasks[0]).sample(2, 0)
    assert sample.is_in_files
    for rows in (sample.train, sample.validation, sample.test):
        assert isinstance(rows, data.LazyRows)


@pytest.fixture
def arguments(base, tmp_path):
    def make(*more, features=base / "flat_features", minority="one"):
        given = ["compare", "--features", features, "--out", tmp_path / "out"]
        given += ["--majority", "zero", "--minority", minority]
        return [*map(str, [*given, "--counts", 2, "--seeds", 1, *more])]

    return make


def test_the_command_tells_what_made_the_features(arguments, tmp_path, capsys):
    given = arguments("--methods", "class means,PatchCore,fine-tuned classifier")
    assert cli.main(given) == 0
    told = capsys.readouterr()
    assert "'PatchCore', 'fine-tuned classifier' are left out" in told.err
    assert "Passed over in flat_features: 1 of no class named" in told.out
    assert "further copies, kept on one side" in told.err
    assert "/zero/050.png" in told.err
    report = (tmp_path / "out" / "report.md").read_text()
    assert f"come from {TINY} at 32 pixels, weights of a file with SHA-256 " in report
    assert "1 of 1 runs" in report and "weights: of the features" in report
    assert cli.main(given) == 0
    assert "1 runs, 1 of them done before" in capsys.readouterr().out


def test_other_features_are_other_runs(arguments, base, tmp_path, capsys):
    given = ["--methods", "class means"]
    features = tmp_path / "flat_features"
    shutil.copytree(base / "flat_features", features)
    assert cli.main(arguments(*given, features=features)) == 0
    manifest = json.loads((features / "manifest.json").read_text())
    manifest["network_sha256"] = "0" * 64
    (features / "manifest.json").write_text(json.dumps(manifest))
    assert cli.main(arguments(*given, features=features)) == 0
    assert "1 runs, 0 of them done before" in capsys.readouterr().out


def test_features_of_a_run_are_told_by_its_model(base, build_tiny, arguments, tmp_path):
    build_tiny(place_depths=0).save(tmp_path / "model.keras")
    given = ["features", tmp_path / "model.keras", base / "flat", "--out"]
    assert cli.main([*map(str, [*given, tmp_path / "own"])]) == 0
    features = tmp_path / "own"
    assert cli.main(arguments("--methods", "class means", features=features)) == 0
    report = (tmp_path / "out" / "report.md").read_text()
    assert "the backbone of the run whose model.keras has SHA-256" in report


def test_a_baseline_that_would_fill_the_memory_is_told(
    arguments, tmp_path, monkeypatch
):
    class Memory:
        available = 1000

    one_run = "egan_keras.experiments.one_run.psutil.virtual_memory"
    monkeypatch.setattr(one_run, Memory)
    assert cli.main(arguments("--methods", "class means")) == 0
    report = (tmp_path / "out" / "report.md").read_text()
    assert "## Not possible" in report and "Baselines read all rows" in report


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--data", "images"], "expected --data ROOT or --features.*Received: both"),
        (["--image-size", "32"], "Received: --image-size. Leave it out, or make other"),
        (["--encoder", TINY, "--weights", "none"], "Received: --encoder, --weights"),
        (["--labels", "labels.csv"], "Received: --labels.*--data ROOT"),
        (["--grid", "grid.toml"], r"A grid names the features.*features = \"\.\.\""),
        (["--minority", "two"], "Unknown class 'two'.*beside, one, zero"),
        (["--counts", "99"], "fewer minority training images than asked for"),
        (["--methods", "PatchCore"], "None of the methods can be compared on features"),
        (["--features", "nothing"], "The job is not complete.*holds no job"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments, capsys, more, message):
    assert cli.main([*arguments(), *more]) == 2
    assert_said(message, capsys)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"is_complete": False}, "lacks some of its shards"),
        ({"job": {"kind": "scores"}}, "which holds scores"),
    ],
)
def test_features_that_are_not_whole_are_refused(
    arguments, base, tmp_path, capsys, change, message
):
    manifest = json.loads((base / "flat_features" / "manifest.json").read_text())
    (tmp_path / "other").mkdir()
    path = tmp_path / "other" / "manifest.json"
    path.write_text(json.dumps(manifest | change))
    assert cli.main(arguments(features=path.parent)) == 2
    assert_said(message, capsys)


def test_neither_images_nor_features_are_refused(tmp_path, capsys):
    given = ["compare", "--majority", "a", "--minority", "b", "--out", tmp_path]
    assert cli.main([*map(str, given)]) == 2
    assert_said("Received: none of the two", capsys)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": (9, 4), "val": (9, 4)}, "not train and test.*train, validation"),
        ({"train": (9, 4), "test": (9, 0)}, "Unknown class 'one'; the part 'test'"),
        ({"": (2, 2)}, "too few images for the test split|fewer minority"),
    ],
)
def test_parts_without_enough_images_are_refused(
    write, tiny_weights, arguments, tmp_path, capsys, parts, message
):
    for name, numbers in parts.items():
        write(tmp_path / "images" / name, *numbers, start=10 * len(name))
    make_features(tmp_path / "images", tmp_path / "features", tiny_weights)
    assert cli.main(arguments(features=tmp_path / "features")) == 2
    assert_said(message, capsys)


def assert_said(message, capsys):
    error = capsys.readouterr().err
    assert re.search(message, " ".join(error.split())), error
