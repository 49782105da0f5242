"""What commands print: in colours, what was passed over, what can be typed next."""

import contextlib
import os
import shlex
import shutil
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from egan_keras import logs
from egan_keras.text import first_few, printable

SKIPPED = "Skipped {} unreadable files or images of a single colour"
# By what is shown in them: bold red, bold yellow, yellow, underlined cyan.
_COLOURS = {"error": "1;31", "warning": "1;33", "minority": "33", "address": "4;36"}


def coloured(text: str, kind: str, stream: TextIO) -> str:
    """Returns a text in the colour of an error, a warning, a minority or an address.

    Without one, if the stream is no terminal that has colours. In the environment
    NO_COLOR turns them off, and FORCE_COLOR on, wherever the stream leads.
    """
    has_colours = stream.isatty() and os.environ.get("TERM") != "dumb"
    # Windows' own consoles show them only after being told so.
    has_colours &= os.name != "nt" or "WT_SESSION" in os.environ
    if os.environ.get("NO_COLOR") or not (os.environ.get("FORCE_COLOR") or has_colours):
        return text
    return f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m"


def complain(name: str, kind: str, message: object) -> None:
    """Prints an error or a warning of a command, of which names cannot break out."""
    lines = map(printable, str(message).splitlines())
    shown = coloured(kind, kind, sys.stderr)
    print(f"{name}: {shown}:", "\n  ".join(lines), file=sys.stderr)


@contextlib.contextmanager
def plain_warnings(name: str) -> Iterator[None]:
    """Shows the package's warnings as sentences, and others only where asked for."""
    shows_all = logs.shows_all() or bool(sys.warnoptions)

    def show(message, category, filename, lineno, file=None, line=None):
        frame = sys._getframe(1)
        while frame.f_globals.get("__name__") == "warnings":
            frame = frame.f_back
        if shows_all or frame.f_globals.get("__name__", "").startswith("egan_keras"):
            complain(name, "warning", message)

    with warnings.catch_warnings():
        # Pillow warns of oddities in files that it reads all the same, without a name.
        warnings.filterwarnings("ignore", module="PIL")
        warnings.showwarning = show
        yield


def tell_passed_over(passed_over: Mapping[str, int], where: str = "") -> None:
    """Prints how many files and folders were passed over, by reason."""
    if passed_over:
        # Slow to import.
        from egan_keras.data.finding import in_words

        print(f"Passed over{where}: {in_words(passed_over)}")


def tell_files(what: str, paths: Sequence[object], *, most: int | None = 5) -> None:
    """Prints what there is of some files, with their number at `{}`, and names some."""
    if paths:
        print(f"{what.format(len(paths))}: {first_few(paths, most)}")


def tell_written(paths: Iterable[object]) -> None:
    """Prints the files and folders that a command wrote."""
    print("\nWritten:")
    for path in paths:
        print(f"  {printable(path)}")


def tell_next(*words: object, page: Path | None = None) -> None:
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
