"""`train --cache`: killed in the middle, and run again."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from egan_keras.cli import main

BACKBONE = "MobileNet:alpha=0.25"

# Each batch takes its time, so that there is a middle to be killed in.
SLOW_MAIN = """
import sys, time
from egan_keras.features import StemFunction, feature_files
feature_files._SECONDS_BETWEEN_CHECKPOINTS = 0
fast = StemFunction.__call__
def slow(self, images):
    time.sleep(0.5)
    return fast(self, images)
StemFunction.__call__ = slow
from egan_keras.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for split, counts in {"train": (1000, 4), "test": (40, 20)}.items():
        for name, count, low in zip("ab", counts, (0, 90), strict=True):
            folder = root / split / name
            folder.mkdir(parents=True)
            random = np.random.default_rng(count)
            for number in range(count):
                pixels = random.integers(low, low + 160, (8, 8, 3), dtype="uint8")
                image = Image.fromarray(pixels).resize((32, 32))
                image.save(folder / f"{number:04}.png")
    return root


def arguments(root, out, cache):
    options = ["train", "--data", root, "--majority", "a", "--minority", "b"]
    options += ["--minority-count", 2, "--encoder", BACKBONE]
    options += ["--discriminator", BACKBONE, "--weights", "none"]
    options += ["--network-size", 32, "--epochs", 1, "--cache", cache, "--out", out]
    return list(map(str, options))


def kill_in_the_middle(command, cache):
    """Runs a command, and kills it when some rows are safe, but not all."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            for progress in cache.glob("*.partial/progress.json"):
                rows = json.loads(progress.read_text())["rows"]
                if 0 < rows < 800:
                    os.kill(process.pid, signal.SIGKILL)
                    return rows
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    raise AssertionError("there was no middle to be killed in")


@pytest.mark.slow
def test_a_run_killed_in_the_middle_goes_on_and_ends_the_same(root, tmp_path, capsys):
    command = arguments(root, tmp_path / "run", tmp_path / "cache")
    python = [sys.executable, "-c", SLOW_MAIN]
    rows = kill_in_the_middle(python + command, tmp_path / "cache")
    assert not (tmp_path / "run").exists()
    assert main(command) == 0
    assert f"from image {rows:,} on, where it stopped" in capsys.readouterr().out
    assert main(arguments(root, tmp_path / "whole", "memory")) == 0
    again = arguments(root, tmp_path / "again", tmp_path / "cache")
    assert main(again) == 0
    printed = capsys.readouterr().out
    assert re.search("800 majority images: .* MB, computed by an earlier run", printed)
    reports = [
        json.loads((tmp_path / name / "report.json").read_text())
        for name in ("run", "whole", "again")
    ]
    assert reports[0] == reports[1] == reports[2]
    assert not list((tmp_path / "cache").glob("*.partial"))
