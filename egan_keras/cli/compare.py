"""`egan-keras compare`: its options."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from egan_keras.cli import options
from egan_keras.logs import start_keras

if TYPE_CHECKING:
    from egan_keras.experiments import Grid

FAILED = 1
COUNTS = (1, 2, 5, 10)
BACKBONE = "MobileNetV2"

_DESCRIPTION = """\
Compare eGAN with what else one could do: the same images, features, splits and seeds.

Every method is trained on few minority images and judged on the test split, with
several seeds for each count. What is frozen is computed once. DIR gets report.md,
results.csv (a row for each run), cells.csv (means and spreads), plots/, and runs/,
features/ and images.json, from which the same command goes on after Ctrl-C or with a
larger grid: what has run is not run again, as long as the images and the weights hold
the same. A run that fails is reported and does not stop the others.
"""
_EPILOG = """\
Exit codes: 1 if some runs failed, and the tables lack them; 130 after Ctrl-C, and 143
after SIGTERM, with the tables of what has run; all others as `egan-keras --help` lists
them.

Methods: default and published (recipes of eGAN), baselines on frozen features such as
"logistic regression" and "class means", and slow ones on images. An unknown name in
--methods has all names listed.

Examples:
  egan-keras compare --data images --majority good --minority scratched --out compared
  egan-keras compare --data cifar10 --majority automobile --minority airplane \\
      --counts 2,10 --seeds 3 --methods "default,class means" --out compared
  egan-keras compare --data . --grid grid.toml --out compared

A grid is a TOML file:
  seeds = 5
  pairings = ["MobileNetV2:alpha=0.35->MobileNetV2:alpha=0.35"]
  methods = ["default", "logistic regression", "no fakes"]
  [[task]]
  data = "cifar10"                       # below ROOT
  majority = ["automobile", "truck"]
  minority = ["airplane"]
  counts = [1, 2, 5]
  [[task]]                               # as many as wanted
  data = "tiles"
  majority = ["good"]
  minority = ["blowhole"]
  counts = [1, 2]
  test_fraction = 0.5                    # where there is no test folder
  methods = ["default", "published"]     # for this task alone, as seeds and pairings
  [[variant]]                            # one more method: a recipe, changed
  name = "no fakes"
  recipe = "default"
  choices = {real_minority = 1e12}
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "compare",
        help="compare eGAN with other methods",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=options.HelpFormatter,
    )
    _add_task_options(parser.add_argument_group("images"))
    _add_method_options(parser.add_argument_group("methods"))
    group = parser.add_argument_group("output")
    group.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        required=True,
        help="folder to write, or an earlier comparison to go on with",
    )
    group.add_argument(
        "--tables-only",
        action="store_true",
        help="run nothing; write the tables of what has run",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs the grid; see `egan_keras.experiments.compare`."""
    _check(arguments)
    start_keras()

    from egan_keras import experiments  # slow to import

    outcomes = experiments.compare(
        _grid(arguments),
        arguments.out,
        command=shlex.join(["egan-keras", *arguments.argv]),
        tables_only=arguments.tables_only,
    )
    return FAILED if outcomes.failed else 0


def _add_task_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--data",
        metavar="ROOT",
        type=Path,
        required=True,
        help="folder of images, as for train; with --grid the folder that holds them",
    )
    group.add_argument(
        "--majority",
        metavar="A[,B..]",
        type=options.class_names,
        help="the common class, or several",
    )
    group.add_argument(
        "--minority",
        metavar="C[,D..]",
        type=options.class_names,
        help="the rare class, or several",
    )
    group.add_argument(
        "--counts",
        metavar="N[,N..]",
        type=_counts,
        help="numbers of minority images to train on (default: 1,2,5,10)",
    )
    group.add_argument(
        "--image-size",
        metavar="N",
        type=options.positive_int,
        help="stretch every image to N x N pixels (default: the size of the images if "
        "they have one, else 224)",
    )
    options.add_gray_range_option(group, "all that their type can hold")
    options.add_duplicates_option(group)
    group.add_argument(
        "--grid",
        metavar="FILE",
        type=Path,
        help="several tasks at once, from a TOML file as below; the options that "
        "follow take the place of what it says",
    )
    group.add_argument(
        "--seeds",
        metavar="N",
        type=options.positive_int,
        help="number of runs of each method, with seeds 0 to N - 1 (default: the "
        "grid's, else 5)",
    )


def _add_method_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--methods",
        metavar="NAME[,NAME..]",
        type=_names,
        help="what is compared; all is everything (default: default, and all baselines "
        "on frozen features)",
    )
    group.add_argument(
        "--encoder",
        metavar="SPEC",
        help=f"backbone of the encoder, as for train (default: {BACKBONE})",
    )
    group.add_argument(
        "--discriminator",
        metavar="SPEC",
        help="backbone of the discriminator, which the baselines read too (default: "
        f"{BACKBONE})",
    )
    group.add_argument(
        "--weights",
        metavar="imagenet|none|FILE",
        help="what the backbones start from; none is random (default: imagenet)",
    )
    group.add_argument(
        "--network-size",
        metavar="N",
        type=options.positive_int,
        help="size to which the networks resize images, unless a recipe names one "
        "(default: chosen by the size of the images)",
    )


def _grid(arguments: argparse.Namespace) -> "Grid":
    """Makes the grid that the options describe."""
    from egan_keras import experiments

    pairing = None
    if arguments.encoder or arguments.discriminator or not arguments.grid:
        encoder, discriminator = arguments.encoder, arguments.discriminator
        pairing = f"{encoder or BACKBONE}->{discriminator or BACKBONE}"
    forced = {
        "seeds": arguments.seeds,
        "methods": arguments.methods,
        "pairings": pairing,
        "weights": arguments.weights,
        "network_size": arguments.network_size,
    }
    if arguments.grid:
        return experiments.read_grid(arguments.grid, arguments.data, forced)
    root = arguments.data.resolve()
    task = {
        "data": root.name,
        "majority": arguments.majority,
        "minority": arguments.minority,
        "counts": arguments.counts or COUNTS,
    }
    for name in ("image_size", "gray_range", "duplicates"):
        if getattr(arguments, name):
            task[name] = getattr(arguments, name)
    return experiments.make_grid({"task": [task]}, root.parent, forced)


def _check(arguments: argparse.Namespace) -> None:
    """Refuses options that exclude each other, or lack one another.

    Raises:
        ValueError: if there are such.
    """
    names = "majority minority counts image_size gray_range duplicates".split()
    given = [f"--{n.replace('_', '-')}" for n in names if getattr(arguments, n)]
    if arguments.grid and given:
        raise ValueError(
            "The grid names classes and counts itself; expected --grid alone, or "
            f"--majority and --minority without it. Received: --grid and "
            f"{', '.join(given)}. Leave one out."
        )
    if not arguments.grid and not (arguments.majority and arguments.minority):
        raise ValueError(
            "The classes are missing; expected --majority and --minority, or --grid. "
            f"Received: {', '.join(given) or 'none of them'}. Name the classes."
        )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _counts(text: str) -> list[int]:
    return [options.positive_int(part) for part in text.split(",")]
