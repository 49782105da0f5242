"""Which trial wins."""

from collections.abc import Sequence

from egan_keras.tuning.records import TrialRecord


def completed(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Returns the trials that can be compared: those trained for the most epochs.

    Hyperband trains most of its trials for fewer.

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
            + ". Run the search for longer, or choose other backbones."
        )
    epochs = max(record.epochs for record in done)
    return [record for record in done if record.epochs == epochs]


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


def choose(records: Sequence[TrialRecord]) -> TrialRecord:
    """Returns the trial with the highest objective; of equals, the first.

    Args:
        records: Trials that can be compared, and may be chosen.
    """
    return max(records, key=lambda record: (record.held_out.mean, -record.number))


def _at_most(value: float | None, limit: float) -> bool:
    return value is not None and value <= limit


def _least(records: Sequence[TrialRecord], name: str) -> str:
    values = [getattr(record, name) for record in records]
    values = [value for value in values if value is not None]
    return f"{min(values):.3g}" if values else "unknown"
