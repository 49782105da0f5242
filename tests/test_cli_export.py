import csv
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import TINY

import egan_keras as ek
from egan_keras.cli import main

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def trained_run(digits, tiny_weights, tmp_path_factory):
    """A run on 130 zeros and 60 ones in files, and the folder of the images."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("cli_export")
    images, labels = digits
    for split, rows in (("train", slice(0, 260)), ("test", slice(260, None))):
        for name in ("zero", "one"):
            (folder / "images" / split / name).mkdir(parents=True)
        for number, image in enumerate(images[rows]):
            name = "one" if labels[rows][number] else "zero"
            path = folder / "images" / split / name / f"{number:03d}.png"
            Image.fromarray(image).save(path)
    options = ["--majority", "zero", "--minority", "one", "--epochs", "1"]
    options += ["--encoder", TINY, "--discriminator", TINY, "--minority-count", "20"]
    options += ["--network-size", "32", "--weights", str(tiny_weights)]
    options += ["--specificity", "0.8", "--out", str(folder / "run")]
    assert main(["train", "--data", str(folder / "images"), *options]) == 0
    return folder / "run", folder / "images"


def test_a_run_becomes_a_file_that_score_takes(trained_run, tmp_path, capsys):
    run, images = trained_run
    path = tmp_path / "egan.tflite"
    export = ["export", str(run), "--format", "tflite", "--out", str(path)]
    assert main(export) == 0
    printed = capsys.readouterr().out
    assert "TFLite float32, test" in printed and f"  {path}\n" in printed
    assert printed.startswith(f"Loading the model of {run}\n")
    golden = tmp_path / "egan_golden"
    assert printed.endswith(f"egan_keras score {path} {golden}\n")
    assert main(["score", str(path), str(golden)]) == 0
    capsys.readouterr()
    assert "test images, at this threshold: AUROC " in printed
    told = json.loads(path.with_suffix(".json").read_text())
    assert told["classes"] == {"majority": ["zero"], "minority": ["one"]}
    assert "| AUROC |" in path.with_suffix(".md").read_text()
    tables = []
    for model in (path, run):
        written = tmp_path / "scores.csv"
        arguments = [str(model), str(images / "test"), "--csv", str(written)]
        assert main(["score", *arguments]) == 0
        with written.open() as file:
            tables.append(list(csv.DictReader(file)))
    scores = [[float(row["score"]) for row in table] for table in tables]
    np.testing.assert_allclose(*scores, atol=1e-3)
    called = [[row["is_minority"] for row in table] for table in tables]
    assert called[0] == called[1]
    program = (
        "import sys; from egan_keras import cli; cli.main()\n"
        "slow = {'keras', 'tensorflow', 'scipy', 'sklearn'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    arguments = [sys.executable, "-c", program, "score", path, images / "test"]
    subprocess.run(arguments, check=True, capture_output=True)


@pytest.mark.slow
def test_another_folder_can_be_named_and_an_earlier_export_is_kept(
    trained_run, tmp_path, capsys
):
    run, images = trained_run
    out = tmp_path / "served" / "1"
    options = ["--representative", str(images), "--format", "savedmodel"]
    export = ["export", str(run), *options, "--out", str(out)]
    assert main(export) == 0
    assert main(export) == 2
    assert "something already where the export would go" in capsys.readouterr().err
    assert main([*export, "--overwrite"]) == 0


@pytest.mark.parametrize("name", ["egan.json", "egan.md", "egan_golden"])
def test_what_stands_beside_the_file_is_not_overwritten_unasked(
    trained_run, tmp_path, capsys, name
):
    (tmp_path / name).write_text("mine")
    out = str(tmp_path / "egan.tflite")
    assert (
        main(["export", str(trained_run[0]), "--format", "tflite", "--out", out]) == 2
    )
    assert f"there is {tmp_path / name}. Name another" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "mine"


def test_an_unrelated_folder_is_never_overwritten(trained_run, tmp_path, capsys):
    run, _ = trained_run
    export = ["export", str(run), "--format", "savedmodel", "--out", str(tmp_path)]
    assert main([*export, "--overwrite"]) == 2
    assert "no earlier export" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "savedmodel", "--quantize", "int8"], "is not quantised"),
        (["--format", "onnx", "--quantize", "int8"], "is not quantised"),
        (["--format", "tflite"], "suffix .tflite.*out.tflite"),
        (["--format", "onnx"], "suffix .onnx.*out.onnx"),
        (["--format", "savedmodel", "--representative", "none"], "are not there"),
    ],
)
def test_wrong_options_are_refused_before_the_model_is_loaded(
    trained_run, tmp_path, capsys, monkeypatch, options, message
):
    run, _ = trained_run
    monkeypatch.setattr(ek.cli.runs, "load_model", lambda path: 1 / 0)
    assert main(["export", str(run), *options, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)


def test_moved_images_are_asked_for(trained_run, tmp_path, capsys):
    run, images = trained_run
    images.rename(tmp_path / "moved")
    export = ["export", str(run), "--format", "savedmodel"]
    try:
        assert main([*export, "--out", str(tmp_path / "out")]) == 2
    finally:
        (tmp_path / "moved").rename(images)
    assert "Name a folder of images" in capsys.readouterr().err


@pytest.mark.slow
def test_score_prints_nothing_of_tensorflow_and_finishes_its_file(
    trained_run, tmp_path
):
    run, images = trained_run
    path = tmp_path / "egan.tflite"
    export = ["export", str(run), "--format", "tflite", "--out", str(path)]
    assert main(export) == 0
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    folder = images / "test"
    command = [sys.executable, "-m", "egan_keras", "score", str(path), str(folder)]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [*command, "--csv", str(tmp_path / "new" / "scores.csv")],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
    scoring, warning = ended.stderr.splitlines()
    count = len(list(folder.rglob("*.png")))
    assert scoring == f"Scoring {count} images"
    assert "warning: Standard output could not be written" in warning
    assert ended.returncode == 1
    assert len((tmp_path / "new" / "scores.csv").read_text().splitlines()) == 1 + count


def test_score_escapes_what_it_prints_and_keeps_names_in_its_file(
    trained_run, tmp_path, capsys
):
    run, images = trained_run
    source = next((images / "test" / "one").iterdir()).read_bytes()
    names = [b"caf\xe9.png", b"a\nb.png", b"\x1b[2J.png", "照片 $a$.png".encode()]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(source)
    written = tmp_path / "scores" / "s.csv"
    assert main(["score", str(run), str(tmp_path), "--csv", str(written)]) == 0
    printed = capsys.readouterr().out
    for shown in ("caf\\udce9.png", "a\\nb.png", "\\x1b[2J.png", "照片 $a$.png"):
        assert f"/{shown}  " in printed
    options = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
    with written.open(**options) as file:
        paths = [os.fsencode(row["path"]) for row in csv.DictReader(file)]
    assert {os.path.basename(path) for path in paths} == set(names)
