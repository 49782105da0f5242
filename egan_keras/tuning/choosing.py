"""What is kept of each trial, and which one wins."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import scipy.stats

from egan_keras import schemas
from egan_keras.files import write_atomically
from egan_keras.tuning.held_out import HeldOut

FOLDER = "trials"

_LEVEL = 0.025


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
    choices: dict
    recipe: dict
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
        trained, depths = self.recipe["trained_layers"], self.recipe["depths"]
        if trained:
            return f"{trained} layers trained"
        return f"{depths} depth{'s' * (depths > 1)}"

    @property
    def others(self) -> str:
        """The choices that no other property tells."""
        told = ("network_size", "depths", "trained_layers")
        left = {name: value for name, value in self.choices.items() if name not in told}
        return ", ".join(f"{name}={value}" for name, value in left.items())

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
        text = json.dumps(dataclasses.asdict(self), indent=2) + "\n"
        write_atomically(path, lambda target: target.write_text(text, "utf-8"))


_KINDS = {
    int: schemas.COUNT,
    float: schemas.NOT_NEGATIVE,
    str: schemas.TEXT,
    bool: schemas.BOOLEAN,
    dict: schemas.ANYTHING,
    tuple[float, ...]: schemas.listed(schemas.SHARE),
}
_KINDS |= {kind | None: schemas.optional(_KINDS[kind]) for kind in (int, float, str)}
_FIELDS = {field.name: _KINDS[field.type] for field in dataclasses.fields(TrialRecord)}
_NEEDED = ("number", "encoder", "discriminator", "choices", "recipe")
_SCHEMA = schemas.record({name: _FIELDS[name] for name in _NEEDED}, _FIELDS)


def load_records(folder: Path) -> list[TrialRecord]:
    """Reads the trials that have ended, in their order.

    Raises:
        ValueError: If a file is not what `TrialRecord.save` wrote.
    """
    records = []
    for path in sorted((folder / FOLDER).glob("[0-9]*.json")):
        try:
            records.append(TrialRecord(**schemas.read(path, _SCHEMA)))
        except (ValueError, TypeError) as error:
            raise ValueError(
                "The record of a trial cannot be read; expected what `egan-keras tune` "
                f"wrote. Received: {str(path)!r} ({error}). Remove it: that trial is "
                "then missing from the table."
            ) from error
    return records


def completed(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Returns the trials that can be compared: those trained for all their epochs.

    Hyperband trains most of its trials for fewer; where it has trained none for all,
    those with the most epochs are returned.

    Raises:
        ValueError: If none has completed.
    """
    done = [record for record in records if record.failure is None]
    if not done:
        reasons = dict.fromkeys(record.failure for record in records)
        raise ValueError(
            "No trial has completed, so there is nothing to choose; expected one at "
            f"least. Received: {len(records)} trials, "
            + ("which failed: " + "; ".join(reasons) if records else "none begun")
            + (
                ". The same call or command runs them again, once that is mended."
                if any(record.is_run_again for record in records)
                else ". Run the search for longer, or choose other backbones."
            )
        )
    whole = [record for record in done if record.is_whole]
    most = max(record.epochs for record in done)
    return whole or [record for record in done if record.epochs == most]


def comparable(one: TrialRecord, other: TrialRecord) -> bool:
    """Whether both have completed, neither cut shorter by Hyperband."""
    if one.failure is not None or other.failure is not None:
        return False
    return one.is_whole is other.is_whole and (
        one.is_whole or one.epochs == other.epochs
    )


def default_of(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """Returns the first trial, which a search begins with; `None` if it is missing."""
    return next((record for record in records if record.number == 1), None)


def within(records: Sequence[TrialRecord], **most: float | None) -> list[TrialRecord]:
    """Returns the trials within a budget: `max_int8_kb`, `max_latency_ms`, or neither.

    Raises:
        ValueError: If none is.
    """
    limits = {name: limit for name, limit in most.items() if limit is not None}
    kept, least = list(records), []
    for name, limit in limits.items():
        costs = {r.number: getattr(r, name.removeprefix("max_")) for r in records}
        known = {n: cost for n, cost in costs.items() if cost is not None}
        kept = [r for r in kept if r.number in known and known[r.number] <= limit]
        lowest = f"{min(known.values()):.3g}" if known else "unknown"
        least.append(
            f"{name.removeprefix('max_')} {lowest} at least ({name}={limit:g})"
        )
    if not kept:
        raise ValueError(
            "No trial is within the budget; expected one at least. Received: "
            f"{', '.join(least)}. Allow more, or search smaller backbones and network "
            "sizes."
        )
    return kept


def choose(
    records: Sequence[TrialRecord], default: TrialRecord | None = None
) -> TrialRecord:
    """Returns the winner: the default, unless another trial is clearly better.

    The highest of many uncertain objectives is high by luck, too: with ten minority
    images, a search that takes it is worse than none. So the trial with the highest
    objective wins where its lead over the default, image by image, is significant
    (one-sided t-test at 2.5 %); and where the default is not to be had.
    """
    best = max(records, key=lambda record: (record.held_out.mean, -record.number))
    if default is None or default not in records:
        return best
    return best if is_clear(best, default) else default


def explain(
    best: TrialRecord, records: Sequence[TrialRecord], default: TrialRecord | None
) -> str:
    """Returns in a sentence why `choose` chose a trial."""
    if best != default:
        if default not in records:
            return (
                "It has the highest figure; the default, trial 1, could not be chosen."
            )
        return (
            f"Its lead over the default, trial 1, is {_lead(best, default)}, more than "
            "chance explains."
        )
    others = [record for record in records if record != default]
    top = max(others, key=lambda record: record.held_out.mean, default=default)
    if top.held_out.mean <= default.held_out.mean:
        return "No other trial has a higher figure."
    return (
        f"No other trial has a lead beyond chance: that of trial {top.number}, "
        f"{top.held_out.mean:.3f}, is {_lead(top, default)}."
    )


def _lead(record: TrialRecord, default: TrialRecord) -> str:
    lead, error = record.held_out.lead(default.held_out)
    return f"{lead:+.3f} ± {error:.3f}"


def is_clear(record: TrialRecord, default: TrialRecord) -> bool:
    """Whether a trial is better than the default by more than chance explains."""
    lead, error = record.held_out.lead(default.held_out)
    freedom = len(record.shares) - 1
    return lead > 0 and lead >= error * scipy.stats.t.ppf(1 - _LEVEL, freedom)
