"""Prints which files of the package a command passes through, in the order of entry.

    python tests/helpers/walks.py

Three walks on tiny images and random weights: from `egan-keras train` to the first
gradient; in `exporting/`, from a model to a .tflite file; and, once the model has
scored a first batch, from further images to the CSV of `egan-keras score`. A file
counts when one of its functions runs; what runs at import does not.
"""

import contextlib
import importlib
import io
import sys
import tempfile
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import egan_keras
from egan_keras.cli import main

PACKAGE = Path(egan_keras.__file__).parent
TINY = "MobileNet:alpha=0.25"
# The function that takes a step, with which the walk to the gradient ends, and the one
# behind whose first call, when the layers have run, the walk to the CSV begins.
FIRST_STEP, SCORED = "train_step", "judge_batch"


class Walk:
    """Notes the files of the package whose functions run.

    Args:
        since: a function behind whose end it begins; None is the start.
        until: a function with which it ends.

    Attributes:
        files: their paths below the package, in the order of entry.
    """

    def __init__(self, since: str | None = None, until: str | None = None) -> None:
        self.files: list[str] = []
        self._since, self._until = since, until
        self._known: dict[str, str | None] = {}

    def _note(self, frame, event, argument) -> None:
        code = frame.f_code
        if event == "return" and code.co_name == self._since and self._file(code):
            self._since = None
        if event != "call" or self._since or self._until is False:
            return
        name = self._file(code)
        if name and code.co_name != "<module>" and name not in self.files:
            self.files.append(name)
        if name and code.co_name == self._until:
            self._until = False

    def _file(self, code: types.CodeType) -> str | None:
        """Returns the file of a function; None of one of another package."""
        if code.co_filename not in self._known:
            path = Path(code.co_filename)
            inside = PACKAGE in path.parents
            name = path.relative_to(PACKAGE).as_posix() if inside else None
            self._known[code.co_filename] = name
        return self._known[code.co_filename]

    @contextlib.contextmanager
    def traced(self) -> Iterator["Walk"]:
        """Notes what runs inside, in all threads that start there."""
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        try:
            yield self
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


def make_images(root: Path) -> None:
    """Writes folders of red and blue noise."""
    random = np.random.default_rng(0)
    for name, colour, count in (
        ("red", (200, 40, 40), 256),
        ("blue", (40, 40, 200), 9),
    ):
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(-40, 40, (32, 32, 3)) + np.array(colour)
            image = Image.fromarray(np.clip(pixels, 0, 255).astype("uint8"))
            image.save(root / name / f"{number:02}.png")


def walk(*arguments: object, **ends: str) -> list[str]:
    """Runs a command and returns the files it passed."""
    with contextlib.redirect_stdout(io.StringIO()), Walk(**ends).traced() as traced:
        code = main([str(each) for each in arguments])
    if code:
        raise SystemExit(f"{arguments[0]} ended with exit code {code}")
    return traced.files


def import_all() -> None:
    """Imports what commands import when they need it, which is no part of a walk."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        if path.stem not in ("__init__", "__main__", "jax", "torch"):
            importlib.import_module(name)


def walks(folder: Path) -> dict[str, list[str]]:
    """Returns the files of each walk, by its name."""
    import_all()
    images, run = folder / "images", folder / "run"
    make_images(images)
    given = ["--data", images, "--majority", "red", "--minority", "blue"]
    given += ["--encoder", TINY, "--discriminator", TINY, "--weights", "none"]
    given += ["--network-size", 32, "--epochs", 1, "--specificity", 0.8]
    to_gradient = walk("train", *given, "--out", run, until=FIRST_STEP)
    tflite = folder / "egan.tflite"
    to_tflite = walk("export", run, "--format", "tflite", "--out", tflite)
    scores = ["--csv", folder / "scores.csv"]
    to_csv = walk("score", run, images / "red", *scores, since=SCORED)
    return {
        "train, to the first gradient": to_gradient,
        "export, to a .tflite file": [
            file for file in to_tflite if file.startswith("exporting/")
        ],
        "score, from images to the CSV": to_csv,
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for name, files in walks(Path(temporary)).items():
            print(f"\n{name}: {len(files)} files")
            for file in files:
                print(f"  {file}")
