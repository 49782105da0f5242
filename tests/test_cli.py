import csv
import errno
import html
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from egan_keras import cli, files
from egan_keras.cli import main, runs, train
from egan_keras.cli.runs import RunConfig
from egan_keras.files import content_hash
from egan_keras.model import EGAN
from egan_keras.networks import RECIPES

pytestmark = pytest.mark.whole

COLOURS = {"red": (200, 40, 40), "pink": (220, 90, 110), "blue": (40, 40, 200)}
BACKBONE = "MobileNet:alpha=0.25"


def write_images(folder, colour, count, start=0):
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(start).integers(-30, 30, (count, 32, 32, 3))
    pixels = np.clip(noise + np.array(colour), 0, 255).astype("uint8")
    for number, image in enumerate(pixels, start):
        Image.fromarray(image).save(folder / f"{number:03}.png")


def write_root(root, **counts):
    """Writes count images a class into `train`, and half as many into `test`."""
    for name, count in counts.items():
        write_images(root / "train" / name, COLOURS[name], count)
        write_images(root / "test" / name, COLOURS[name], count // 2, start=500)
    return root


def train_arguments(root, out, *more, majority="red,pink", minority="blue"):
    arguments = ["train", "--data", root, "--out", out]
    arguments += ["--majority", majority, "--minority", minority]
    arguments += ["--encoder", BACKBONE, "--discriminator", BACKBONE]
    arguments += ["--weights", "none", "--network-size", 32, "--epochs", 2, *more]
    return list(map(str, arguments))


def run(*arguments):
    return main(list(map(str, arguments)))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_root(tmp_path_factory.mktemp("data"), red=40, pink=40, blue=8)


OPTIONS = [
    "--minority-count",
    3,
    "--seed",
    5,
    "--specificity",
    0.8,
    "--prevalence",
    0.1,
]


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    """A run on two majority classes, its threshold guaranteed by 16 images."""
    out = tmp_path_factory.mktemp("runs") / "a"
    assert main(train_arguments(root, out, *OPTIONS)) == 0
    return out


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """A folder without `test`, with one minority image and two unreadable files."""
    root = tmp_path_factory.mktemp("flat")
    write_images(root / "red", COLOURS["red"], 25)
    write_images(root / "blue", COLOURS["blue"], 1)
    (root / "red" / "torn.png").write_bytes(
        (root / "red" / "000.png").read_bytes()[:99]
    )
    (root / "red" / "empty.png").write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def trained_on_flat(flat, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "flat"
    options = ["--specificity", "none", "--epochs", 1, "--skip-unreadable"]
    options += ["--no-mirror"]
    assert main(train_arguments(flat, out, *options, majority="red")) == 0
    return out


def test_train_writes_a_complete_run(trained):
    names = sorted(path.name for path in trained.iterdir())
    assert names == [
        "config.json",
        "history.csv",
        "model.keras",
        "plots",
        "report.html",
        "report.json",
        "scores.csv",
    ]
    assert len(list((trained / "plots").glob("*.png"))) == 6
    assert len((trained / "history.csv").read_text().splitlines()) == 1 + 2
    report = json.loads((trained / "report.json").read_text())
    assert report["threshold_criterion"] == "specificity"
    assert (report["n_majority"], report["n_minority"]) == (40, 4)
    assert (report["seed"], report["n_skipped"]) == (5, 0)
    assert report["pairing"] == f"{BACKBONE}->{BACKBONE}"
    assert "expected_precision" in report


def test_the_page_of_a_run_tells_how_it_was_made(trained):
    page = (trained / "report.html").read_text("utf-8")
    config = RunConfig.load(trained)
    assert f"<h1>Report of {trained.name}</h1>" in page
    assert html.escape(config.command, quote=False) in html.unescape(page)
    assert f"egan-keras calibrate {trained} --threshold=" in page
    assert "Training: losses" in page and "Shortcuts" in page
    assert (trained / "report.html").stat().st_size < 5_000_000


def test_evaluate_writes_a_page(trained, root, tmp_path, capsys):
    path = tmp_path / "new" / "page.html"
    assert run("evaluate", trained, "--data", root, "--html", path) == 0
    printed = capsys.readouterr().out
    assert f"Written: {path}" in printed
    *_, page, command = printed.splitlines()
    assert page == f"Look at {path}"
    assert f"egan_keras export {trained} --format tflite --out " in command
    assert "False alarms" in path.read_text("utf-8")
    assert run("evaluate", trained, "--data", root, "--html", tmp_path) == 2
    assert "--html" in capsys.readouterr().err


def test_a_page_that_cannot_be_made_loses_no_training(
    root, tmp_path, monkeypatch, capsys
):
    def fail(*args, **kwargs):
        raise RuntimeError("no such template")

    monkeypatch.setattr("egan_keras.evaluation.report_page.render", fail)
    out = tmp_path / "run"
    assert main(train_arguments(root, out, "--specificity", 0.8)) == 0
    error = capsys.readouterr().err
    assert "warning: The page report.html could not be made: no such template" in error
    assert (out / "model.keras").is_file() and not (out / "report.html").exists()


def test_config_names_every_file_once_and_all_options(trained, root):
    config = RunConfig.load(trained)
    files = {
        split: {path for paths in classes.values() for path in paths}
        for split, classes in config.files.items()
    }
    assert {split: len(paths) for split, paths in files.items()} == {
        "train": 64 + 3,
        "validation": 16,
        "test": 44,
    }
    assert len(set.union(*files.values())) == 64 + 3 + 16 + 44
    assert all(path.startswith("test/") for path in files["test"])
    assert all((root / path).is_file() for paths in files.values() for path in paths)
    assert config.options["epochs"] == config.epochs_completed == 2
    assert config.options["batch_size"] == 128
    assert not config.interrupted
    assert config.command.startswith("egan-keras train --data ")


@pytest.mark.parametrize("layout", ["in place", "moved"])
def test_evaluate_agrees_with_train(trained, root, tmp_path, layout):
    if layout == "moved":
        root = write_root(tmp_path / "moved", red=40, pink=40, blue=8)
    code = run("evaluate", trained, "--data", root, "--json", tmp_path / "r.json")
    assert code == 0
    assert json.loads((tmp_path / "r.json").read_text()) == json.loads(
        (trained / "report.json").read_text()
    )


def test_config_holds_the_contents_of_every_file(trained, root):
    config = RunConfig.load(trained)
    for split in config.files:
        for path, (name, mark) in config.recorded(split).items():
            assert mark == content_hash(root / path) and f"/{name}/" in path
    # Of 8 minority images 3 were to train on.
    assert len(config.unused["blue"]) == 5 and not config.duplicates


def test_a_new_batch_is_judged_as_a_whole(trained, tmp_path, capsys):
    for name, start in (("red", 900), ("blue", 950)):
        write_images(tmp_path / "new" / "test" / name, COLOURS[name], 9, start)
    json_file = tmp_path / "r.json"
    given = ("evaluate", trained, "--data", tmp_path / "new", "--json", json_file)
    assert run(*given) == 0
    report = json.loads(json_file.read_text())
    assert (report["n_majority"], report["n_minority"]) == (9, 9)
    assert report["split"] == "all"
    printed = capsys.readouterr().out
    assert "There is no image of pink." in printed
    assert "All images: 9 majority and 9 minority images" in printed


@pytest.mark.slow
def test_copies_are_counted_and_files_changed_in_training_are_told(
    root, tmp_path, monkeypatch, capsys
):
    shutil.copytree(root, tmp_path / "root")
    root = tmp_path / "root"
    for number in range(6):
        source = root / "train" / "red" / f"{number:03}.png"
        shutil.copy(source, root / "test" / "red" / f"again{number}.png")
    victim, fit = root / "test" / "blue" / "500.png", EGAN.fit

    def fit_meanwhile(*given, **options):
        shutil.copy(root / "test" / "blue" / "501.png", victim)
        return fit(*given, **options)

    monkeypatch.setattr(EGAN, "fit", fit_meanwhile)
    options = ("--specificity", 0.8, "--epochs", 1)
    assert main(train_arguments(root, tmp_path / "run", *options)) == 0
    told = capsys.readouterr().err
    assert "left out there: 6 (" in told and "again0.png" in told
    assert "1 files were changed while the run was made" in told
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert (report["n_dropped_duplicates"], report["n_majority"]) == (6, 40)
    assert report["n_changed_in_training"] == 1
    assert RunConfig.load(tmp_path / "run").changed == ["test/blue/500.png"]
    shutil.copy(source, root / "train" / "blue" / "both.png")
    assert main(train_arguments(root, tmp_path / "other", *options)) == 2
    assert "majority and minority both" in capsys.readouterr().err
    options += ("--duplicates", "refuse")
    (root / "train" / "blue" / "both.png").unlink()
    assert main(train_arguments(root, tmp_path / "other", *options)) == 2
    assert "duplicates='refuse'" in capsys.readouterr().err


def test_evaluate_other_splits_and_prevalence(trained, root, capsys):
    options = ("--split", "validation", "--prevalence", "0.02")
    assert run("evaluate", trained, "--data", root, *options) == 0
    printed = capsys.readouterr().out
    assert "validation split: 16 majority and 0 minority" in printed
    assert "AUROC" not in printed


def test_unreadable_files_stop_training(flat, tmp_path, capsys):
    assert main(train_arguments(flat, tmp_path / "run", majority="red")) == 2
    error = capsys.readouterr().err
    assert "cannot be read" in error and "empty.png" in error
    assert list(tmp_path.iterdir()) == []


def test_unreadable_files_are_skipped_and_counted(trained_on_flat):
    report = json.loads((trained_on_flat / "report.json").read_text())
    skipped = RunConfig.load(trained_on_flat).skipped
    assert report["n_skipped"] == len(skipped) == 2
    assert sorted(Path(path).name for path in skipped) == ["empty.png", "torn.png"]


def test_mirror_images_can_be_turned_off(trained, trained_on_flat):
    recipes = (RunConfig.load(each).recipe for each in (trained, trained_on_flat))
    assert [recipe["mirrored_minority"] for recipe in recipes] == [True, False]
    assert (
        "mirrored_minority=False"
        in json.loads((trained_on_flat / "report.json").read_text())["recipe"]
    )


def test_what_cannot_be_told_is_absent(trained_on_flat):
    report = json.loads((trained_on_flat / "report.json").read_text())
    assert report["n_minority"] == 0 and "auroc" not in report
    assert report["threshold"] == 0
    assert report["threshold_criterion"] == "uncalibrated"
    assert not (trained_on_flat / "plots" / "roc.png").exists()


def test_the_same_command_gives_the_same_run(trained, root, tmp_path, capsys):
    out = tmp_path / "run"
    out.mkdir()
    earlier = RunConfig.load(trained)
    earlier.save(out)
    arguments = train_arguments(root, out, *OPTIONS)
    assert main(arguments) == 2
    assert "egan-keras train: error: The run folder exists" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0
    *_, page, command = capsys.readouterr().out.splitlines()
    assert page == f"Look at {out / 'report.html'}"
    assert command.startswith("Next: ")
    assert command.endswith(f"egan_keras score {out} {root / 'test'}")
    for name in ("report.json", "history.csv"):
        assert (out / name).read_text() == (trained / name).read_text()
    assert RunConfig.load(out).files == earlier.files
    assert list(tmp_path.iterdir()) == [out]


def test_score_prints_and_writes_what_predict_gives(
    trained, root, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("egan_keras.cli.score._BATCH", 8)
    folder, single = root / "test" / "red", root / "test" / "blue" / "501.png"
    assert run("score", trained, single, folder, "--csv", tmp_path / "s.csv") == 0
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    paths = [single, *sorted(folder.iterdir())]
    assert [row["path"] for row in rows] == list(map(str, paths))
    model = runs.load_model(trained)
    images = np.stack([np.asarray(Image.open(path)) for path in paths])
    scores = model.predict(images, verbose=0)[:, 0]
    np.testing.assert_allclose(
        [float(row["score"]) for row in rows], scores, rtol=1e-5, atol=1e-6
    )
    called = [int(float(row["score"]) < model.threshold) for row in rows]
    assert [int(row["is_minority"]) for row in rows] == called
    printed = capsys.readouterr().out.splitlines()
    assert not any("\x1b" in line for line in printed)
    assert printed[0].split() == ["path", "score", "is_minority"]
    assert printed[-1].startswith(f"21 images, {sum(called)} called minority")


def test_score_of_unreadable_files(trained, root, tmp_path, capsys):
    good = (root / "test" / "red" / "500.png").read_bytes()
    (tmp_path / "a.png").write_bytes(good)
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "torn.png").write_bytes(good[: len(good) // 2])
    assert run("score", trained, tmp_path, "--csv", tmp_path / "s.csv") == 2
    assert "empty.png" in capsys.readouterr().err
    assert not (tmp_path / "s.csv").exists()
    assert run("score", trained, tmp_path, "--skip-unreadable") == 0
    printed = capsys.readouterr().out
    assert "Skipped 2 unreadable files" in printed
    assert "\n1 image, " in printed


def test_ctrl_c_leaves_a_loadable_model(root, tmp_path, monkeypatch, capsys):
    class Impatient(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.history.epoch:
                raise KeyboardInterrupt

    fit = EGAN.fit
    monkeypatch.setattr(
        EGAN,
        "fit",
        lambda *args, **kwargs: fit(*args, callbacks=[Impatient()], **kwargs),
    )
    out = tmp_path / "run"
    assert (
        main(["--traceback", *train_arguments(root, out, "--specificity", 0.8)]) == 130
    )
    printed = capsys.readouterr().err
    assert "threshold is 0" in printed
    # The same command can be run again.
    out = out.with_name("run-unfinished")
    assert f"{out / 'model.keras'}, without report.json, scores.csv, plots" in printed
    config = RunConfig.load(out)
    assert config.interrupted and config.epochs_completed == 1
    assert config.lacking == ["report.json", "scores.csv", "plots", "report.html"]
    assert len((out / "history.csv").read_text().splitlines()) == 2
    model = runs.load_model(out)
    assert model.threshold == 0
    assert run("score", out, root / "test" / "blue") == 0
    assert "not calibrated" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [out]


def test_ctrl_c_before_training_leaves_nothing(root, tmp_path, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("egan_keras.data.load_folder", interrupt)
    assert main(train_arguments(root, tmp_path / "run")) == 130
    assert "egan-keras train: interrupted" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def fill_disk(monkeypatch, *parts):
    """Lets no file be written whose path has one of these parts."""
    sync = files.sync

    def fail(path):
        if any(part in str(path) for part in parts):
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(path)

    monkeypatch.setattr(files, "sync", fail)


def test_no_training_begins_without_room_for_its_run(
    root, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(files, "free_bytes", lambda folder: 5_000_000)
    monkeypatch.setattr(EGAN, "fit", None)
    arguments = train_arguments(root, tmp_path / "run", "--specificity", "none")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert re.search("space for the run; expected 14.. MB. Received: 5.0 MB", error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_full_disk_keeps_what_is_whole_and_can_be_tried_again(
    root, tmp_path, monkeypatch, capsys
):
    arguments = train_arguments(root, tmp_path / "run", "--specificity", 0.8)
    with monkeypatch.context() as patch:
        fill_disk(patch, "report", ".png")
        assert main(arguments) == 2
    kept = tmp_path / "run-unfinished"
    error = capsys.readouterr().err
    without = "without report.json, scores.csv, plots, report.html"
    assert f"kept: {kept / 'model.keras'}, {without}" in error
    assert "The disk is full; expected room to write" in error
    assert RunConfig.load(kept).lacking == [
        "report.json",
        "scores.csv",
        "plots",
        "report.html",
    ]
    assert runs.load_model(kept).calibration is not None
    fill_disk(monkeypatch, ".png")
    assert main(arguments) == 0
    assert "warning: The plot scores.png could not be made" in capsys.readouterr().err
    assert (tmp_path / "run" / "report.json").exists()


@pytest.mark.slow
def test_a_model_that_its_disk_has_no_room_for_goes_to_another(
    root, tmp_path, monkeypatch, capsys
):
    (tmp_path / "other").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "other"))
    fill_disk(monkeypatch, ".unfinished")
    arguments = train_arguments(root, tmp_path / "run", "--specificity", "none")
    assert main(arguments) == 2
    (kept,) = (tmp_path / "other").glob("egan-keras-*")
    assert f"The model so far is kept in {kept}" in capsys.readouterr().err
    assert runs.load_model(kept).threshold == 0
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_divergence_is_told_and_reported(root, tmp_path, monkeypatch, capsys):
    compile_model = EGAN.compile

    def compile_badly(model, *args, **kwargs):
        compile_model(model, keras.optimizers.SGD(1e38), *args, **kwargs)

    monkeypatch.setattr(EGAN, "compile", compile_badly)
    out = tmp_path / "run"
    options = ("--specificity", 0.8, "--minority-count", 3)
    assert main(train_arguments(root, out, *options)) == 1
    assert "egan-keras train: warning: Training diverged" in capsys.readouterr().err
    report = json.loads((out / "report.json").read_text())
    assert report["diverged_in_epoch"] == RunConfig.load(out).diverged_in_epoch >= 1
    monkeypatch.undo()
    run("evaluate", out, "--data", root, "--json", tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text()) == report


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--minority", "blu"], "Did you mean 'blue'"),
        (["--minority-count", "9"], "fewer minority training images than asked for: 8"),
        (["--encoder", "MobileNetV9"], "Unknown backbone"),
        (["--network-size", "16"], "at least 32 pixels. Received: 16"),
        (["--weights", "absent.h5"], "weights file does not exist"),
        (["--data", "absent"], "no such folder"),
        (["--specificity", "0.9"], "needs 29 majority images.*--specificity 0.82,"),
        (
            ["--majority", "blue", "--minority", "red,pink"],
            "120 minority and 12 .* pass --majority red,pink --minority blue. Else: P",
        ),
        (["--confidence", "0.99"], "--specificity 0.74, or --specificity none"),
    ],
)
def test_wrong_input_ends_in_a_sentence(root, tmp_path, capsys, options, message):
    out = tmp_path / "run"
    assert main(train_arguments(root, out, *options)) == 2
    error = capsys.readouterr().err
    # A warning may stand before it.
    error = error[error.find("egan-keras train: error: ") :]
    assert error.startswith("egan-keras train: error: ")
    assert "Traceback" not in error
    assert re.search(message, error)
    assert not out.exists()


def test_traceback_on_demand(root, tmp_path):
    with pytest.raises(ValueError, match="Unknown backbone"):
        main(["--traceback", *train_arguments(root, tmp_path, "--encoder", "X")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed", "-1"], "expected a whole number from 0"),
        (["--epochs", "0"], "expected a whole number of 1 or more, received '0'"),
        (["--specificity", "95"], "expected a number between 0 and 1, or none"),
        (["--prevalence", "none"], "expected a number between 0 and 1"),
        (["--ratio", "0"], "expected a positive number"),
        (["--majority", "red,"], "expected class names with commas between them"),
        (["--ratio", "2", "--minority-count", "2"], "not allowed with"),
        (["--recipe", "other"], "invalid choice"),
    ],
)
def test_wrong_options_are_refused_by_the_parser(tmp_path, capsys, options, message):
    with pytest.raises(SystemExit) as stopped:
        main(train_arguments(tmp_path, tmp_path / "run", *options))
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_recipes_on_offer_are_those_there_are():
    for name in RECIPES:
        arguments = train_arguments("data", "out", "--recipe", name)
        _, command, given = cli.parse(arguments)
        assert command is train and given.recipe == name
    assert given.encoder == BACKBONE and given.out == Path("out")


def test_a_reader_that_goes_away_is_no_error(trained, root, monkeypatch, capsys):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", buffering=1) as broken:
        monkeypatch.setattr(sys, "stdout", broken)
        assert run("score", trained, root / "test" / "blue") == 1
        monkeypatch.undo()
    assert capsys.readouterr().err == "Scoring 4 images\n"
