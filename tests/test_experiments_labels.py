"""Tasks of a comparison on a table of labels, and on groups."""

import csv

import numpy as np
import pytest
from PIL import Image

from egan_keras.cli import compare as command
from egan_keras.data import load_folder, load_table
from egan_keras.experiments import make_grid
from egan_keras.experiments.task_images import TaskImages

TASK = {"data": "parts", "majority": "good", "minority": "bad", "counts": 2}
OPTIONS = {"pairings": "MobileNet", "weights": "none"}


@pytest.fixture
def base(tmp_path):
    """15 parts of 3 good pictures and 1 bad one, labelled in a table beside them."""
    rows = []
    for number in range(60):
        label = "bad" if number % 4 == 0 else "good"
        path = tmp_path / "parts" / label / f"part{number // 4:02}_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), "uint8")
        Image.fromarray(pixels).save(path)
        rows.append([f"{label}/{path.name}", label, path.name[:6]])
    write_table(tmp_path / "labels.csv", rows)
    return tmp_path


def write_table(file, rows):
    with open(file, "w", newline="") as target:
        csv.writer(target).writerows([["path", "label", "group"], *rows])


def task_of(base, **more):
    return make_grid({"task": [TASK | more]}, base, OPTIONS).tasks[0]


@pytest.mark.parametrize("seed", [0, 4])
def test_splits_are_those_of_load_table(base, seed):
    images = TaskImages(task_of(base, labels="labels.csv"))
    classes = {"majority": "good", "minority": "bad"}
    chosen = classes | {"minority_count": 2, "seed": seed}
    loaded = load_table(base / "parts", base / "labels.csv", **chosen)
    grouped = load_folder(base / "parts", **chosen, groups="(part[0-9]+)_")
    by_expression = TaskImages(task_of(base, groups="(part[0-9]+)_"))
    found = zip(images.splits(2, seed), by_expression.splits(2, seed), strict=True)
    for (split, same), *others in zip(found, loaded, grouped, strict=True):
        assert split.paths == same.paths == others[0].paths == others[1].paths


def test_results_are_of_labels_and_groups(base):
    plain, table = task_of(base), task_of(base, labels="labels.csv")
    assert not {"labels", "groups"} & set(plain.definition())
    assert table.definition()["labels"] == "labels.csv"
    assert task_of(base, groups="/(part)").definition()["groups"] == "/(part)"
    before = TaskImages(table).fingerprint()
    assert before != TaskImages(plain).fingerprint()
    rows = list(csv.reader(open(base / "labels.csv")))[1:]
    rows[0][2] = "part77"
    write_table(base / "labels.csv", rows)
    regrouped = TaskImages(table).fingerprint()
    rows[0][1] = "good"
    write_table(base / "labels.csv", rows)
    assert len({before, regrouped, TaskImages(table).fingerprint()}) == 3


def test_the_command_line_names_them(base):
    given = command.Options(
        data=base / "parts",
        majority=["good"],
        minority=["bad"],
        labels=base / "labels.csv",
        out=base / "out",
    )
    (task,) = command._grid(given).tasks
    assert task.labels == base / "labels.csv" and task.groups is None


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"labels": 7}, "expected labels to be the path of a CSV file"),
        ({"groups": ["a"]}, "expected groups to be a regular expression"),
        ({"groups": "part"}, "one pair of parentheses"),
    ],
)
def test_what_they_cannot_be_is_refused(base, more, message):
    with pytest.raises(ValueError, match=message):
        task_of(base, **more)
