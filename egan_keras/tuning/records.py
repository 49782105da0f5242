"""What is kept of each trial, in a file that a killed search leaves whole."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from egan_keras import schemas
from egan_keras.files import write_atomically
from egan_keras.tuning.objective import HeldOut

FOLDER = "trials"
_NUMBER = schemas.optional(schemas.NOT_NEGATIVE)
_COUNT = schemas.optional(schemas.COUNT)
_SCHEMA = schemas.record(
    {
        "number": schemas.COUNT,
        "encoder": schemas.TEXT,
        "discriminator": schemas.TEXT,
        "choices": schemas.ANYTHING,
        "recipe": schemas.ANYTHING,
    },
    {
        "network_size": _COUNT,
        "epochs": schemas.COUNT,
        "seconds": schemas.NOT_NEGATIVE,
        "failure": schemas.optional(schemas.TEXT),
        "shares": schemas.listed(schemas.SHARE),
        "trained_parameters": _COUNT,
        "features_size": _COUNT,
        "training_seconds": _NUMBER,
        "int8_kb": _NUMBER,
        "latency_ms": _NUMBER,
    },
)


@dataclasses.dataclass(frozen=True)
class TrialRecord:
    """A trial that has ended.

    Attributes:
        number: Counted from 1.
        encoder: Its backbone.
        discriminator: Its backbone.
        choices: What was searched beside the pairing, and chosen.
        recipe: Every choice of the recipe.
        network_size: Side, in pixels, of the images in the discriminator's backbone.
        epochs: Of each fit.
        seconds: Of the whole trial.
        failure: Why it failed; `None` if it did not.
        is_run_again: Whether it failed by its surroundings, such as a full disk, so
            that it is run again when the search goes on.
        shares: As in `HeldOut`; empty if it failed.
        trained_parameters: Numbers that training changes.
        features_size: Numbers that the discriminator's frozen part puts out an image.
        training_seconds: Of one fit, features not counted.
        int8_kb: Size of the discriminator as int8 TFLite, in 1000 bytes; `None` if it
            cannot be converted.
        latency_ms: Milliseconds that this takes for an image, on one thread here.
    """

    number: int
    encoder: str
    discriminator: str
    choices: dict[str, Any]
    recipe: dict[str, Any]
    network_size: int | None = None
    epochs: int = 0
    seconds: float = 0.0
    failure: str | None = None
    is_run_again: bool = False
    shares: tuple[float, ...] = ()
    trained_parameters: int | None = None
    features_size: int | None = None
    training_seconds: float | None = None
    int8_kb: float | None = None
    latency_ms: float | None = None

    @property
    def held_out(self) -> HeldOut:
        """How it ranks held-out minority images."""
        return HeldOut(tuple(self.shares))

    @property
    def is_whole(self) -> bool:
        """Whether it was trained as long as its recipe says; Hyperband stops most."""
        return self.epochs >= self.recipe["epochs"]

    @property
    def pairing(self) -> str:
        """The two backbones, as in `DenseNet121->VGG19`."""
        return f"{self.encoder}->{self.discriminator}"

    @property
    def cut(self) -> str:
        """In words, where backbones are cut."""
        trained = self.recipe["trained_layers"]
        if trained:
            return f"{trained} layers trained"
        depths = self.recipe["depths"]
        return f"{depths} depth{'s' if depths > 1 else ''}"

    def with_values(self, **values: Any) -> "TrialRecord":
        """Returns a record with some values changed."""
        return dataclasses.replace(self, **values)

    def path(self, folder: Path) -> Path:
        """Returns its file in the folder of a search."""
        return folder / FOLDER / f"{self.number:04}.json"

    def save(self, folder: Path) -> None:
        """Writes it into the folder of a search."""
        path = self.path(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(dataclasses.asdict(self), indent=2)
        write_atomically(path, lambda target: target.write_text(text + "\n", "utf-8"))


def load_records(folder: Path) -> list[TrialRecord]:
    """Reads the trials that have ended, in their order.

    Raises:
        ValueError: If a file is not what `TrialRecord.save` wrote.
    """
    return [_load(path) for path in sorted((folder / FOLDER).glob("[0-9]*.json"))]


def _load(path: Path) -> TrialRecord:
    try:
        return TrialRecord(**schemas.read(path, _SCHEMA))
    except (ValueError, TypeError) as error:
        raise ValueError(
            "The record of a trial cannot be read; expected what `egan-keras tune` "
            f"wrote. Received: {str(path)!r} ({error}). Remove it: that trial is then "
            "missing from the table."
        ) from error
