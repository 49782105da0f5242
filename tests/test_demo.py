import dataclasses
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY

from egan_keras import cli, samples, thresholds
from egan_keras.cli import demo as command
from egan_keras.cli import main, runs, train

pytestmark = pytest.mark.whole

PAIR = (command.MAJORITY, command.MINORITY)


def pixels(images):
    return {image.tobytes() for image in np.asarray(images[:])}


def load(folder, seed=0):
    """Writes the images of the demo, and loads them as it does."""
    samples.write_digits(folder / command.IMAGES, PAIR, seed=seed)
    given = command.training_options(folder, command.Options())
    return train.load(dataclasses.replace(given, seed=seed))


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return load(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A whole demo, but for most of the source images and epochs."""
    source_images, training_options = samples.source_images, command.training_options
    with pytest.MonkeyPatch.context() as patch:

        def few_source_images(unseen):
            return tuple((x[::20], y[::20]) for x, y in source_images(unseen))

        def short_training(folder, given):
            return dataclasses.replace(training_options(folder, given), epochs=2)

        patch.setattr(samples, "source_images", few_source_images)
        patch.setattr(command, "training_options", short_training)
        out = tmp_path_factory.mktemp("runs") / "demo"
        assert main(["demo", "--out", str(out)]) == 0
    return out


def test_images_are_rgb_pixels():
    images, numbers = samples.digit_images()
    assert images.shape == (1797, 32, 32, 3) and images.dtype == np.uint8
    assert images.min() == 0 and images.max() == 255
    assert set(numbers) == set(range(10))


def test_source_task_has_no_image_of_the_unseen_digits():
    images, numbers = samples.digit_images()
    unseen = images[np.isin(numbers, PAIR)]
    turned = {np.rot90(image, k).tobytes() for image in unseen for k in range(4)}
    for source, classes in samples.source_images(PAIR):
        assert not pixels(source) & turned
        assert not set(classes % 10) & set(PAIR)
        assert len(set(classes)) == 32


def test_source_task_holds_out_other_images_than_it_trains_on():
    (images, _), (held_out, _) = samples.source_images(PAIR)
    assert not pixels(images) & pixels(held_out)


def test_weights_need_the_name_that_keras_wants(tmp_path):
    with pytest.raises(ValueError, match=r"ends in '\.weights\.h5'.*Received: weights"):
        samples.pretrain(tmp_path / "source.h5", unseen=PAIR)


def test_minority_is_cut_to_five_images(splits):
    assert splits.train.minority_count == 5
    assert splits.validation.minority_count == 0
    assert min(splits.test.minority_count, splits.test.majority_count) > 50


def test_splits_are_disjoint(splits):
    parts = [pixels(split.images) for split in splits]
    assert sum(map(len, parts)) == len(set().union(*parts))
    paths = [path for split in splits for path in split.paths]
    assert len(paths) == len(set(paths))


def test_another_seed_splits_otherwise(splits, tmp_path):
    other = load(tmp_path, seed=1)
    assert pixels(other.test.images) != pixels(splits.test.images)


def test_validation_is_enough_for_the_guarantee(splits):
    specificity = command.training_options(Path(), command.Options()).specificity
    needed = thresholds.images_needed(specificity)
    assert splits.validation.majority_count >= needed


def test_demo_writes_a_run(demo):
    names = {path.name for path in demo.iterdir()}
    run = {runs.MODEL, runs.CONFIG, runs.HISTORY, runs.REPORT, runs.PLOTS}
    assert run <= names
    assert {"source.weights.h5", "comparison.json", "images"} <= names
    config = runs.RunConfig.load(demo)
    named = [p for split in config.files.values() for ps in split.values() for p in ps]
    assert all((demo / "images" / path).is_file() for path in named)
    assert Path(config.options["weights"]).is_file()


def test_demo_compares_methods_on_the_same_images(demo):
    comparison = json.loads((demo / "comparison.json").read_text())
    assert list(comparison) == [
        "eGAN, transferred",
        "eGAN, random weights",
        "logistic regression",
        "always minority",
    ]
    *trained, always = comparison.values()
    assert len({(m["n_majority"], m["n_minority"]) for m in trained}) == 1
    assert all(set(m["ci95"]) >= {"auroc", "f1"} for m in trained)
    assert always["f1"] == trained[0]["always_minority_f1"]


def test_evaluate_repeats_the_report_of_the_demo(demo, tmp_path):
    json_file = tmp_path / "report.json"
    images = str(demo / "images")
    assert (
        main(["evaluate", str(demo), "--data", images, "--json", str(json_file)]) == 0
    )
    again, report = (
        json.loads(path.read_text()) for path in (json_file, demo / runs.REPORT)
    )
    assert again["auroc"] == report["auroc"] and again["f1"] == report["f1"]


def test_score_takes_the_images_of_the_demo(demo, capsys):
    folder = demo / "images" / "test" / str(command.MINORITY)
    assert main(["score", str(demo), str(folder)]) == 0
    assert capsys.readouterr().out.count(".png") == len(list(folder.iterdir()))


@pytest.fixture
def cells_demo(photographs, tiny_weights, tmp_path, monkeypatch):
    """A whole demo on photographs that are none, with a small backbone."""
    training_options, out = command.training_options, tmp_path / "cells"

    def small(folder, given):
        quick = {"weights": str(tiny_weights), "network_size": 32, "epochs": 2}
        quick["specificity"] = 0.8  # there are few images
        return dataclasses.replace(training_options(folder, given), **quick)

    monkeypatch.setattr(command, "PHOTOGRAPHS_BACKBONE", TINY)
    monkeypatch.setattr(command, "training_options", small)
    assert main(["demo", "--images", "solar-cells", "--out", str(out)]) == 0
    return out


@pytest.mark.slow
def test_demo_takes_photographs_from_their_package(cells_demo, photographs):
    config = runs.RunConfig.load(cells_demo)
    assert config.options["data"] == str(photographs)
    assert config.options["labels"] == str(cells_demo / "labels.csv")
    counts = {name: len(paths) for name, paths in config.files["train"].items()}
    assert counts["defective"] == 10 and counts["functional"] > 60
    assert not list(cells_demo.rglob("cell*"))
    assert len(json.loads((cells_demo / "comparison.json").read_text())) == 4
    assert main(["evaluate", str(cells_demo), "--data", str(photographs)]) == 0


def test_demo_says_what_to_install_for_photographs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    out = tmp_path / "cells"
    assert main(["demo", "--images", "solar-cells", "--out", str(out)]) == 2
    assert "pip install elpv-dataset" in capsys.readouterr().err
    assert not out.exists()


def test_earlier_demo_is_not_overwritten_unasked(demo, capsys):
    before = (demo / runs.CONFIG).read_bytes()
    assert main(["demo", "--out", str(demo)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (demo / runs.CONFIG).read_bytes() == before


@pytest.mark.parametrize(
    ("started", "words"),
    [
        ("here/bin/egan-keras", ["here/bin/egan-keras"]),
        ("/elsewhere/egan-keras", ["/elsewhere/egan-keras"]),
        ("on/path/egan-keras", ["egan-keras"]),
        ("egan_keras/__main__.py", [sys.executable, "-m", "egan_keras"]),
    ],
)
def test_the_command_to_try_can_be_pasted(tmp_path, monkeypatch, started, words):
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "on" / "path" / "egan-keras"
    program.parent.mkdir(parents=True)
    program.touch(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(sys, "argv", [started])
    assert cli.program() == words


def test_table_is_aligned():
    metrics = {"auroc": 0.5, "f1": 0.25, "sensitivity": 1.0, "specificity": 0.0}
    ends = dict.fromkeys(metrics, (0.1, 0.9))
    text = command.table(
        {"a long name": {**metrics, "ci95": ends}, "b": {**metrics, "ci95": {}}}
    )
    head, first, intervals, second = text.splitlines()
    assert head.index("F1") == first.index("0.250") == second.index("0.250")
    assert intervals.split() == ["[0.100,", "0.900]"] * 4
