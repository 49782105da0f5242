"""How a trial is judged, what is kept of it, and which one wins.

Minority images are held out in turn, so that a trial is judged by what it did not see:
the same images in the same fits with the same seeds in every trial of a search, so that
trials differ by their choices alone.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.stats

from egan_keras import schemas
from egan_keras.files import reading, write_json

FOLDER = "trials"
# The objective of a search, which is maximised, and its standard error.
NAME = "held_out_auroc"
ERROR_NAME = f"{NAME}_error"

_MOST_PARTS = 5
# Fewer fits than that are repeated with other seeds.
_FEWEST_FITS = 5
_LEVEL = 0.025


class Fold(NamedTuple):
    """One fit of a trial: the minority images it does not see, and its seed."""

    held_out: np.ndarray
    seed: int


def make_folds(
    minority_count: int, seed: int = 0, groups: Sequence[str] = ()
) -> list[Fold]:
    """Returns the fits of a trial: each minority image is held out equally often.

    Up to five images are held out one by one, more of them in five parts. Where that
    makes fewer than five fits, all are repeated with other seeds. With `groups`, the
    object that each minority image shows, all images of an object are held out at once.

    >>> [fold.held_out.tolist() for fold in make_folds(3)]
    [[2], [0], [1], [2], [0], [1]]
    """
    if minority_count < 2:
        raise ValueError(
            "Pairings are compared by minority images that training did not see; "
            f"expected 2 minority images or more. Received: {minority_count}. Add a "
            "second one, or train the pairing of your choice without a search."
        )
    # Without groups each image is of one of its own.
    own = groups or range(minority_count)
    names, group_of = np.unique(own, return_inverse=True)
    if len(names) < 2:
        raise ValueError(
            "Pairings are compared by minority images of objects that training did "
            "not see; expected minority images of 2 groups or more. Received: "
            f"{minority_count} of group {names[0]}. Add some of another group, or "
            "train the pairing of your choice without a search."
        )
    order = np.random.default_rng(seed).permutation(len(names))
    parts = np.array_split(order, min(len(names), _MOST_PARTS))
    rows = [np.flatnonzero(np.isin(group_of, part)) for part in parts]
    n_fits = len(rows) * -(-_FEWEST_FITS // len(rows))
    return [Fold(rows[n % len(rows)], seed + n) for n in range(n_fits)]


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """How a trial ranks minority images that its training did not see."""

    # For each, the share of validation majority images that score above it, 0..1, a tie
    # counting half; the mean over the fits that held it out.
    shares: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The area under the ROC curve of held-out images, 0..1."""
        return float(np.mean(self.shares))

    @property
    def standard_error(self) -> float:
        """Of the mean, from how much the images differ."""
        return float(scipy.stats.sem(self.shares))

    @property
    def text(self) -> str:
        """The mean and its standard error, for people."""
        return f"{self.mean:.3f} ± {self.standard_error:.3f}"

    def lead(self, other: "HeldOut") -> tuple[float, float]:
        """Returns how much better it is than another trial, and the standard error.

        Images are compared one by one: what makes one hard for both is no uncertainty.
        """
        differences = np.subtract(self.shares, other.shares)
        return float(np.mean(differences)), float(scipy.stats.sem(differences))


def shares_above(scores: np.ndarray, majority_scores: np.ndarray) -> np.ndarray:
    """Returns, for each score, the share of majority scores above it, float64 (n,).

    A tie counts half, so that the mean is the area under the ROC curve.
    """
    return 1 - scipy.stats.percentileofscore(majority_scores, scores, "mean") / 100


def join_fits(
    minority_count: int, fits: Sequence[tuple[np.ndarray, np.ndarray]]
) -> HeldOut:
    """Returns what several fits say, each by the images held out and their shares."""
    sums, counts = np.zeros(minority_count), np.zeros(minority_count)
    for held_out, shares in fits:
        sums[held_out] += shares
        counts[held_out] += 1
    return HeldOut(tuple((sums / counts).tolist()))


