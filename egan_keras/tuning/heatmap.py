"""The heat map: the best trial of each encoder and discriminator."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from egan_keras.evaluation.style import new_figure
from egan_keras.tuning.records import TrialRecord

_COLOURS = "cividis"  # even in lightness, for colour-blind readers and in print too
# So that colours do not make much of differences that mean nothing.
_LEAST_RANGE = 0.02


def plot_heatmap(
    records: Sequence[TrialRecord], chosen: TrialRecord | None = None
) -> Figure:
    """Draws the best objective of each pairing.

    Args:
        records: Trials that have completed.
        chosen: The one to mark, which need not be the best of its pairing.
    """
    encoders = sorted({record.encoder for record in records})
    discriminators = sorted({record.discriminator for record in records})
    best: dict[tuple[str, str], TrialRecord] = {}
    for record in records:
        place = record.encoder, record.discriminator
        if place not in best or record.held_out.mean > best[place].held_out.mean:
            best[place] = record
    values = np.full((len(encoders), len(discriminators)), np.nan)
    for (encoder, discriminator), record in best.items():
        place = encoders.index(encoder), discriminators.index(discriminator)
        values[place] = record.held_out.mean
    figure = new_figure(3.2 + 1.8 * len(discriminators), 2.2 + 0.9 * len(encoders))
    axes = figure.subplots()
    low, high = np.nanmin(values), np.nanmax(values)
    middle, half = (low + high) / 2, max(high - low, _LEAST_RANGE) / 2
    image = axes.imshow(
        values, _COLOURS, vmin=middle - half, vmax=middle + half, aspect="auto"
    )
    for row, encoder in enumerate(encoders):
        for column, discriminator in enumerate(discriminators):
            record = best.get((encoder, discriminator))
            light = record is not None and record.held_out.mean > middle
            axes.text(
                column,
                row,
                _label(record, chosen),
                ha="center",
                va="center",
                color="black" if light or record is None else "white",
            )
    axes.set_xticks(range(len(discriminators)), discriminators, rotation=15, ha="right")
    axes.set_yticks(range(len(encoders)), encoders)
    axes.set_xlabel("discriminator")
    axes.set_ylabel("encoder")
    title = "Best held-out AUROC of each pairing"
    if chosen is not None:
        title += "\nIn the frame: the one chosen"
        column = discriminators.index(chosen.discriminator)
        _frame(axes, column, encoders.index(chosen.encoder))
    axes.set_title(title, loc="left", fontsize="medium")
    figure.colorbar(image, ax=axes, label="held-out AUROC")
    return figure


def _frame(axes: Axes, column: int, row: int) -> None:
    """Draws a frame inside a field, dark and light, so that it shows on any colour."""
    for colour, width in (("black", 5), ("white", 2)):
        axes.add_patch(
            Rectangle(
                (column - 0.47, row - 0.46),
                0.94,
                0.92,
                fill=False,
                edgecolor=colour,
                linewidth=width,
            )
        )


def _label(record: TrialRecord | None, chosen: TrialRecord | None) -> str:
    if record is None:
        return "not tried"
    if chosen is None or chosen.pairing != record.pairing:
        return _figures(record)
    if chosen.number == record.number:
        return f"{_figures(record)}\nchosen"
    return f"{_figures(record)}\nchosen: {_figures(chosen)}"


def _figures(record: TrialRecord) -> str:
    held_out = record.held_out
    return (
        f"{held_out.mean:.3f} ± {held_out.standard_error:.3f}\n"
        f"{record.network_size} px, {record.cut}"
    )
