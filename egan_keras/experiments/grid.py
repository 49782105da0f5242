"""The grid: tasks x minority counts x pairings x seeds x methods."""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras

from egan_keras import networks
from egan_keras.backbones import Backbone, check_weights_file
from egan_keras.data.splits import ClassRoles
from egan_keras.files import content_hash
from egan_keras.text import printable
from egan_keras.version import __version__

REFERENCE = "default"

_LONGEST_NAME = 150
# The choices of the default recipe that decide what features baselines read.
_FEATURE_CHOICES = ("network_size", "own_preprocessing", "depths", "place_depths")


@dataclasses.dataclass(frozen=True)
class Task:
    """Images, and which classes are the majority and the minority.

    The other options are those of `egan_keras.load_folder`; with `labels`, a table's
    path, those of `egan_keras.load_table`. With `features`, which says what made them,
    `data` holds the images' features, as `egan-keras features` wrote them.
    """

    data: Path | str
    label: str  # how tables call the folder
    majority: tuple[str, ...]
    minority: tuple[str, ...]
    test_fraction: float = 0.2
    image_size: int | None = None
    gray_range: tuple[float, float] | None = None
    duplicates: str | None = None
    skip_unreadable: bool = False
    labels: Path | None = None  # a table, in place of class folders
    groups: str | None = None
    features: str | None = None

    @property
    def roles(self) -> ClassRoles:
        """Which classes are the majority and which the minority."""
        return ClassRoles.from_names(self.majority, self.minority)

    @property
    def name(self) -> str:
        """How tables call it, such as `cifar10 automobile/airplane`."""
        size = f" at {self.image_size} px" if self.image_size else ""
        classes = f"{'+'.join(self.majority)}/{'+'.join(self.minority)}"
        return printable(f"{self.label} {classes}{size}")

    def definition(self) -> dict[str, Any]:
        """Returns what it is, as JSON holds it."""
        values = dataclasses.asdict(self)
        values["data"] = values.pop("label")
        # What its rows say is in the fingerprint of the files.
        values["labels"] = self.labels and self.labels.name
        # So that results of versions that did not have them stay.
        for name in ("gray_range", "skip_unreadable", "labels", "groups", "features"):
            if not values[name]:
                del values[name]
        return json.loads(json.dumps(values))