@dataclasses.dataclass(frozen=True)
class TrialRecord:
    """A trial that has ended."""

    number: int  # from 1
    encoder: str
    discriminator: str
    choices: dict  # what was searched beside the pairing, and chosen
    recipe: dict
    network_size: int | None = None  # pixels in the discriminator's backbone
    epochs: int = 0  # of each fit
    seconds: float = 0.0  # of the whole trial
    failure: str | None = None
    is_run_again: bool = False  # failed by its surroundings, such as a full disk
    shares: tuple[float, ...] = ()  # as in `HeldOut`; empty if it failed
    trained_parameters: int | None = None
    features_size: int | None = None  # numbers of an image that the stem puts out
    training_seconds: float | None = None  # of one fit, features not counted
    int8_kb: float | None = None  # the discriminator as int8 TFLite, in 1000 bytes
    latency_ms: float | None = None  # of an image by that, on one thread here

    @property
    def held_out(self) -> HeldOut:
        """How it ranks held-out minority images."""
        return HeldOut(tuple(self.shares))

    @property
    def length(self) -> float:
        """Epochs of each fit, infinite if all of its recipe: Hyperband stops most."""
        return math.inf if self.epochs >= self.recipe["epochs"] else self.epochs

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

    def path(self, folder: Path) -> Path:
        """Returns its file in the folder of a search."""
        return folder / FOLDER / f"{self.number:04}.json"

    def save(self, folder: Path) -> None:
        """Writes it into the folder of a search."""
        path = self.path(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, dataclasses.asdict(self), indent=2)


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
    """Reads the trials that have ended, in their order."""
    records = []
    for path in sorted((folder / FOLDER).glob("[0-9]*.json")):
        advice = "Remove it: that trial is then missing from the table."
        with reading("The record of a trial", "tune", path, advice):
            records.append(TrialRecord(**schemas.read(path, _SCHEMA)))
    return records


def completed(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Returns the trials that can be compared: those trained for all their epochs.

    Hyperband trains most of its trials for fewer; where it has trained none for all,
    those with the most epochs are returned. A `ValueError` if none has completed.
    """
    done = [record for record in records if record.failure is None]
    if not done:
        reasons = "; ".join(dict.fromkeys(record.failure for record in records))
        advice = "Run it for longer, or choose other backbones."
        if any(record.is_run_again for record in records):
            advice = "The same call or command runs them again, once that is mended."
        raise ValueError(
            "No trial has completed, so there is nothing to choose; expected one at "
            f"least. Received: {len(records)} trials, "
            f"{f'which failed: {reasons}' if records else 'none begun'}. {advice}"
        )
    longest = max(record.length for record in done)
    return [record for record in done if record.length == longest]


def comparable(one: TrialRecord, other: TrialRecord) -> bool:
    """Whether both have completed, neither cut shorter by Hyperband."""
    return one.failure is other.failure is None and one.length == other.length


def default_of(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """Returns the first trial, which a search begins with; `None` if it is missing."""
    return next((record for record in records if record.number == 1), None)


def within(records: Sequence[TrialRecord], **most: float | None) -> list[TrialRecord]:
    """Returns the trials within a budget: `max_int8_kb`, `max_latency_ms`, or neither.

    A `ValueError` if none is.
    """
    kept, least = list(records), []
    for name, limit in most.items():
        if limit is None:
            continue
        cost = name.removeprefix("max_")
        known = {each.number: getattr(each, cost) for each in records}
        known = {number: each for number, each in known.items() if each is not None}
        kept = [each for each in kept if known.get(each.number, math.nan) <= limit]
        lowest = f"{min(known.values()):.3g}" if known else "unknown"
        least.append(f"{cost} {lowest} at least ({name}={limit:g})")
    if not kept:
        raise ValueError(
            "No trial is within the budget; expected one at least. Received: "
            f"{', '.join(least)}. Allow more, or search smaller backbones and network "
            "sizes."
        )
    return kept


def choose(
    records: Sequence[TrialRecord], default: TrialRecord | None = None
) -> tuple[TrialRecord, str]:
    """Returns the winner, and why: the default, unless another is clearly better.

    The highest of many uncertain objectives is high by luck, too: with ten minority
    images, a search that takes it is worse than none. So the trial with the highest
    objective wins where its lead over the default, image by image, is significant
    (one-sided t-test at 2.5 %); and where the default is not to be had.
    """
    best = max(records, key=lambda record: (record.held_out.mean, -record.number))
    if default not in records:
        reason = "It has the highest figure; the default, trial 1, could not be chosen."
        return best, reason
    if best == default:
        return default, "No other trial has a higher figure."
    lead, error = best.held_out.lead(default.held_out)
    shown = f"{lead:+.3f} ± {error:.3f}"
    needed = error * scipy.stats.t.ppf(1 - _LEVEL, len(best.shares) - 1)
    if lead > 0 and lead >= needed:
        reason = f"Its lead over the default, trial 1, is {shown}, more than chance"
        return best, f"{reason} explains."
    reason = f"No other trial has a lead beyond chance: that of trial {best.number}, "
    return default, f"{reason}{best.held_out.mean:.3f}, is {shown}."
