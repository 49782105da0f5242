"""What to look at and to type next, ready to be pasted."""

import shlex
import shutil
import sys
from pathlib import Path

from egan_keras.cli.colours import coloured
from egan_keras.text import printable


def tell(*words: object, page: Path | None = None) -> None:
    """Prints a command of this program, and above it a page to look at, if it is there.

    Args:
        *words: The command and its arguments; none where nothing is next.
        page: A file for browsers.
    """
    print()
    if page and page.is_file():
        print(f"Look at {coloured(printable(page), 'address', sys.stdout)}")
    if words:
        print(f"Next: {printable(shlex.join(map(str, [*program(), *words])))}")


def score_words(run: Path, root: Path) -> list[object]:
    """Returns what scores images as those that a run was tested on."""
    test = root / "test"
    return ["score", run, test if test.is_dir() else "NEW_IMAGES"]


def export_words(run: Path) -> list[object]:
    """Returns what exports a run to a .tflite file beside it."""
    out = run.parent / f"{run.resolve().name}.tflite"
    again = ["--overwrite"] if out.exists() else []
    return ["export", run, "--format", "tflite", "--out", out, *again]


def program() -> list[str]:
    """Returns the words that start this program where this one was started."""
    started = Path(sys.argv[0]).absolute()
    words = []
    if started.stem != "egan-keras":
        started, words = Path(sys.executable), ["-m", "egan_keras"]
    found = shutil.which(started.name)
    if found and Path(found).absolute() == started:
        return [started.name, *words]
    here = Path.cwd()
    shown = started.relative_to(here) if started.is_relative_to(here) else started
    return [str(shown), *words]