class Pairing(NamedTuple):
    """An encoder's and a discriminator's backbone, as written for `Backbone.parse`."""

    encoder: str
    discriminator: str

    @classmethod
    def parse(cls, text: str) -> "Pairing":
        """Reads `A->B`, or `A` for the same backbone twice.

        >>> str(Pairing.parse("MobileNet"))
        'MobileNet->MobileNet'
        """
        encoder, _, discriminator = (part.strip() for part in text.partition("->"))
        specs = (encoder, discriminator or encoder)
        return cls(*(str(Backbone.parse(spec)) for spec in specs))

    def __str__(self) -> str:
        """Returns `A->B`."""
        return "->".join(self)


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to score images: an eGAN, or a baseline, which has no recipe."""

    name: str
    recipe: networks.Recipe | None = None
    needs_images: bool = False  # reads pixels instead of frozen features

    @property
    def is_baseline(self) -> bool:
        """Whether it is something to compare eGAN with."""
        return self.recipe is None

    def definition(self) -> dict[str, Any]:
        """Returns what decides its scores, beside images and backbones, for JSON."""
        if self.recipe:
            return {"name": self.name, "recipe": dataclasses.asdict(self.recipe)}
        definition: dict[str, Any] = {"name": self.name, "baseline": self.name}
        if not self.needs_images:
            default = networks.get_recipe(REFERENCE)
            features = {name: getattr(default, name) for name in _FEATURE_CHOICES}
            definition["features"] = features
        return definition


@dataclasses.dataclass(frozen=True)
class Run:
    """One method on one cell of the tables with one seed."""

    task: Task
    count: int  # of minority images
    pairing: Pairing
    seed: int
    method: Method
    weights: str | None
    network_size: int | None
    files: str  # a fingerprint of the task's images

    @property
    def backbones(self) -> tuple[str, ...]:
        """The pairing's backbones; baselines see the discriminator's alone."""
        return self.pairing[1:] if self.method.is_baseline else tuple(self.pairing)

    @property
    def cell(self) -> str:
        """What it is about, beside the pairing, in tables."""
        return f"{self.task.name} {self.count}"

    @property
    def told_weights(self) -> str:
        """How reports call the weights that the backbones start from."""
        of_features = "of the features"
        return of_features if self.task.features else describe_weights(self.weights)

    def definition(self) -> dict[str, Any]:
        """Returns all that decides the result, as JSON holds it."""
        definition = {
            "task": self.task.definition(),
            "files": self.files,
            "count": self.count,
            "seed": self.seed,
            "backbones": "->".join(self.backbones),
            "weights": self.told_weights,
            "network_size": self.network_size,
            "method": self.method.definition(),
            "egan_keras": __version__,
            "backend": keras.backend.backend(),
        }
        return json.loads(json.dumps(definition))

    @property
    def id(self) -> str:
        """A readable name, with a fingerprint of the definition at its end."""
        text = f"{self.task.name}_{self.count}_seed{self.seed}_"
        text += f"{self.method.name}_{'->'.join(self.backbones)}"
        return f"{as_file_name(text)}_{fingerprint(self.definition())}"

    def __str__(self) -> str:
        """Returns what a line of progress says of it."""
        return f"{self.cell} seed {self.seed}: {self.method.name}"


@dataclasses.dataclass(frozen=True)
class Part:
    """What is asked of one task; a grid may ask one task for several parts."""

    task: Task
    counts: tuple[int, ...]
    seeds: tuple[int, ...]
    pairings: tuple[Pairing, ...]
    methods: tuple[Method, ...]


@dataclasses.dataclass(frozen=True)
class Grid:
    """All that is to be run; different tasks or methods have different names."""

    parts: tuple[Part, ...]
    weights: str | None = "imagenet"  # None is random
    network_size: int | None = None  # side in networks, unless a recipe names one

    def __post_init__(self) -> None:
        """Check that names tell tasks and methods apart, and the weights."""
        methods = dict.fromkeys(x for part in self.parts for x in part.methods)
        for what, things in {"tasks": self.tasks, "methods": methods}.items():
            advice = "Make them equal, or run them into different folders"
            check_names([thing.name for thing in things], f"Different {what}", advice)
        describe_weights(self.weights)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Every task once."""
        return tuple(dict.fromkeys(part.task for part in self.parts))

    def runs(self, files: dict[Task, str]) -> list[Run]:
        """Returns every run once, those on pixels last; `files` as in `Run`."""
        of_images = self.weights, self.network_size
        runs = [
            Run(part.task, count, pairing, seed, method, *same, files[part.task])
            for part in self.parts
            for same in [(None, None) if part.task.features else of_images]
            for pairing in part.pairings
            for count in part.counts
            for seed in part.seeds
            for method in part.methods
        ]
        return sorted(dict.fromkeys(runs), key=lambda run: run.method.needs_images)


def as_file_name(text: str) -> str:
    """Returns a text as part of a file name.

    >>> as_file_name("MobileNetV2:alpha=0.35->VGG16")
    'MobileNetV2-alpha=0.35-VGG16'
    """
    return re.sub(r"[^\w.+=]+", "-", text, flags=re.ASCII)[:_LONGEST_NAME].strip("-")


def fingerprint(definition: Any) -> str:
    """Returns 12 hexadecimal digits that differ where definitions do."""
    text = json.dumps(definition, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def describe_weights(weights: str | None) -> str:
    """Returns `imagenet`, `none`, or a file's name with a mark of its content."""
    if weights in (None, "none", "imagenet"):
        return weights or "none"
    check_weights_file(weights)
    path = Path(weights)
    state = path.stat()
    times = state.st_mtime_ns, state.st_ctime_ns
    return f"{path.name} {_digest(path, state.st_size, state.st_ino, *times)}"


@functools.cache
def _digest(path: Path, *_state: int) -> str:
    return content_hash(path)[:12]


def check_names(names: Sequence[str], what: str, advice: str) -> None:
    """Refuses a name that occurs twice among some of which each has its own."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"{what} have one name; expected a name of its own for each that differs. "
            f"Received: {', '.join(map(repr, repeated))} twice. {advice}."
        )
