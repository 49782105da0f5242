"""`egan-keras tune`: its options."""

import argparse
import ast
import re
from typing import Any

from egan_keras.cli import options, runs
from egan_keras.logs import start_keras

_DESCRIPTION = """\
Search for the best pairing of backbones, and train the best one.

Each trial trains with some minority images held out in turn, and ranks these against
the majority images of validation: no test image has part in it. A line is printed for
each trial as it ends. The first one is the first pairing with the recipe as it is; it
wins unless the best one is better than chance explains, or it is over the budget. The
winner is trained on all training images.

RUN gets what `train` writes, and leaderboard.csv, leaderboard.md and heatmap.png. Until
then the search, with the features of every backbone, cut and size, is in the folder
RUN.search: after Ctrl-C, which leaves the leaderboard so far there, or a kill, the same
command goes on. More --trials may be asked for.
"""
_EPILOG = """\
Exit codes: as for `train`.

Several processes share a search if each is started with the same command, the same
folder for RUN, and, in its environment,
  KERASTUNER_ORACLE_IP=HOST KERASTUNER_ORACLE_PORT=PORT  of the chief, for all of them
  KERASTUNER_TUNER_ID=chief                 for the one that hands out trials, or
  KERASTUNER_TUNER_ID=worker1 (worker2 ..)  for those that run them.
The chief writes RUN when the workers have ended. It waits for a worker that was killed:
start that one again with the same KERASTUNER_TUNER_ID, and it runs its trial again. Or
stop all, and go on with the same command without these variables. KerasTuner does not
encrypt what they say to each other: use a network that you trust.

Examples:
  egan-keras tune --data images --majority good --minority scratched \\
      --encoders MobileNetV2,DenseNet121 --out runs/best
  egan-keras tune --data cifar10 --majority bird --minority cat --minority-count 10 \\
      --encoders MobileNet:alpha=0.25,MobileNetV2:alpha=0.35 --depths 1,2,3 \\
      --network-sizes 64,96,128 --choose latent_size=64,128 --choose loss=hinge \\
      --max-latency-ms 2 --trials 20 --out runs/cats
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "tune",
        help="search for the best pairing of backbones, and train it",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=options.HelpFormatter,
    )
    options.add_data_options(parser)
    _add_space_options(parser.add_argument_group("what is searched"))
    _add_search_options(parser.add_argument_group("search"))
    options.add_judging_options(parser.add_argument_group("threshold and report"))
    options.add_out_options(parser.add_argument_group("output"), "RUN")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Searches and trains; see `egan_keras.cli.tuning.tune`."""
    runs.check_free(arguments.out, overwrite=arguments.overwrite)
    start_keras()

    from egan_keras.cli.tuning import tune  # slow to import

    return tune(arguments)


def _add_space_options(group: argparse._ArgumentGroup) -> None:
    for role in ("encoder", "discriminator"):
        group.add_argument(
            f"--{role}s",
            metavar="SPEC[,SPEC..]",
            type=backbones,
            required=role == "encoder",
            help=f"backbones to choose the {role} among, each as for train"
            + ("" if role == "encoder" else " (default: the encoders)"),
        )
    options.add_recipe_option(group)
    options.add_weights_option(group)
    group.add_argument(
        "--network-sizes",
        metavar="N[,N..]",
        type=_positive_ints,
        help="sizes to which the networks resize images (default: the recipe's and "
        "three quarters of it)",
    )
    group.add_argument(
        "--depths",
        metavar="N[,N..]",
        type=_positive_ints,
        help="from how many depths of the frozen backbones features are taken "
        "(default: 1,2,3)",
    )
    group.add_argument(
        "--choose",
        metavar="NAME=VALUE[,VALUE..]",
        type=choice,
        action="append",
        default=[],
        help="values of another choice of the recipe, such as latent_size=64,128 or "
        "loss=hinge,non_saturating; may be given several times",
    )
    options.add_mirror_option(group)


def _add_search_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--tuner",
        choices=("random", "hyperband", "bayesian", "grid"),
        default="random",
        help="strategy of KerasTuner (default: %(default)s)",
    )
    group.add_argument(
        "--trials",
        metavar="N",
        type=options.positive_int,
        default=20,
        help="configurations to try at most (default: %(default)s)",
    )
    group.add_argument(
        "--max-int8-kb",
        metavar="KB",
        type=options.ratio,
        help="do not choose what is larger as int8 TFLite, in 1000 bytes",
    )
    group.add_argument(
        "--max-latency-ms",
        metavar="MS",
        type=options.ratio,
        help="do not choose what takes longer for an image as int8 TFLite, on one "
        "thread of this machine",
    )
    options.add_seed_option(group)


def backbones(text: str) -> list[str]:
    """Reads backbones with commas between them.

    Options of a backbone have commas between them, too; a class name begins with a
    capital letter, and an option does not.

    >>> backbones("MobileNetV3Small:alpha=0.75,minimalistic=True, VGG16")
    ['MobileNetV3Small:alpha=0.75,minimalistic=True', 'VGG16']
    """
    names = [name.strip() for name in re.split(r",\s*(?=[A-Z])", text)]
    if not all(names):
        raise argparse.ArgumentTypeError(
            f"expected backbones with commas between them, received {text!r}"
        )
    return names


def choice(text: str) -> tuple[str, list[Any]]:
    """Reads the name of a choice and its values.

    >>> choice("latent_size=64,128")
    ('latent_size', [64, 128])
    """
    name, separator, values = text.partition("=")
    if not (name.strip() and separator and values.strip()):
        raise argparse.ArgumentTypeError(
            f"expected NAME=VALUE or NAME=VALUE,VALUE.., received {text!r}"
        )
    return name.strip(), [_value(part.strip()) for part in values.split(",")]


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _positive_ints(text: str) -> list[int]:
    return [options.positive_int(part) for part in text.split(",")]
