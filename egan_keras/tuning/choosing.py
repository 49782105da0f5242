"""Which trial wins."""

from collections.abc import Sequence

import scipy.stats

from egan_keras.tuning.records import TrialRecord

_LEVEL = 0.025


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


def within(
    records: Sequence[TrialRecord],
    *,
    max_int8_kb: float | None,
    max_latency_ms: float | None,
) -> list[TrialRecord]:
    """Returns the trials within a budget.

    Args:
        records: Completed trials.
        max_int8_kb: Largest int8 TFLite file, in 1000 bytes.
        max_latency_ms: Longest time for an image.

    Raises:
        ValueError: If none is.
    """
    budgets = {"int8_kb": max_int8_kb, "latency_ms": max_latency_ms}
    budgets = {name: limit for name, limit in budgets.items() if limit is not None}
    kept = [
        record
        for record in records
        if all(_at_most(getattr(record, name), budgets[name]) for name in budgets)
    ]
    if not kept:
        least = ", ".join(
            f"{name} {_least(records, name)} at least (max_{name}={limit:g})"
            for name, limit in budgets.items()
        )
        raise ValueError(
            "No trial is within the budget; expected one at least. Received: "
            f"{least}. Allow more, or search smaller backbones and network sizes."
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

    Args:
        records: Trials that can be compared, and may be chosen.
        default: The recipe as it is, with the first pairing; `None` if it failed or
            is not known.
    """
    best = max(records, key=lambda record: (record.held_out.mean, -record.number))
    if default is None or default not in records:
        return best
    return best if is_clear(best, default) else default


def explain(
    best: TrialRecord, records: Sequence[TrialRecord], default: TrialRecord | None
) -> str:
    """Returns in a sentence why a trial was chosen.

    Args:
        best: What `choose` returned.
        records: What it chose among.
        default: As of `choose`.
    """
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


def _at_most(value: float | None, limit: float) -> bool:
    return value is not None and value <= limit


def _least(records: Sequence[TrialRecord], name: str) -> str:
    values = [getattr(record, name) for record in records]
    values = [value for value in values if value is not None]
    return f"{min(values):.3g}" if values else "unknown"
