"""What the commands say of odd files, on images of 12 bits in files of 16."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image
from test_cli import run, train_arguments

from egan_keras.cli.runs import RunConfig

pytestmark = pytest.mark.whole

MEANS = {"good": 1500, "bad": 2600}


def write_images(folder, mean, count):
    random = np.random.default_rng(count)
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.clip(random.normal(mean, 400, (32, 32)), 0, 4095)
        Image.fromarray(pixels.astype(np.uint16)).save(folder / f"{number:02}.tif")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for split, count in (("train", 20), ("test", 6)):
        for name, mean in MEANS.items():
            write_images(root / split / name, mean, count)
    good = root / "train" / "good"
    (good / "notes.txt").touch()
    (good / ".cache").mkdir()
    (good / "gone.tif").symlink_to("nowhere")
    (good / "back").symlink_to("..")
    (root / "ground_truth").mkdir()
    Image.new("L", (32, 32), 7).save(good / "black.png")
    return root


PASSED_OVER = {
    "other suffix .txt": 1,
    "hidden": 1,
    "broken link": 1,
    "link in a circle": 1,
    "folder of no class named": 1,
}


def arguments(root, out, *more):
    options = ["--specificity", "none", "--epochs", 1, "--minority-count", 5, *more]
    return train_arguments(root, out, *options, majority="good", minority="bad")


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "a"
    assert run(*arguments(root, out, "--gray-range=0,4095", "--skip-unreadable")) == 0
    return out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], r"from 0 to [34]\d\d\d; expected up to 65535.*--gray-range=0,4095"),
        (["--gray-range=0,4095"], r"black\.png .all its pixels are of one colour"),
    ],
)
def test_train_refuses_what_would_be_flat(root, tmp_path, capsys, options, message):
    assert run(*arguments(root, tmp_path / "run", *options)) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_run_keeps_its_range_and_counts_what_it_left_out(trained):
    config = RunConfig.load(trained)
    assert config.gray_range == (0, 4095)
    assert config.passed_over == PASSED_OVER
    assert [path.rsplit("/")[-1] for path in config.skipped] == ["black.png"]
    report = json.loads((trained / "report.json").read_text())
    assert (report["n_passed_over"], report["n_skipped"]) == (5, 1)


def test_evaluate_reads_images_by_the_range_of_the_run(trained, root, tmp_path):
    out = tmp_path / "r.json"
    assert run("evaluate", trained, "--data", root, "--json", out) == 0
    assert json.loads(out.read_text()) == json.loads(
        (trained / "report.json").read_text()
    )


def test_score_counts_what_it_scores_all_the_same(trained, root, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    pixels = np.asarray(Image.open(root / "test" / "good" / "00.tif"))
    Image.fromarray(pixels).save(folder / "12.png")
    scaled = np.rint(pixels * (255 / 4095)).astype(np.uint8)
    Image.fromarray(scaled).save(folder / "8.png")
    Image.fromarray(pixels * 2).save(folder / "bright.png")
    Image.new("RGB", (8, 8)).save(folder / "black.jfif", "JPEG")
    (folder / "notes.txt").touch()
    assert run("score", trained, folder, "--csv", tmp_path / "s.csv") == 0
    printed = capsys.readouterr().out
    for words in (
        "Passed over: 1 other suffix .txt",
        f"Scored all the same: 1 images of a single colour: {folder}/black.jfif",
        f"Clipped to black and white: 1 images: {folder}/bright.png",
        "4 images, ",
    ):
        assert words in printed
    with (tmp_path / "s.csv").open() as file:
        scores = [row["score"] for row in csv.DictReader(file)]
    assert scores[0] == scores[1]
    assert run("score", trained, folder / "12.png", "--gray-range=0,9000") == 0
    assert f"{float(scores[0]):.6g}" not in capsys.readouterr().out


def test_score_finds_each_file_once(trained, root, capsys):
    folder = root / "test" / "good"
    assert run("score", trained, folder / "01.tif", folder, folder / "02.tif") == 0
    printed = capsys.readouterr().out
    assert "Passed over: 2 reached twice" in printed and "6 images, " in printed


def test_compare_reads_images_by_a_range(root, tmp_path, capsys):
    (root / "train" / "good" / "black.png").rename(tmp_path / "black.png")
    options = ["compare", "--data", root, "--majority", "good", "--minority", "bad"]
    options += ["--counts", 2, "--seeds", 1, "--methods", "class means"]
    options += ["--encoder", "MobileNet:alpha=0.25", "--weights", "none"]
    options += ["--discriminator", "MobileNet:alpha=0.25", "--network-size", 32]
    try:
        assert run(*options, "--out", tmp_path / "a") == 2
        message = r"(\d+) of \1 looked at of training class 'good' have values"
        assert re.search(message, capsys.readouterr().err)
        options += ["--gray-range=0,4095"]
        assert run(*options, "--out", tmp_path / "b") == 0
    finally:
        (tmp_path / "black.png").rename(root / "train" / "good" / "black.png")
    assert f"Passed over in {root.name}: 1 " in capsys.readouterr().out


@pytest.mark.parametrize("text", ["4095", "5,3", "0,nan", "a,b", "0,1,2", "-inf,1"])
def test_a_range_that_is_none_is_refused(root, tmp_path, capsys, text):
    with pytest.raises(SystemExit):
        run(*arguments(root, tmp_path / "run", f"--gray-range={text}"))
    assert "two numbers, the smaller one first" in capsys.readouterr().err
