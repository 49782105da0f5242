"""`egan-keras demo`: its options."""

import argparse
from pathlib import Path

from egan_keras.cli import options, runs
from egan_keras.logs import start_keras

_DESCRIPTION = """\
Pre-train, transfer, train, calibrate and judge, on handwritten digits.

The digits come with scikit-learn, so nothing is downloaded. DIR becomes a run as
`train` writes it; the images, the pre-trained weights and the comparison of the methods
are in it, too.
"""
_EPILOG = """\
Example:
  egan-keras demo --out demo
  egan-keras score demo demo/images/test
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "demo",
        help="see it work on data that is already there",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=options.HelpFormatter,
    )
    options.add_out_options(parser, "DIR", default=Path("demo"))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the demo; see `egan_keras.cli.demonstration.demonstrate`."""
    runs.check_free(arguments.out, overwrite=arguments.overwrite)
    start_keras()

    from egan_keras.cli.demonstration import demonstrate  # slow to import

    return demonstrate(arguments)
