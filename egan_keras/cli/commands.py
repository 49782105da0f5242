"""The commands, and what becomes of warnings, errors and signals in them."""

import argparse
import contextlib
import sys
import warnings
from collections.abc import Iterator, Sequence

from egan_keras import logs, text
from egan_keras.cli import compare, demo, ends, evaluate, export, score, train, tune
from egan_keras.cli.options import HelpFormatter
from egan_keras.version import __version__

BLEMISHED = 1
WRONG_INPUT = 2

_DESCRIPTION = """\
Find the rare class in images from a handful of examples.

The common class is called the majority, the rare one the minority. A score is high
for the majority and low for the minority; an image is called minority when its score
is below the model's threshold.
"""
_EPILOG = """\
Exit codes: 0 done; 1 done, all files written, but training diverged, some runs of a
comparison failed, or standard output could not be written; 2 wrong input, or no room
on the disk; 129, 130, 143 ended by SIGHUP (the terminal closed), Ctrl-C, SIGTERM. What
is being saved then is finished first; a third signal ends at once.

TF_CPP_MIN_LOG_LEVEL=0 in the environment shows TensorFlow's own messages.

Example:
  egan-keras train --data images --majority good --minority scratched --out runs/a
  egan-keras score runs/a new_images
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments without the program's name; None takes `sys.argv`.

    Returns:
        The exit code, see `egan-keras --help`.

    Raises:
        SystemExit: with code 2 if the arguments cannot be read, 0 after `--help`.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    with logs.printing():
        arguments = build_parser().parse_args(argv)
        arguments.argv = argv
        name = f"egan-keras {arguments.command}"
        with ends.signals(name), logs.only_ours(), _plain_warnings(name):
            code = _run(arguments, name)
        return code or _told_of_lost_output(name)


def _run(arguments: argparse.Namespace, name: str) -> int:
    """Runs a command, and says in a sentence why it did not end well."""
    try:
        return arguments.run(arguments)
    except KeyboardInterrupt as stopped:
        print(f"\n{name}: interrupted", file=sys.stderr)
        return ends.exit_code(stopped)
    except (ValueError, OSError, ImportError) as error:
        if arguments.traceback:
            raise
        _complain(name, "error", error)
        return WRONG_INPUT


def _told_of_lost_output(name: str) -> int:
    """Returns the exit code of a command whose output may not have been written."""
    lost = sys.stdout.lost
    if lost is None:
        return 0
    # Of a reader that has gone, such as `head`, nobody needs to be told.
    if not isinstance(lost, BrokenPipeError):
        message = f"Standard output could not be written ({lost}); all files are."
        _complain(name, "warning", message)
    return BLEMISHED


def _complain(name: str, kind: str, message: object) -> None:
    """Prints a message, of which names cannot break out."""
    lines = map(text.printable, str(message).splitlines())
    print(f"{name}: {kind}:", "\n  ".join(lines), file=sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of all commands."""
    parser = argparse.ArgumentParser(
        "egan-keras",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--traceback",
        action="store_true",
        help="on wrong input, show where in the program it was refused",
    )
    subparsers = parser.add_subparsers(
        dest="command", required=True, title="commands", metavar="COMMAND"
    )
    for command in (demo, train, tune, evaluate, score, export, compare):
        command.add_parser(subparsers)
    return parser


@contextlib.contextmanager
def _plain_warnings(name: str) -> Iterator[None]:
    """Shows the package's warnings as sentences, and others only where asked for."""
    shows_all = logs.shows_all() or bool(sys.warnoptions)

    def show(message, category, filename, lineno, file=None, line=None):
        frame = sys._getframe(1)
        while frame.f_globals.get("__name__") == "warnings":
            frame = frame.f_back
        if shows_all or frame.f_globals.get("__name__", "").startswith("egan_keras"):
            _complain(name, "warning", message)

    with warnings.catch_warnings():
        # Pillow warns of oddities in files that it reads all the same, without a name.
        warnings.filterwarnings("ignore", module="PIL")
        warnings.showwarning = show
        yield
