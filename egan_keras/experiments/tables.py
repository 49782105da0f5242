"""The files of a comparison: two CSV files, a Markdown report, and plots."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from egan_keras.experiments.grid import Cell
from egan_keras.experiments.outcomes import Outcomes, last_epochs_range
from egan_keras.experiments.plots import draw_all
from egan_keras.experiments.report import report_text
from egan_keras.files import write_atomically
from egan_keras.text import printable

RESULTS = "results.csv"
CELLS = "cells.csv"
REPORT = "report.md"
PLOTS = "plots"

_MEASURED = (
    "auroc",
    "average_precision",
    "threshold",
    "threshold_confidence",
    "f1",
    "sensitivity",
    "specificity",
    "sensitivity_at_zero",
    "specificity_at_zero",
    "seconds",
    "diverged",
    "n_train_majority",
    "n_train_minority",
    "n_validation",
    "n_test",
)
_AVERAGED = ("average_precision", "f1", "sensitivity", "specificity")


def write_tables(out: Path, outcomes: Outcomes, *, command: str = "") -> None:
    """Writes all tables and plots of what there is, each file replaced as a whole.

    Args:
        out: the folder, which exists.
        outcomes: what was measured.
        command: the command to name in the report.
    """
    _write_csv(out / RESULTS, _result_rows(outcomes))
    _write_csv(out / CELLS, _cell_rows(outcomes))
    text = report_text(outcomes, printable(command), draw_all(out / PLOTS, outcomes))
    write_atomically(out / REPORT, lambda path: path.write_text(text, "utf-8"))


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    def write(target: Path) -> None:
        with target.open("w", newline="", encoding="utf-8") as file:
            if rows:
                table = csv.DictWriter(file, list(rows[0]))
                table.writeheader()
                table.writerows(rows)

    write_atomically(path, write)


def _result_rows(outcomes: Outcomes) -> list[dict[str, Any]]:
    rows = []
    for run, record in outcomes.records.items():
        results = record.results
        by_epoch = results.get("auroc_by_epoch")
        rows.append(
            {
                **_cell_columns(run.cell),
                "method": run.method.name,
                "seed": run.seed,
                **{name: results.get(name) for name in _MEASURED},
                "epochs": len(by_epoch) if by_epoch else None,
                "auroc_range_last_epochs": by_epoch and last_epochs_range(by_epoch),
                "best_epoch_auroc_on_test": by_epoch and max(by_epoch),
            }
        )
    return rows


def _cell_rows(outcomes: Outcomes) -> list[dict[str, Any]]:
    rows = []
    for cell in outcomes.cells:
        best = outcomes.best_baseline(cell)
        for method in outcomes.methods:
            aurocs = list(outcomes.values(cell, method, "auroc").values())
            if not aurocs:
                continue
            seconds = list(outcomes.values(cell, method, "seconds").values())
            rows.append(
                {
                    **_cell_columns(cell),
                    "method": method.name,
                    "seeds": len(aurocs),
                    "auroc_mean": np.mean(aurocs),
                    "auroc_sd": outcomes.deviation(cell, method, "auroc"),
                    "auroc_min": min(aurocs),
                    "auroc_max": max(aurocs),
                    "best_baseline": best and best[0].name,
                    "gap_to_best_baseline": outcomes.gap(cell, method),
                    **{
                        f"{name}_mean": outcomes.mean(cell, method, name)
                        for name in _AVERAGED
                    },
                    "seconds_median": np.median(seconds),
                }
            )
    return rows


def _cell_columns(cell: Cell) -> dict[str, Any]:
    return {
        "task": cell.task.name,
        "minority_count": cell.count,
        "pairing": str(cell.pairing),
    }
