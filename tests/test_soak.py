"""Mutated files and folders through train and score: no traceback, and all counted."""

import csv
import re

import numpy as np
import pytest
from mutants import KINDS, Folder
from test_cli import run, train_arguments

from egan_keras.cli.runs import RunConfig
from egan_keras.data import load_folder

pytestmark = pytest.mark.whole

ROLES = {"majority": "good", "minority": "bad"}
# Of each class where both are trained on and tested on.
LEVELS = {"good": 90, "bad": 160}


def write_root(root, random, layout=0):
    """Returns a folder of undamaged images in one of the layouts, and its classes."""
    folder = Folder(root, random)
    parts = [["train", "test"], [""], ["train", "test", "val"], ["train", "test"]]
    classes = []
    for part in parts[layout]:
        for name, level in LEVELS.items():
            # As MVTec's sets: the minority is tested on alone.
            if layout == 3 and (part, name) == ("train", "bad"):
                continue
            classes.append(root / part / name)
            folder.fill(classes[-1], 8 if name == "good" else 4, level)
    return folder, classes


def check_training(folder, out):
    """Trains on a folder, with all in it accounted for."""
    options = ["--specificity", "none", "--epochs", 1, "--skip-unreadable"]
    options += ["--gray-range=0,65535", "--image-size", 32, "--cache", "memory"]
    assert run(*train_arguments(folder.root, out, *options, **ROLES)) == 0
    config = RunConfig.load(out)
    used = [p for names in config.files.values() for ps in names.values() for p in ps]
    assert len(set(used)) == len(used)
    n_passed_over = sum(config.passed_over.values())
    assert len(used) + len(config.skipped) + n_passed_over == folder.n_read


def check_scoring(folder, model, table, capsys):
    """Scores all of a folder, with all in it accounted for."""
    capsys.readouterr()
    assert run("score", model, folder.root, "--csv", table, "--skip-unreadable") == 0
    printed = capsys.readouterr().out
    skipped = re.search(r"^Skipped (\d+) unreadable", printed, re.MULTILINE)
    passed_over = re.search(r"^Passed over: (.*)", printed, re.MULTILINE)
    counts = passed_over[1].split(", ") if passed_over else []
    # Names whose bytes are no text keep them.
    with table.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        n_scored = len(list(csv.DictReader(file)))
    n_left_out = sum(int(count.split()[0].replace(",", "")) for count in counts)
    n_left_out += int(skipped[1]) if skipped else 0
    assert n_scored + n_left_out == folder.n_scored
    assert f"\n{n_scored} images, " in printed


def check_listing(folder):
    """Loads a folder without decoding, with all in it accounted for."""
    options = {"lazy": True, "image_size": 32, "gray_range": (0, 65535)}
    splits = load_folder(folder.root, skip_unreadable=True, **options, **ROLES)
    n_used = sum(map(len, splits))
    n_skipped = sum(len(split.skipped) for split in splits)
    n_passed_over = sum(sum(split.passed_over.values()) for split in splits)
    assert n_used + n_skipped + n_passed_over == folder.n_read


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("n_files", "n_roots", "n_folders", "n_trained"),
    [
        pytest.param(100, 1, 10, 0, id="quick"),
        pytest.param(2000, 8, 200, 8, id="whole", marks=pytest.mark.slow),
    ],
)
def test_mutants_end_nothing_and_are_all_counted(
    tmp_path, capsys, n_files, n_roots, n_folders, n_trained
):
    random = np.random.default_rng(0)
    for number in range(n_roots):
        folder, classes = write_root(tmp_path / f"files-{number}", random)
        for index in range(n_files // n_roots):
            into = classes[random.integers(len(classes))]
            folder.add_mutant(into, KINDS[index % len(KINDS)])
        out = tmp_path / f"run-{number}"
        check_training(folder, out)
        check_scoring(folder, out, tmp_path / "scores.csv", capsys)
    for number in range(n_folders):
        root = tmp_path / f"folders-{number}"
        folder, classes = write_root(root, random, layout=number % 4)
        for _ in range(random.integers(1, 20)):
            folder.add_odd(classes[random.integers(len(classes))])
        folder.add_beside()
        check_listing(folder)
        if number < n_trained:
            check_training(folder, tmp_path / f"folder-run-{number}")
        if number < max(n_trained, 1):
            check_scoring(folder, out, tmp_path / "scores.csv", capsys)
    assert "Traceback" not in capsys.readouterr().err
