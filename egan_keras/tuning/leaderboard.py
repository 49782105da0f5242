"""The leaderboard: all trials of a search with what they cost."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from egan_keras.evaluation.style import save
from egan_keras.files import write_atomically
from egan_keras.tuning.choosing import comparable, default_of
from egan_keras.tuning.heatmap import plot_heatmap
from egan_keras.tuning.objective import ERROR_NAME, NAME
from egan_keras.tuning.records import TrialRecord

CSV = "leaderboard.csv"
MARKDOWN = "leaderboard.md"
HEATMAP = "heatmap.png"
FILES = (CSV, MARKDOWN, HEATMAP)

_COSTS = (
    "trained_parameters features_size training_seconds latency_ms int8_kb seconds"
).split()
_TITLES = {
    "rank": "rank",
    "trial": "trial",
    "encoder": "encoder",
    "discriminator": "discriminator",
    "network_size": "size",
    "cut": "cut",
    "others": "other choices",
    NAME: "held-out AUROC",
    "lead": "lead over trial 1",
    "trained_parameters": "trained parameters",
    "features_size": "features an image",
    "training_seconds": "training s",
    "latency_ms": "scoring ms an image",
    "int8_kb": "int8 kB",
}
_EXPLANATION = """\
Held-out AUROC is the objective: the mean, over the minority images, of the share of
validation majority images that score above one when training did not see it; ± one
standard error, from how much the minority images differ. No test image has part in it.
Its highest value is too high by its choice among many; the test split tells what the
model is worth. The lead is compared image by image with trial 1, the first pairing with
the recipe as it is, which is chosen unless the best trial's lead is more than chance
explains (t-test at 2.5 %), or trial 1 is over the budget. Training is that of one
model, its features computed before; scoring is the int8 TFLite model's, on one thread
of this machine.
"""


def ranked(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Returns trials from the best to the worst, and the failed ones behind them.

    Those that Hyperband has not cut short come first.
    """
    return sorted(
        records,
        key=lambda record: (
            record.failure is not None,
            not record.is_whole,
            0 if record.is_whole else -record.epochs,
            -record.held_out.mean if record.failure is None else 0,
            record.number,
        ),
    )


def write_leaderboard(
    folder: Path,
    records: Sequence[TrialRecord],
    chosen: TrialRecord | None,
    reason: str = "",
) -> None:
    """Writes leaderboard.csv, leaderboard.md and heatmap.png.

    Args:
        folder: Where to; it exists.
        records: Trials that have ended.
        chosen: The winner; `None` if there is none.
        reason: Why it is the winner.
    """
    rows = [
        _row(rank, record, records, chosen)
        for rank, record in enumerate(ranked(records), 1)
    ]
    write_atomically(folder / CSV, lambda path: _write_csv(path, rows))
    text = _markdown(rows, chosen, reason)
    write_atomically(folder / MARKDOWN, lambda path: path.write_text(text, "utf-8"))
    done = [record for record in records if record.failure is None]
    if done:
        save(folder / HEATMAP, lambda: plot_heatmap(done, chosen))


def _row(
    rank: int,
    record: TrialRecord,
    records: Sequence[TrialRecord],
    chosen: TrialRecord | None,
) -> dict[str, Any]:
    row = {
        "rank": rank,
        "trial": record.number,
        "chosen": record is chosen,
        "encoder": record.encoder,
        "discriminator": record.discriminator,
        "network_size": record.network_size,
        "cut": record.cut,
        "others": ", ".join(
            f"{name}={value}"
            for name, value in record.choices.items()
            if name not in ("network_size", "depths", "trained_layers")
        ),
        "epochs": record.epochs,
    }
    if record.failure is not None:
        return row | {"seconds": record.seconds, "failure": record.failure}
    held_out = record.held_out
    row |= {NAME: held_out.mean, ERROR_NAME: held_out.standard_error}
    first = default_of(records)
    if first not in (None, record) and comparable(first, record):
        row["lead"], row["lead_error"] = held_out.lead(first.held_out)
    return row | {name: getattr(record, name) for name in _COSTS}


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _markdown(
    rows: list[dict[str, Any]], chosen: TrialRecord | None, reason: str
) -> str:
    titles = dict(_TITLES)
    if not any(row["others"] for row in rows):
        del titles["others"]
    lines = ["# Leaderboard", "", _EXPLANATION]
    if chosen:
        lines += [f"Chosen: trial {chosen.number}, {chosen.pairing}. {reason}", ""]
    lines += ["| " + " | ".join(titles.values()) + " |", "|---" * len(titles) + "|"]
    done = [row for row in rows if NAME in row]
    for row in done:
        cells = [_cell(name, row) for name in titles]
        if row["chosen"]:
            cells[0] = f"**{cells[0]}**"
        lines.append("| " + " | ".join(cells) + " |")
    failed = [row for row in rows if NAME not in row]
    if failed:
        lines += ["", "Failed:", ""]
    lines += [
        f"- trial {row['trial']}, {row['encoder']}->{row['discriminator']}, "
        f"{row['network_size']} pixels, {row['cut']}: {row['failure']}"
        for row in failed
    ]
    return "\n".join(lines) + "\n"


def _cell(name: str, row: dict[str, Any]) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if name == NAME:
        return f"{value:.3f} ± {row[ERROR_NAME]:.3f}"
    if name == "lead":
        return f"{value:+.3f} ± {row['lead_error']:.3f}"
    if name in ("trained_parameters", "features_size"):
        return f"{value:,}"
    if name == "latency_ms":
        return f"{value:.2f}"
    return f"{value:.1f}" if isinstance(value, float) else str(value)
