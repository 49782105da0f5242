import re
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from egan_keras import baselines
from egan_keras.cli import main

pytestmark = pytest.mark.whole

COLOURS = {"red": (200, 40, 40), "blue": (40, 40, 200)}
TINY = "MobileNet:alpha=0.25"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folders of red and blue noise, without train and test."""
    root = tmp_path_factory.mktemp("data") / "noise"
    random = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for number in range(20):
            pixels = random.integers(-40, 40, (32, 32, 3)) + np.array(colour)
            image = Image.fromarray(np.clip(pixels, 0, 255).astype("uint8"))
            image.save(root / name / f"{number:02}.png")
    return root


@pytest.fixture
def arguments(root, tmp_path, tiny_weights):
    def make(*more, classes=True):
        given = ["compare", "--data", root, "--out", tmp_path / "out"]
        given += ["--weights", tiny_weights, "--network-size", 32, *more]
        if classes:
            given += ["--majority", "red", "--minority", "blue", "--counts", "1,3"]
            given += ["--encoder", TINY, "--discriminator", TINY]
        return [str(each) for each in given]

    return make


def test_a_comparison_is_written_and_not_run_twice(arguments, tmp_path, capsys):
    options = ("--seeds", 2, "--methods", "class means, Mahalanobis distance")
    assert main(arguments(*options)) == 0
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {
        "cells.csv",
        "features",
        "images.json",
        "plots",
        "report.html",
        "report.md",
        "results.csv",
        "runs",
    }
    printed = capsys.readouterr().out
    assert re.search(r"\[   8/   8\] noise red/blue 3 seed 1: Mahal.* AUROC", printed)
    report = (tmp_path / "out" / "report.md").read_text()
    assert "egan-keras compare --data" in report and "8 of 8 runs" in report
    before = written_in(tmp_path / "out" / "runs")
    assert main(arguments(*options)) == 0
    said, _, page, command = capsys.readouterr().out.splitlines()
    assert said == "8 runs, 8 of them done before"
    assert page == f"Look at {tmp_path / 'out' / 'report.html'}"
    assert command.endswith(f" --out {tmp_path / 'out'}-run")
    assert written_in(tmp_path / "out" / "runs") == before


def written_in(folder):
    """Returns when each file was written, and what.

    A file's count of links is none of it: it is two for a moment while the file is
    being put in place.
    """
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.glob("[!.]*")
    }


def test_egan_and_a_grid(arguments, root, tmp_path):
    file = tmp_path / "grid.toml"
    file.write_text(
        f"""
        pairings = "{TINY}"
        methods = ["quick", "class means"]
        seeds = 1
        [[task]]
        data = "noise"
        majority = "red"
        minority = "blue"
        counts = [3]
        test_fraction = 0.4
        [[variant]]
        name = "quick"
        choices = {{epochs = 2, minimum_steps = 1}}
        """
    )
    given = arguments("--grid", file, classes=False)
    given[given.index(str(root))] = str(root.parent)
    assert main(given) == 0
    report = (tmp_path / "out" / "report.md").read_text()
    assert re.search(r"\| quick +\| +(\*\*)?[.1]\d+", report)
    # Vectors, and maps of two depths.
    assert len(list((tmp_path / "out" / "features").iterdir())) == 3 * 3


@pytest.mark.parametrize(
    ("more", "classes", "message"),
    [
        ([], False, "The classes are missing.*--grid"),
        (["--grid", "x.toml"], True, "The grid names classes and counts itself"),
        (["--grid", "x.toml"], False, "file of the grid does not exist"),
        (["--methods", "magic"], True, "Unknown method.*class means"),
        (["--minority", "green"], True, "Unknown class 'green'"),
        (["--counts", "99"], True, "fewer minority training images"),
        (["--discriminator", "VGG99"], True, "Unknown backbone.*VGG"),
        (["--network-size", "16"], True, "too small for the backbone"),
        (["--weights", "none.weights.h5"], True, "weights file does not exist"),
    ],
)
def test_wrong_input_is_refused_before_anything_runs(
    arguments, tmp_path, capsys, more, classes, message
):
    given = [*arguments(classes=classes), *more]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert error.startswith("egan-keras compare: error:") and re.search(message, error)
    assert not list(tmp_path.rglob("*.json")) + list(tmp_path.rglob("*.npy"))


@pytest.mark.parametrize("counts", ["0", "1,x", ""])
def test_counts_are_positive_whole_numbers(arguments, capsys, counts):
    with pytest.raises(SystemExit, match="2"):
        main([*arguments(), "--counts", counts])
    assert "expected a whole number of 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(TypeError, 1), (KeyboardInterrupt, 130)])
def test_exit_codes(arguments, monkeypatch, tmp_path, error, code):
    def broken(*arguments, seed):
        raise error("broken")

    monkeypatch.setitem(baselines.FEATURE_BASELINES, "zzz", broken)
    given = arguments("--methods", "class means,zzz", "--seeds", 1)
    assert main(given) == code
    assert "class means" in (tmp_path / "out" / "cells.csv").read_text()
    monkeypatch.delitem(baselines.FEATURE_BASELINES, "zzz")


@pytest.mark.slow
def test_a_killed_comparison_goes_on(arguments, tmp_path):
    program = [sys.executable, "-m", "egan_keras"]
    given = arguments("--seeds", 3, "--methods", "class means")
    runs = tmp_path / "out" / "runs"
    started = subprocess.Popen([*program, *given], stdout=subprocess.DEVNULL)
    while not (runs.is_dir() and any(runs.glob("[!.]*"))):
        assert started.poll() is None
        time.sleep(0.001)
    started.kill()
    started.wait()
    kept = written_in(runs)
    assert main(given) == 0
    now = written_in(runs)
    assert len(now) == 6 and {path: now[path] for path in kept} == kept
