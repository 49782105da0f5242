"""The commands, and what becomes of warnings, errors and Ctrl-C in them."""

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence

from egan_keras.cli import compare, demo, evaluate, export, score, train, tune
from egan_keras.cli.options import HelpFormatter
from egan_keras.version import __version__

WRONG_INPUT = 2
INTERRUPTED = 130

_DESCRIPTION = """\
Find the rare class in images from a handful of examples.

The common class is called the majority, the rare one the minority. A score is high
for the majority and low for the minority; an image is called minority when its score
is below the model's threshold.
"""
_EPILOG = """\
Exit codes: 0 done; 1 training diverged (the run is written all the same); 2 wrong
input; 130 interrupted. TF_CPP_MIN_LOG_LEVEL=0 in the environment shows TensorFlow's
own messages.

Example:
  egan-keras train --data images --majority good --minority scratched --out runs/a
  egan-keras score runs/a new_images
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments without the program's name; None takes `sys.argv`.

    Returns:
        The exit code: 0 done, 1 training diverged, 2 wrong input, 130 interrupted.

    Raises:
        SystemExit: with code 2 if the arguments cannot be read, 0 after `--help`.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    arguments = build_parser().parse_args(argv)
    arguments.argv = argv
    name = f"egan-keras {arguments.command}"
    with _plain_warnings(name):
        try:
            return arguments.run(arguments)
        except KeyboardInterrupt:
            print(f"\n{name}: interrupted", file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:
            # Who read the output, such as `head`, has gone. Nothing is left to flush.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (ValueError, OSError) as error:
            if arguments.traceback:
                raise
            print(f"{name}: error: {error}", file=sys.stderr)
            return WRONG_INPUT


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
    """Shows warnings as sentences, without the line of source they come from."""

    def show(message, category, filename, lineno, file=None, line=None):
        print(f"{name}: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        # Pillow warns of oddities in files that it reads all the same, without a name.
        warnings.filterwarnings("ignore", module="PIL")
        warnings.showwarning = show
        yield
