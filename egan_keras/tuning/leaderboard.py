"""The leaderboard: all trials of a search with what they cost, as they end and after.

`leaderboard.csv` has everything, `leaderboard.md` the table for people, and
`heatmap.png` the best trial of each encoder and discriminator.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from egan_keras import logs
from egan_keras.evaluation.style import new_figure, save, table
from egan_keras.files import write_atomically, write_text
from egan_keras.tuning.choosing import (
    ERROR_NAME,
    NAME,
    TrialRecord,
    comparable,
    default_of,
)

CSV = "leaderboard.csv"
MARKDOWN = "leaderboard.md"
HEATMAP = "heatmap.png"
FILES = (CSV, MARKDOWN, HEATMAP)

_COSTS = (
    "trained_parameters features_size training_seconds latency_ms int8_kb seconds"
).split()
# Columns for people; what a trial lacks a number for stays empty.
_COLUMNS = {
    "rank": "{rank}",
    "trial": "{trial}",
    "encoder": "{encoder}",
    "discriminator": "{discriminator}",
    "size": "{network_size}",
    "cut": "{cut}",
    "other choices": "{others}",
    "held-out AUROC": f"{{{NAME}:.3f}} ± {{{ERROR_NAME}:.3f}}",
    "lead over trial 1": "{lead:+.3f} ± {lead_error:.3f}",
    "trained parameters": "{trained_parameters:,}",
    "features an image": "{features_size:,}",
    "training s": "{training_seconds:.1f}",
    "scoring ms an image": "{latency_ms:.2f}",
    "int8 kB": "{int8_kb:.1f}",
}
_FAILED = (
    "- trial {trial}, {encoder}->{discriminator}, {network_size} pixels, {cut}: "
    "{failure}"
)
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
_COLOURS = "cividis"  # even in lightness, for colour-blind readers and in print too
# So that colours do not make much of differences that mean nothing.
_LEAST_RANGE = 0.02


def live_table(
    backbones: Sequence[str], n_trials: int
) -> Callable[[TrialRecord], None]:
    """Prints the head of a table; returns what prints a trial as it ends.

    Below the table a terminal shows the time left for so many trials.
    """
    wide = f"{{:<{max(13, *map(len, backbones))}}}"
    line = f"{{:>5}}  {wide}  {wide}  {{:>4}}  {{:<10}}  {{:<14}}  {{:>7}}  {{}}"

    def show(*cells: object) -> None:
        print(line.format(*cells).rstrip(), flush=True)

    def add(record: TrialRecord) -> None:
        result, rest = "failed", record.failure
        if rest is None:
            result, rest = record.held_out.text, record.others
        backbones, size = (record.encoder, record.discriminator), record.network_size
        told = str(size), record.cut, result, f"{record.seconds:.1f}", rest
        show(record.number, *backbones, *told)
        next(progress, None)

    progress = logs.shown(range(n_trials), n_trials, "trials")
    next(progress, None)
    names = "trial,encoder,discriminator,size,cut,held-out AUROC,seconds,"
    show(*names.split(","))
    return add


def ranked(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Returns trials from the best to the worst, and the failed ones behind them.

    Those that Hyperband has not cut short come first.
    """

    def place(record: TrialRecord) -> tuple:
        is_failed = record.failure is not None
        worth = 0 if is_failed else -record.held_out.mean
        return is_failed, -record.length, worth, record.number

    return sorted(records, key=place)


def write_leaderboard(
    folder: Path,
    records: Sequence[TrialRecord],
    chosen: TrialRecord | None,
    reason: str = "",
) -> None:
    """Writes leaderboard.csv, leaderboard.md and heatmap.png into a folder."""
    first = default_of(records)
    rows = [_row(record, first, chosen) for record in ranked(records)]
    rows = [{"rank": rank, **row} for rank, row in enumerate(rows, 1)]
    # As they are: of whole numbers and missing ones it would make floats.
    frame = pd.DataFrame(rows, dtype=object)
    options = {"index": False, "lineterminator": "\r\n"}
    write_atomically(folder / CSV, lambda path: frame.to_csv(path, **options))
    columns = dict(_COLUMNS)
    if not any(row["others"] for row in rows):
        del columns["other choices"]
    text = f"# Leaderboard\n\n{_EXPLANATION}\n"
    if chosen:
        text += f"Chosen: trial {chosen.number}, {chosen.pairing}. {reason}\n\n"
    done = [row for row in rows if NAME in row]
    if done:
        shown = [{k: _cell(v, row) for k, v in columns.items()} for row in done]
        for row, cells in zip(done, shown, strict=True):
            cells["rank"] = f"**{row['rank']}**" if row["chosen"] else cells["rank"]
        text += f"{table(shown)}\n"
    failed = [_FAILED.format_map(row) for row in rows if NAME not in row]
    text += "\n".join(["\nFailed:\n", *failed, ""]) if failed else ""
    write_text(folder / MARKDOWN, text)
    completed = [record for record in records if record.failure is None]
    if completed:
        save(folder / HEATMAP, lambda: plot_heatmap(completed, chosen))


