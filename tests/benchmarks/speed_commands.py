"""Seconds and memory of whole commands, of this checkout and of an earlier one in turn.

    python tests/benchmarks/speed_commands.py [--before CHECKOUT] [--repeats N]

Prints a table with ratios. Images are made: smooth random patterns as JPEG of 224
pixels, of which a tenth carry a small square. ImageNet weights are used where they are.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

_HERE = Path(__file__).parents[2]
_SIDE, _SCORED = 224, 2_000
_TRAINED = {"good": 700, "bad": 30}
_SMALL, _DEFAULT = "MobileNetV2:alpha=0.35", "MobileNetV2"


def main() -> None:
    """Runs each command in turn, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--before", type=Path, help="checkout to compare with")
    parser.add_argument("--repeats", type=int, default=1, help="turns (default: 1)")
    given = parser.parse_args()
    checkouts = {"now": _HERE, **({"before": given.before} if given.before else {})}
    print(f"{platform.machine()}, {os.cpu_count()} cores; medians of {given.repeats}\n")
    print("| command | seconds | before | ratio | peak MB | before |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        _write_images(folder / "images", _TRAINED)
        _write_images(folder / "many", {"all": _SCORED})
        for name, command in _commands(folder).items():
            runs = {which: [] for which in checkouts}
            for _ in range(given.repeats):
                for which, checkout in checkouts.items():
                    found = _measured(command, checkout, folder, which)
                    runs[which].append(found)
            print(_row(name, runs), flush=True)


def _commands(folder: Path) -> dict[str, list[str]]:
    """Returns the arguments of each command; WHICH stands for the checkout's name."""
    data = ["--data", str(folder / "images"), "--majority", "good", "--minority", "bad"]

    def pair(spec: str) -> list[str]:
        return ["--encoder", spec, "--discriminator", spec]

    run, large = str(folder / "WHICH_small"), str(folder / "WHICH_large")
    train = ["train", *data, "--minority-count", "5", "--overwrite"]
    many = str(folder / "many")
    tune = ["--encoders", _SMALL, "--network-sizes", "96,128", "--trials", "20"]
    others = ["--counts", "5", "--seeds", "1", *pair(_SMALL)]
    tflite = ["--format", "tflite", "--overwrite", "--out", f"{run}.tflite"]
    return {
        f"train, 700 images, {_SMALL}": [*train, *pair(_SMALL), "--out", run],
        f"train, 700 images, {_DEFAULT}": [*train, *pair(_DEFAULT), "--out", large],
        "score RUN, 1 image": ["score", run, f"{many}/all/00000.jpg"],
        f"score RUN, {_SCORED:,} JPEG": ["score", run, many],
        f"score RUN, {_SCORED:,} JPEG, {_DEFAULT}": ["score", large, many],
        "export RUN": ["export", run, *tflite],
        f"export RUN, {_DEFAULT}, int8": [
            *("export", large, "--format", "tflite", "--quantize", "int8"),
            "--overwrite",
            *("--out", f"{large}.tflite"),
        ],
        f"score egan.tflite, {_SCORED:,} JPEG": ["score", f"{run}.tflite", many],
        "score egan.tflite, 1 image": [
            *("score", f"{run}.tflite", f"{many}/all/00000.jpg")
        ],
        "tune, 20 trials": ["tune", *data, *tune, "--out", f"{run}_tuned"],
        "compare, a cell": ["compare", *data, *others, "--out", f"{run}_compared"],
    }


def _measured(
    command: list[str], checkout: Path, folder: Path, which: str
) -> tuple[float, float]:
    """Returns seconds and peak bytes of a command of a checkout."""
    arguments = [each.replace("WHICH", which) for each in command]
    if arguments[0] in ("tune", "compare"):
        for place in folder.glob(f"{Path(arguments[-1]).name}*"):
            shutil.rmtree(place)
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    environment["EGAN_KERAS_CACHE"] = str(folder / f"cache_{which}")
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "egan_keras", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=folder,
    )
    told = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{arguments} failed:\n{told.decode()[-2000:]}")
    # Linux counts in kilobytes.
    return seconds, usage.ru_maxrss * 1024


def _row(name: str, runs: dict[str, list[tuple[float, float]]]) -> str:
    medians = {
        which: [statistics.median(each) for each in zip(*found, strict=True)]
        for which, found in runs.items()
    }
    seconds, size = medians["now"]
    before = medians.get("before")
    cells = [name, f"{seconds:.1f}"]
    cells += [f"{before[0]:.1f}", f"{seconds / before[0]:.2f}"] if before else ["", ""]
    cells += [f"{size / 1e6:,.0f}", f"{before[1] / 1e6:,.0f}" if before else ""]
    return f"| {' | '.join(cells)} |"


def _write_images(folder: Path, counts: dict[str, int]) -> None:
    random = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            coarse = Image.fromarray(random.integers(60, 190, (7, 7, 3), "uint8"))
            image = np.asarray(coarse.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))
            if name == "bad" or (name == "all" and number % 10 == 0):
                y, x = random.integers(0, _SIDE - 24, 2)
                image = image.copy()
                image[y : y + 24, x : x + 24] = 255 - image[y : y + 24, x : x + 24]
            Image.fromarray(image).save(folder / name / f"{number:05}.jpg", quality=90)


if __name__ == "__main__":
    main()
