"""`egan-keras train`: its options."""

import argparse

from egan_keras.cli import options, runs
from egan_keras.logs import start_keras

_DESCRIPTION = """\
Train a model on a folder of images, set its threshold, and report on the test split.

RUN gets model.keras, config.json (all options, and every file by split), history.csv,
report.json and plots/. It appears when all is written. Ctrl-C or SIGTERM in training
keeps the model trained so far, with its threshold at 0, in RUN-unfinished; so does a
disk that is full afterwards. Room for RUN is set aside before training begins.
"""
_EPILOG = """\
Exit codes: 1 if training diverged, and RUN holds the last good weights; all others as
`egan-keras --help` lists them.

Examples:
  egan-keras train --data images --majority good --minority scratched,dented \\
      --out runs/a
  egan-keras train --data cifar10 --majority automobile --minority airplane \\
      --minority-count 2 --encoder MobileNetV2:alpha=0.35 \\
      --discriminator MobileNetV2:alpha=0.35 --seed 0 --out runs/b
"""
_BACKBONE = "MobileNetV2"


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "train",
        help="train on a folder of images",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=options.HelpFormatter,
    )
    options.add_data_options(parser)
    _add_network_options(parser.add_argument_group("networks"))
    _add_training_options(parser.add_argument_group("training"))
    options.add_judging_options(parser.add_argument_group("threshold and report"))
    options.add_out_options(parser.add_argument_group("output"), "RUN")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Trains; see `egan_keras.cli.training.train`."""
    runs.check_free(arguments.out, overwrite=arguments.overwrite)
    start_keras()

    from egan_keras.cli.training import train  # slow to import

    return train(arguments)


def _add_network_options(group: argparse._ArgumentGroup) -> None:
    options.add_recipe_option(group)
    for role in ("encoder", "discriminator"):
        group.add_argument(
            f"--{role}",
            metavar="SPEC",
            default=_BACKBONE,
            help=f"backbone of the {role}: a class name of Keras Applications, with "
            "options after a colon as in MobileNetV2:alpha=0.35 (default: %(default)s)",
        )
    options.add_weights_option(group)
    group.add_argument(
        "--network-size",
        metavar="N",
        type=options.positive_int,
        help="size to which the networks resize images (default: the recipe's)",
    )


def _add_training_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--epochs",
        metavar="E",
        type=options.positive_int,
        help="passes over the majority images (default: the recipe's, 20 or, if "
        "published, 100)",
    )
    group.add_argument(
        "--batch-size",
        metavar="B",
        type=options.positive_int,
        help="majority images a step (default: the recipe's, 128)",
    )
    options.add_mirror_option(group)
    group.add_argument(
        "--cache",
        metavar="auto|memory|disk|DIR",
        default="auto",
        help="where the frozen features of the images go: memory; disk, files in "
        "egan_keras in your cache folder, or where the environment variable "
        "EGAN_KERAS_CACHE says; DIR, files there; auto takes memory if they fill at "
        "most a tenth of what is free and at most 1 GB, else disk. Later runs on the "
        "same images read the files, and an interrupted run goes on where it stopped. "
        "How to delete them is printed (default: %(default)s)",
    )
    options.add_seed_option(group)
