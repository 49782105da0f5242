import csv
import json
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from egan_keras.cli import main, runs

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def first_run(digits, tiny_weights, tmp_path_factory):
    """A run on 60 zeros and 12 ones, both in all splits, and its images."""
    folder = tmp_path_factory.mktemp("cli_calibrate")
    images, labels = digits
    for number, (image, label) in enumerate(zip(images[:90], labels[:90], strict=True)):
        path = folder / "images" / ("one" if label else "zero") / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    tiny = "MobileNet:alpha=0.25"
    options = ["--majority", "zero", "--minority", "one", "--epochs", "1"]
    options += ["--encoder", tiny, "--discriminator", tiny, "--network-size", "32"]
    options += ["--weights", str(tiny_weights), "--specificity", "none"]
    options += ["--data", str(folder / "images"), "--out", str(folder / "run")]
    assert main(["train", *options]) == 0
    return folder


@pytest.fixture
def run(first_run, tmp_path):
    return shutil.copytree(first_run / "run", tmp_path / "run")


def report(run):
    return json.loads((run / runs.REPORT).read_text())


def test_a_run_s_own_scores_set_its_threshold_without_its_images(
    first_run, run, capsys
):
    before = report(run)
    assert before["threshold_criterion"] == "uncalibrated"
    (first_run / "images").rename(first_run / "away")
    try:
        command = ["calibrate", str(run), "--miss-cost", "5", "--prevalence", "0.1"]
        assert main(command) == 0
    finally:
        (first_run / "away").rename(first_run / "images")
    printed = capsys.readouterr().out
    assert "least expected cost" in printed
    assert f"egan_keras export {run} --format tflite" in printed.splitlines()[-1]
    model = keras.saving.load_model(run / runs.MODEL)
    after = report(run)
    assert after["threshold"] == model.threshold != 0
    assert after["auroc"] == before["auroc"]
    with (run / "scores.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    called = [float(row["score"]) < model.threshold for row in rows]
    right = [x for x, row in zip(called, rows, strict=True) if row["class"] == "one"]
    assert after["sensitivity"] == pytest.approx(np.mean(right))
    # Those that would show another threshold's mistakes are gone.
    shown = {path.stem for path in (run / runs.PLOTS).iterdir()}
    assert shown == {"scores", "roc", "precision_recall", "training"}


def test_other_images_and_a_number_by_hand_set_it_too(first_run, run, tmp_path):
    images = first_run / "images"
    command = ["calibrate", str(run), "--data", str(images), "--sensitivity", "0.5"]
    assert main([*command, "--confidence", "none"]) == 0
    told = report(run)
    assert told["threshold_criterion"] == "sensitivity"
    assert (run / runs.PLOTS / "mistakes.png").is_file()
    assert main(["calibrate", str(run), "--threshold", "-1.5"]) == 0
    assert report(run)["threshold"] == -1.5
    assert keras.saving.load_model(run / runs.MODEL).threshold == -1.5


def test_a_page_that_cannot_be_made_leaves_none_of_another_threshold(
    run, monkeypatch, capsys
):
    def fail(*args, **kwargs):
        raise RuntimeError("no such template")

    monkeypatch.setattr("egan_keras.evaluation.report_page.render", fail)
    assert main(["calibrate", str(run), "--threshold", "0.5"]) == 0
    assert "The page report.html could not be made" in capsys.readouterr().err
    assert report(run)["threshold"] == 0.5 and not (run / runs.PAGE).exists()


def test_an_interrupted_run_becomes_usable(run):
    for name in (runs.REPORT, runs.SCORES):
        (run / name).unlink()
    shutil.rmtree(run / runs.PLOTS)
    assert main(["calibrate", str(run), "--specificity", "0.5"]) == 0
    assert report(run)["threshold_criterion"] == "specificity"
    assert (run / runs.PLOTS / "mistakes.png").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--miss-cost", "5"], "Received: prevalence=None"),
        (["--specificity", "0.99"], "needs at least 299"),
        (["--threshold", "nan"], "finite number"),
        (["--data", "nowhere"], "no such folder"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(run, capsys, options, message):
    before = (run / runs.MODEL).read_bytes(), report(run)
    assert main(["calibrate", str(run), *options]) == 2
    assert message in capsys.readouterr().err
    assert ((run / runs.MODEL).read_bytes(), report(run)) == before


@pytest.mark.parametrize(
    "text", ["path,score\n", "split,path,class,score\ntest,a.png,one,nan\n", "\0"]
)
def test_damaged_scores_are_refused(run, capsys, text):
    (run / runs.SCORES).write_text(text)
    assert main(["calibrate", str(run), "--specificity", "0.5"]) == 2
    assert "scores of the run cannot be read" in capsys.readouterr().err


def test_images_alike_pass_the_check_and_others_are_named(
    first_run, run, tmp_path, capsys
):
    images = first_run / "images" / "zero"
    assert main(["calibrate", str(run), "--specificity", "0.5"]) == 0
    with (run / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
    # Of so few held-out images none can be compared with.
    assert main(["check", str(run), str(images)]) == 2
    assert "Too few images to tell" in capsys.readouterr().err
    majority = [row for row in rows if row["class"] == "zero"]
    with (run / "scores.csv").open("a", newline="") as file:
        csv.writer(file).writerows(
            [("validation", *list(row.values())[1:]) for row in majority * 3]
        )
    written = tmp_path / "checked.csv"
    code = main(["check", str(run), str(images), "--csv", str(written)])
    printed = capsys.readouterr().out
    assert "Compared with" in printed
    command = ("score", "review")[code]
    assert printed.endswith(f"egan_keras {command} {run} {images}\n")
    with written.open(newline="") as file:
        checked = list(csv.DictReader(file))
    assert len(checked) == len(list(images.iterdir()))
    assert {row["is_unlike_anything"] for row in checked} <= {"0", "1"}
    (run / "scores.csv").unlink()
    assert main(["check", str(run), str(images)]) == 2
    assert "egan-keras calibrate RUN --data ROOT" in capsys.readouterr().err
