"""Which of several minority classes an image is most like: model, run and report."""

import csv
import json

import keras
import numpy as np
import pytest
from PIL import Image

import egan_keras as ek
from egan_keras.cli import main, runs

TINY = "MobileNet:alpha=0.25"
OPTIONS = {"network_size": 32, "minimum_steps": 1}

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def three_kinds(digits):
    """Zeros, and ones white or red, as images and names."""
    images, labels = digits
    zeros, ones = images[labels == 0][:80], images[labels == 1][:40].copy()
    ones[20:, :, :, 1:] = 0
    images = np.concatenate([zeros, ones])
    return images, np.repeat(["zero", "white", "red"], [80, 20, 20])


def trained(images, names, weights, **options):
    keras.utils.set_random_seed(0)
    shape = {"image_shape": (32, 32, 3), "weights": weights}
    model = ek.EGAN.from_backbones(TINY, TINY, **shape, **OPTIONS, **options)
    model.compile()
    model.fit(images, (names != "zero").astype(int), epochs=1, verbose=0)
    return model


def test_it_is_learned_from_some_and_holds_for_others(
    three_kinds, tiny_weights, tmp_path
):
    images, names = three_kinds
    model = trained(images, names, tiny_weights)
    few = np.flatnonzero(names != "zero")
    assert model.judge(images).most_like is None
    before = model.judge(images).scores
    model.learn_minority_classes(images[few[::2]], names[few[::2]])
    judged = model.judge(images)
    assert np.array_equal(judged.scores, before)
    others = few[1::2]
    assert np.mean(judged.most_like[others] == names[others]) > 0.8
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(again.judge(images).most_like, judged.most_like)
    copy = again.in_float32()
    assert copy.minority_classes.names == ("red", "white")
    again.compile()
    again.fit(images, (names != "zero").astype(int), epochs=1, verbose=0)
    assert again.minority_classes is None


def test_one_class_or_no_distance_teaches_nothing(three_kinds, tiny_weights):
    images, names = three_kinds
    few = names != "zero"
    model = trained(images, names, tiny_weights)
    model.learn_minority_classes(images[few], ["one"] * int(few.sum()))
    assert model.minority_classes is None
    images, names = images[60:110], names[60:110]
    published = trained(images, names, tiny_weights, recipe="published")
    published.learn_minority_classes(images[20:], names[20:])
    assert published.minority_classes is None
    assert published.judge(images).most_like is None


@pytest.fixture(scope="module")
def folder(three_kinds, tiny_weights, tmp_path_factory):
    """A run of both minority classes, and its images."""
    folder = tmp_path_factory.mktemp("several")
    for number, (image, name) in enumerate(zip(*three_kinds, strict=True)):
        path = folder / "images" / name / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    options = ["--majority", "zero", "--minority", "red,white", "--epochs", "1"]
    options += ["--encoder", TINY, "--discriminator", TINY, "--network-size", "32"]
    options += ["--weights", str(tiny_weights), "--specificity", "0.8"]
    options += ["--cross-fit", "2", "--confidence", "none"]
    options += ["--data", str(folder / "images"), "--out", str(folder / "run")]
    assert main(["train", *options]) == 0
    return folder


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_score_tells_it_and_whether_the_images_are_like_the_majority_s(
    folder, tmp_path, capsys
):
    images = folder / "images" / "red"
    command = ["score", str(folder / "run"), str(images)]
    assert main([*command, "--csv", str(tmp_path / "scores.csv")]) == 0
    rows = read(tmp_path / "scores.csv")
    assert list(rows[0]) == ["path", "score", "is_minority", "most_like"]
    right = [row["most_like"] == "red" for row in rows]
    assert len(rows) == 20 and np.mean(right) > 0.8
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == list(rows[0])
    assert sum(line.endswith(" red") for line in printed) == sum(right)
    assert "scores as low p = " in printed[-1]
    assert f"egan-keras check {folder / 'run'}" in printed[-1]


def test_few_images_are_not_compared(folder, capsys):
    images = sorted((folder / "images" / "red").iterdir())[:3]
    assert main(["score", str(folder / "run"), *map(str, images)]) == 0
    assert "scores as low" not in capsys.readouterr().out


def test_the_run_s_page_has_the_classes_and_the_suspects(folder):
    run = folder / "run"
    page = (run / runs.PAGE).read_text()
    test = [row for row in read(run / "scores.csv") if row["split"] == "test"]
    assert {row["most_like"] for row in test} <= {"red", "white"}
    table = page.split("Each minority class at this threshold")[1]
    for name in ("red", "white"):
        own = [row for row in test if row["class"] == name]
        threshold = json.loads((run / runs.REPORT).read_text())["threshold"]
        counts = [len(own), sum(float(row["score"]) < threshold for row in own)]
        counts.append(sum(row["most_like"] == name for row in own))
        cells = "".join(f'<td class="number">{count}</td>' for count in counts)
        assert f'<tr><th scope="row">{name}</th>{cells}</tr>' in table
    shown = page.split("Suspects among the majority")[1]
    suspects = read(run / "suspects.csv")
    assert all(row["path"].split("/")[-1] in shown for row in suspects[:12])


def test_calibrating_again_keeps_what_the_run_told(folder):
    run = folder / "run"
    before = (run / runs.PAGE).read_text()
    command = ["calibrate", str(run), "--specificity", "0.7", "--confidence", "0.9"]
    assert main(command) == 0
    page = (run / runs.PAGE).read_text()
    for told in ("most like their own class", "Suspects among the majority"):
        assert told in before and told in page
    guarantee = json.loads((run / runs.REPORT).read_text())["threshold_guarantee"]
    assert "as far as the model scores like 2 others" in guarantee


def test_a_run_of_an_earlier_version_is_read(folder, tmp_path):
    rows = [line.rsplit(",", 1)[0] for line in open(folder / "run" / "scores.csv")]
    (tmp_path / "scores.csv").write_text("\n".join(rows) + "\n")
    from egan_keras.cli import run_results

    found = run_results.read_scores(tmp_path, runs.RunConfig.load(folder / "run"))
    now = run_results.read_scores(folder / "run", runs.RunConfig.load(folder / "run"))
    assert found["test"].most_like is None and now["test"].most_like is not None
    assert np.array_equal(found["test"].scores, now["test"].scores)
