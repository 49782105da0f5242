r"""Find the rare class in images from a handful of examples.

The common class is called the majority, the rare one the minority. A score is
high for the majority; below the model's threshold an image is called minority.

Exit codes: 0 done; 1 done, but training diverged, some runs of a comparison
failed, or standard output could not be written; 2 wrong input, or no room on
the disk; 130 or 143 after Ctrl-C or SIGTERM, 129 when the terminal closes. What
is being saved then is finished first; a third signal ends at once.

In the environment TF_CPP_MIN_LOG_LEVEL=0 shows TensorFlow's own messages, and
NO_COLOR=1 turns colours off.

Examples:
  egan-keras demo
  egan-keras train --data images --majority good --minority scratched \
      --out runs/a
  egan-keras score runs/a new_images
  egan-keras train --help
"""

# What is above is what `egan-keras --help` shows, and so it is in the file of each
# command. Only that of the command named is imported, and Keras after its options.

import argparse
import contextlib
import dataclasses
import importlib
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from egan_keras import logs
from egan_keras.cli import options
from egan_keras.text import first_few, printable
from egan_keras.version import __version__

COMMANDS = {
    "demo": "see it work on data that is already there",
    "train": "train on a folder of images",
    "tune": "search for the best pairing of backbones, and train it",
    "calibrate": "set the threshold of a run's model again",
    "evaluate": "report on a run's model",
    "check": "tell whether new images are like those before",
    "review": "label what helps most, on a page, and train again",
    "score": "score images with a run's model or a .tflite file",
    "features": "compute the features of many images once",
    "export": "export a run's model to SavedModel, TFLite or ONNX",
    "compare": "compare eGAN with other methods",
}
SKIPPED = "Skipped {} unreadable files or images of a single colour"
BLEMISHED = 1
WRONG_INPUT = 2
_STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")
_LAST = 3


class _Rooms:
    """The rooms of the package, such as `rooms.data`, imported when they are used."""

    def __getattr__(self, name: str) -> ModuleType:
        if name.startswith("_"):
            raise AttributeError(name)
        return importlib.import_module(f"egan_keras.{name}")


rooms = _Rooms()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command, of `sys.argv` if no other arguments are given.

    Returns the exit code, see `egan-keras --help`. SystemExit is raised with code 2 if
    the arguments cannot be read, 0 after `--help`.
    """
    with logs.printing():
        arguments, command, given = parse(sys.argv[1:] if argv is None else argv)
        name = f"egan-keras {arguments.command}"
        with signals(name), logs.only_ours(), plain_warnings(name):
            try:
                code = command.run(given)
            except KeyboardInterrupt:
                print(f"\n{name}: interrupted", file=sys.stderr)
                code = 128 + (_signals.received or [signal.SIGINT])[0]
            except (ValueError, OSError, ImportError) as error:
                if arguments.traceback:
                    raise
                logs.complain(name, "error", error)
                code = WRONG_INPUT
        lost = sys.stdout.lost
        # Of a reader that has gone, such as `head`, nobody needs to be told.
        if not (code or isinstance(lost, BrokenPipeError | None)):
            message = f"Standard output could not be written ({lost}); all files are."
            logs.complain(name, "warning", message)
        return code or (0 if lost is None else BLEMISHED)


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, ModuleType, Any]:
    """Returns what was given, the module of the command, and the command's options."""
    named = next((each for each in argv if not each.startswith("-")), None)
    parser = _parser({named})
    arguments = parser.parse_args(argv)
    command = _command(arguments.command)
    given = vars(arguments) | {"command_line": shlex.join([parser.prog, *argv])}
    names = [each.name for each in dataclasses.fields(command.Options)]
    chosen = {name: given[name] for name in names if name in given}
    return arguments, command, command.Options(**chosen)


def _parser(named: Container[str]) -> argparse.ArgumentParser:
    """Returns the parser of all commands, with the options of those that are named."""
    program, usage = "egan-keras", "%(prog)s [OPTIONS] COMMAND .."
    page = _page(__doc__) | {"usage": usage, "add_help": False}
    parser = argparse.ArgumentParser(program, **page)
    shown = {"title": "commands", "metavar": "COMMAND", "prog": program}
    parsers = parser.add_subparsers(dest="command", required=True, **shown)
    for name, line in COMMANDS.items():
        if name in named:
            command = _command(name)
            added = parsers.add_parser(name, help=line, **_page(command.__doc__))
            options.add_options(added, command.Options)
        else:
            parsers.add_parser(name, help=line)
    others = parser.add_argument_group("options")
    told = "show this; COMMAND --help shows a command's options"
    others.add_argument("-h", "--help", action="help", help=told)
    told = "show the version"
    others.add_argument("--version", action="version", version=__version__, help=told)
    told = "on wrong input, show where in the program it was refused"
    others.add_argument("--traceback", action="store_true", help=told)
    told = "print what makes a shell complete commands, options and files"
    completing = {"action": _PrintCompletion, "choices": ("bash", "zsh", "fish")}
    others.add_argument("--print-completion", help=told, **completing)
    return parser