def _row(
    record: TrialRecord, first: TrialRecord | None, chosen: TrialRecord | None
) -> dict[str, Any]:
    row = {"trial": record.number, "chosen": record is chosen}
    told = "encoder discriminator network_size cut others epochs".split()
    row |= {name: getattr(record, name) for name in told}
    if record.failure is not None:
        return row | {"seconds": record.seconds, "failure": record.failure}
    held_out = record.held_out
    row |= {NAME: held_out.mean, ERROR_NAME: held_out.standard_error}
    if first not in (None, record) and comparable(first, record):
        row["lead"], row["lead_error"] = held_out.lead(first.held_out)
    return row | {name: getattr(record, name) for name in _COSTS}


def _cell(template: str, row: dict[str, Any]) -> str:
    try:
        return template.format_map(row)
    except (KeyError, TypeError):
        return ""


def plot_heatmap(
    records: Sequence[TrialRecord], chosen: TrialRecord | None = None
) -> Figure:
    """Draws the best objective of each pairing, of trials that have completed.

    A frame marks the one chosen, which need not be the best of its pairing.
    """
    best = sorted(records, key=lambda record: -record.held_out.mean)
    rows = [
        (each.encoder, each.discriminator, each.held_out.mean, _label(each, chosen))
        for each in best
    ]
    frame = pd.DataFrame(rows, columns=["encoder", "discriminator", "auroc", "text"])
    frame = frame.drop_duplicates(["encoder", "discriminator"])
    wide = frame.pivot(index="encoder", columns="discriminator")
    values, texts = wide["auroc"], wide["text"].fillna("not tried")
    encoders, discriminators = list(values.index), list(values.columns)
    figure = new_figure(3.2 + 1.8 * len(discriminators), 2.2 + 0.9 * len(encoders))
    axes = figure.subplots()
    low, high = frame["auroc"].min(), frame["auroc"].max()
    middle, half = (low + high) / 2, max(high - low, _LEAST_RANGE) / 2
    ends = {"vmin": middle - half, "vmax": middle + half}
    image = axes.imshow(values, _COLOURS, aspect="auto", **ends)
    for (row, column), value in np.ndenumerate(values):
        look = {"color": "white" if value <= middle else "black", "ha": "center"}
        axes.text(column, row, texts.iat[row, column], va="center", **look)
    axes.set_xticks(range(len(discriminators)), discriminators, rotation=15, ha="right")
    axes.set_yticks(range(len(encoders)), encoders)
    axes.set(xlabel="discriminator", ylabel="encoder")
    title = "Best held-out AUROC of each pairing"
    if chosen is not None:
        title += "\nIn the frame: the one chosen"
        column = discriminators.index(chosen.discriminator) - 0.47
        corner = column, encoders.index(chosen.encoder) - 0.46
        # Dark and light, so that it shows on any colour.
        for colour, width in (("black", 5), ("white", 2)):
            look = {"fill": False, "edgecolor": colour, "linewidth": width}
            axes.add_patch(Rectangle(corner, 0.94, 0.92, **look))
    axes.set_title(title, loc="left", fontsize="medium")
    figure.colorbar(image, ax=axes, label="held-out AUROC")
    return figure


def _label(record: TrialRecord, chosen: TrialRecord | None) -> str:
    """Returns what the field of a pairing says, whose best trial it is."""
    figures = f"{record.held_out.text}\n{record.network_size} px, {record.cut}"
    if chosen is None or chosen.pairing != record.pairing:
        return figures
    if chosen.number == record.number:
        return f"{figures}\nchosen"
    return f"{figures}\nchosen: {_label(chosen, None)}"
