r"""Compare eGAN with what else one could do, on the same images, features and splits.

Every method is trained on few minority images and judged on the test split, with
several seeds for each count, the same for all. What is frozen is computed once. DIR
gets report.md, the same as a page in report.html, results.csv (a row for each run),
cells.csv (means and spreads), plots/, and runs/, features/ and images.json, from which
the same command goes on after Ctrl-C or with a larger grid: what has run is not run
again, as long as the images and the weights hold the same. A run that fails is reported
and does not stop the others.

Exit codes: 1 if some runs failed, and the tables lack them; 130 after Ctrl-C, and 143
after SIGTERM, with the tables of what has run; all others as `egan-keras --help` lists
them.

Methods: default and published (recipes of eGAN), baselines on frozen features such as
"logistic regression" and "class means", PatchCore and PaDiM on the same feature maps,
and slow ones on images. An unknown name in --methods has all names listed. Maps take
0.1 to 1 MB an image in DIR/features.

Examples:
  egan-keras compare --data images --majority good --minority scratched --out compared
  egan-keras compare --data cifar10 --majority automobile --minority airplane \
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
  labels = "tiles/labels.csv"            # below ROOT, in place of class folders
  groups = "/(part[0-9]+)_"              # or a column of it
  methods = ["default", "published"]     # for this task alone, as seeds and pairings
  [[variant]]                            # one more method: a recipe, changed
  name = "no fakes"
  recipe = "default"
  choices = {real_minority = 1e12}
"""

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

from egan_keras.cli import BLEMISHED, options, rooms
from egan_keras.cli.options import option
from egan_keras.logs import start_keras

COUNTS = (1, 2, 5, 10)
BACKBONE = "MobileNetV2"
# What a grid says of each of its tasks.
_OF_A_TASK = (
    "majority minority counts image_size gray_range duplicates skip_unreadable labels "
    "groups"
).split()


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.LabelledOptions):
    """All options of `compare`.

    Images:
        data: folder of images, as for train; with --grid the folder that holds them
        majority: the common class, or several
        minority: the rare class, or several
        counts: numbers of minority images to train on (default: 1,2,5,10)
        image_size: stretch every image to N x N pixels, as for train
        grid: several tasks at once, from a TOML file as below; the options that follow
            take the place of what it says
        seeds: number of runs of each method, with seeds 0 to N - 1 (default: the
            grid's, else 5)
    What is compared:
        methods: what is compared; all is everything (default: default, and all
            baselines on frozen features)
        encoder: backbone of the encoder, as for train (default: MobileNetV2)
        discriminator: backbone of the discriminator, which the baselines read too
            (default: MobileNetV2)
        weights: what the backbones start from; none is random (default: imagenet)
        network_size: size to which the networks resize images, unless a recipe names
            one (default: chosen by the size of the images)
    Output:
        out: folder to write, or an earlier comparison to go on with
        tables_only: run nothing; write the tables of what has run
    """

    data: Path = option(metavar="ROOT")
    majority: list[str] | None = None
    minority: list[str] | None = option(None, metavar="C[,D..]")
    counts: list[int] | None = None
    image_size: int | None = None
    grid: Path | None = option(None, metavar="FILE")
    seeds: int | None = None
    methods: list[str] | None = option(None, metavar="NAME[,NAME..]", type=_names)
    encoder: str | None = option(None, metavar="SPEC")
    discriminator: str | None = option(None, metavar="SPEC")
    weights: str | None = option(None, metavar="imagenet|none|FILE")
    network_size: int | None = None
    out: Path = option(metavar="DIR")
    tables_only: bool = False
    prevalence: ClassVar[None] = None  # so that it is no option here
    command_line: str = ""


def run(given: Options) -> int:
    """Runs the grid that the options describe."""
    _check(given)
    start_keras()
    chosen = {"command": given.command_line, "tables_only": given.tables_only}
    outcomes = rooms.experiments.compare(_grid(given), given.out, **chosen)
    return BLEMISHED if outcomes.failed else 0


def _grid(given: Options) -> Any:
    """Makes the grid that the options describe."""
    forced = {
        n: getattr(given, n) for n in "seeds methods weights network_size".split()
    }
    if given.encoder or given.discriminator or not given.grid:
        pairing = f"{given.encoder or BACKBONE}->{given.discriminator or BACKBONE}"
        forced["pairings"] = pairing
    if given.grid:
        return rooms.experiments.read_grid(given.grid, given.data, forced)
    root = given.data.resolve()
    task = {n: getattr(given, n) for n in _OF_A_TASK if getattr(given, n)}
    task = {"data": root.name, "counts": COUNTS, **task}
    if given.labels:
        task["labels"] = str(given.labels.resolve())
    return rooms.experiments.make_grid({"task": [task]}, root.parent, forced)


def _check(given: Options) -> None:
    """Refuses options that exclude each other, or lack one another."""
    named = [f"--{n.replace('_', '-')}" for n in _OF_A_TASK if getattr(given, n)]
    if given.grid and named:
        raise ValueError(
            "The grid names classes and counts itself; expected --grid alone, or "
            f"--majority and --minority without it. Received: --grid and "
            f"{', '.join(named)}. Write these into the grid, or leave one out."
        )
    if not given.grid and not (given.majority and given.minority):
        raise ValueError(
            "The classes are missing; expected --majority and --minority, or --grid. "
            f"Received: {', '.join(named) or 'none of them'}. Name the classes."
        )
