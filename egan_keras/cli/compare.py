r"""Compare eGAN with what else one could do, on the same images and features.

Every method is trained on few minority images and judged on the test split,
with several seeds. DIR gets report.html, the same as report.md, tables and
plots. After Ctrl-C the same command goes on, or one with a larger grid: what
has run is kept.

Methods: default and published (recipes of eGAN); "logistic regression" and
other baselines on frozen features; PatchCore and PaDiM on feature maps; and
slow ones on images. An unknown name in --methods has all names listed.

Exit codes: 1 if some runs failed, and the tables lack them; others as
`egan-keras --help` lists them.

Examples:
  egan-keras compare --data images --majority good --minority scratched \
      --out compared
  egan-keras compare --data cifar10 --majority automobile --minority airplane \
      --counts 2,10 --seeds 3 --methods "default,class means" --out compared
  egan-keras compare --data . --grid grid.toml --out compared
  egan-keras compare --features DIR --majority ok --minority bad --out compared

grid.toml has several tasks, and perhaps changed recipes, such as:
  seeds = 5
  pairings = ["MobileNetV2->MobileNetV2"]
  [[task]]
  data = "tiles"                         # below ROOT; or features = ".."
  majority = ["good"]
  minority = ["blowhole"]
  counts = [1, 2]
  [[variant]]                            # one more method
  name = "no fakes"
  recipe = "default"
  choices = {real_minority = 1e12}
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from egan_keras import cli
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
# What `train` is asked alike.
_OF_A_RUN = (
    "data majority minority labels groups duplicates image_size encoder discriminator "
    "weights network_size"
).split()
# What was settled when features were computed, and what of images they do not know.
_OF_NETWORKS = (
    "encoder discriminator weights network_size image_size gray_range skip_unreadable"
).split()
_OF_IMAGES = ("labels", "groups")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.LabelledOptions):
    """All options of `compare`.

    Attributes:
        data: folder of images, as for train; with --grid the folder that holds them
        features: in place of --data, folder or address that `features` wrote
        majority: the common class, or several
        minority: the rare class, or several
        out: folder to write, or an earlier comparison to go on with
        counts: numbers of minority images to train on (default: 1,2,5,10)
        seeds: runs of each method (default: the grid's, else 5)
        methods: what is compared; all is everything (default: default, and all
            baselines on frozen features)
        grid: several tasks at once, from a TOML file as below; the options that it
            could hold, too, take the place of what it says
        tables_only: run nothing; write the tables of what has run
    Networks:
        encoder: backbone of the encoder, as for train (default: MobileNetV2)
        discriminator: backbone of the discriminator, which the baselines read too
            (default: MobileNetV2)
        weights: what the backbones start from; none is random (default: imagenet)
        network_size: size to which the networks resize images (default: chosen by the
            size of the images)
    Images:
        image_size: stretch every image to N x N pixels
        gray_range: values that are black and white, as for train
    """

    data: Path | None = option(None, metavar="ROOT")
    features: str | None = option(None, metavar="DIR")
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
    if outcomes.failed:
        return BLEMISHED
    words = [] if given.grid or given.features else _train_words(given)
    cli.tell_next(*words, page=given.out / "report.html")
    return 0


def _train_words(given: Options) -> list[object]:
    """Returns what trains a model of the images and networks that were compared."""
    words = ["train"]
    for name in _OF_A_RUN:
        if value := getattr(given, name):
            text = ",".join(value) if isinstance(value, list) else str(value)
            words += [f"--{name.replace('_', '-')}", text]
    return [*words, "--out", f"{given.out}-run"]


def _grid(given: Options) -> Any:
    """Makes the grid that the options describe."""
    forced = options.some(given, "seeds methods weights network_size")
    if given.encoder or given.discriminator or not given.grid:
        pairing = f"{given.encoder or BACKBONE}->{given.discriminator or BACKBONE}"
        forced["pairings"] = pairing
    if given.grid:
        return rooms.experiments.read_grid(given.grid, given.data, forced)
    task = {n: getattr(given, n) for n in _OF_A_TASK if getattr(given, n)}
    task = {"counts": COUNTS, **task}
    if given.features and "://" in given.features:
        task["features"], root = given.features, Path.cwd()
    else:
        root = Path(given.features or given.data).resolve()
        task["features" if given.features else "data"] = root.name
    if given.labels:
        task["labels"] = str(given.labels.resolve())
    return rooms.experiments.make_grid({"task": [task]}, root.parent, forced)


def _check(given: Options) -> None:
    """Refuses options that exclude each other, or lack one another."""
    named = _named(given, _OF_A_TASK)
    if bool(given.data) == bool(given.features):
        received = "both" if given.data else "none of the two"
        raise ValueError(
            "Images to compare on are needed once; expected --data ROOT or --features "
            f"DIR. Received: {received}. Name one."
        )
    if given.features:
        _check_on_features(given)
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


def _check_on_features(given: Options) -> None:
    """Refuses options that have no meaning for features."""
    if given.grid:
        raise ValueError(
            "A grid names the features of each task itself; expected --data ROOT, and "
            'in the grid features = "..", below ROOT, in place of data. Received: '
            "--features and --grid. Write them into the grid."
        )
    if fixed := _named(given, _OF_NETWORKS):
        raise ValueError(
            "Networks and sizes of images are those that the features were made with; "
            f"expected no such option beside --features. Received: {', '.join(fixed)}. "
            "Leave it out, or make other features with egan-keras features."
        )
    if unknown := _named(given, _OF_IMAGES):
        raise ValueError(
            "Classes of features are the folders that their images lie in; expected no "
            f"such option beside --features. Received: {', '.join(unknown)}. Leave it "
            "out, or compare the images themselves: --data ROOT."
        )


def _named(given: Options, names: Sequence[str]) -> list[str]:
    """Returns those of some options that were given, as they are written."""
    return [f"--{name.replace('_', '-')}" for name in names if getattr(given, name)]