class _PrintCompletion(argparse.Action):
    """Prints what a shell is to read, and ends."""

    def __call__(self, parser, namespace, values, option_string=None):
        # Rarely needed.
        import shtab

        print(shtab.complete(_parser(COMMANDS), values))
        parser.exit()


def _command(name: str) -> ModuleType:
    return importlib.import_module(f"egan_keras.cli.{name}")


def _page(text: str | None) -> dict[str, Any]:
    """Returns what `--help` shows before and behind the options."""
    parts = re.split(r"^(?=Exit codes|Examples?:)", text or "", maxsplit=1, flags=re.M)
    page = dict(zip(("description", "epilog"), parts, strict=False))
    return page | {"formatter_class": argparse.RawDescriptionHelpFormatter}


@contextlib.contextmanager
def plain_warnings(name: str) -> Iterator[None]:
    """Shows the package's warnings as sentences, and others only where asked for."""
    shows_all = logs.shows_all() or bool(sys.warnoptions)

    def show(message, category, filename, lineno, file=None, line=None):
        frame = sys._getframe(1)
        while frame.f_globals.get("__name__") == "warnings":
            frame = frame.f_back
        if shows_all or frame.f_globals.get("__name__", "").startswith("egan_keras"):
            logs.complain(name, "warning", message)

    with warnings.catch_warnings():
        # Pillow warns of oddities in files that it reads all the same, without a name.
        warnings.filterwarnings("ignore", module="PIL")
        warnings.showwarning = show
        yield


class _Signals:
    """What signals have come to a command, and what is being saved, if anything."""

    def __init__(self) -> None:
        self.begin("")

    def begin(self, name: str) -> None:
        self.name = name
        self.received: list[int] = []
        self.is_stopping = False
        self.saved: str | None = None

    def stop(self) -> None:
        self.is_stopping = True
        raise KeyboardInterrupt

    def receive(self, number: int, frame: FrameType | None) -> None:
        self.received.append(number)
        if len(self.received) >= _LAST:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if self.saved is None and not self.is_stopping:
            self.stop()
        doing = f"saving {self.saved}" if self.saved else "stopping"
        left = "two more end" if len(self.received) == 1 else "once more ends"
        told = f"{doing}; {left} it at once, and what is not saved is lost"
        # Python's own streams refuse to be written while they are being written.
        with contextlib.suppress(OSError):
            os.write(2, f"\n{self.name}: {told}\n".encode())


_signals = _Signals()


@contextlib.contextmanager
def signals(name: str) -> Iterator[None]:
    """Turns signals to a command into one KeyboardInterrupt; the third ends it at once.

    What `saving` protects is finished first. Signals that are ignored, as in the
    background or under nohup, stay so.
    """
    with contextlib.ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            _signals.begin(name)
            stack.callback(_signals.begin, "")
            for number in [getattr(signal, each, None) for each in _STOPPING]:
                if number and signal.getsignal(number) is not signal.SIG_IGN:
                    before = signal.signal(number, _signals.receive)
                    stack.callback(signal.signal, number, before)
        yield


@contextlib.contextmanager
def saving(what: str) -> Iterator[None]:
    """Lets what is written be finished before a signal ends the command.

    If the first signal came meanwhile, KeyboardInterrupt is raised behind it.
    """
    outer, _signals.saved = _signals.saved, what
    try:
        yield
    finally:
        _signals.saved = outer
    # Again where it was raised before: some callbacks swallow exceptions.
    if outer is None and _signals.received:
        _signals.stop()


def tell_passed_over(passed_over: Mapping[str, int], where: str = "") -> None:
    """Prints how many files and folders were passed over, by reason."""
    if passed_over:
        told = rooms.data.finding.in_words(passed_over)
        print(f"Passed over{where}: {told}")


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
    """Prints a command of this program, if any, and above it a page, if it is there."""
    print()
    if page and page.is_file():
        print(f"Look at {logs.coloured(printable(page), 'address', sys.stdout)}")
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
