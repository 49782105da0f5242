"""What a grid measured, kept in files, and what follows: means, gaps, ranks, leads."""

import contextlib
import dataclasses
import datetime
import json
import os
import platform
import string
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from egan_keras import schemas
from egan_keras.experiments.grid import REFERENCE, Run, Task
from egan_keras.files import reading, write_json
from egan_keras.version import versions

RUNS = "runs"
# The threshold of a run is set for this specificity, guaranteed so confidently.
SPECIFICITY = 0.95
CONFIDENCE = 0.95
LAST_EPOCHS = 5

CELL = ["task", "pairing", "minority_count"]
_MEASURED = (
    "task minority_count pairing method seed auroc average_precision threshold "
    "threshold_confidence f1 sensitivity specificity sensitivity_at_zero "
    "specificity_at_zero seconds diverged n_train_majority n_train_minority "
    "n_validation n_test n_duplicates n_dropped_duplicates"
).split()
_OF_EPOCHS = ["epochs", "auroc_range_last_epochs", "best_epoch_auroc_on_test"]
# Columns of results.csv and of cells.csv.
RUN_COLUMNS = [*_MEASURED, *_OF_EPOCHS]
CELL_COLUMNS = (
    "task minority_count pairing method seeds auroc_mean auroc_sd auroc_min auroc_max "
    "best_baseline gap_to_best_baseline average_precision_mean f1_mean "
    "sensitivity_mean specificity_mean seconds_median"
).split()
_LABELS = ["title", "cell", "is_baseline"]
_AVERAGED = (
    "average_precision f1 sensitivity specificity sensitivity_at_zero "
    "specificity_at_zero auroc_last_epoch f1_at_zero_last_epoch "
    "best_epoch_auroc_on_test best_epoch_f1_at_zero_on_test"
).split()
_RESAMPLES = 10_000
_TAIL = 0.025
_TEXT = schemas.TEXT
_SCHEMA = schemas.record(
    dict.fromkeys(["run", "results"], schemas.ANYTHING)
    | {"versions": schemas.mapped(_TEXT), "machine": _TEXT, "finished": _TEXT}
)


class Record(NamedTuple):
    """What a run measured, see `train_and_judge`, with what, where and when."""

    results: dict[str, Any]
    versions: dict[str, str]
    machine: str
    finished: str


class Records:
    """The results in a folder, which is made, each in a file named by its run.

    A run's name ends with a fingerprint of all that decides its result, so a run whose
    definition has changed is another run. Code counts by the version of the package.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def path(self, run: Run) -> Path:
        """Returns the file of a run."""
        return self._folder / f"{run.id}.json"

    def read(self, run: Run) -> Record | None:
        """Returns the record of a run, or None if it has not been run."""
        path = self.path(run)
        if not path.exists():
            return None
        advice = "Remove it to run it again."
        with reading("A result", "compare", path, advice):
            values = schemas.read(path, _SCHEMA)
            if values.pop("run") != run.definition():
                raise ValueError("it is the result of another run")
            return Record(**values)

    def write(self, run: Run, results: dict[str, Any]) -> Record:
        """Writes what a run measured, with what it was and where it ran."""
        now = datetime.datetime.now().astimezone().isoformat("T", "seconds")
        machine = f"{platform.machine()}, {os.cpu_count()} cores"
        record = Record(results, versions(), machine, now)
        values = {"run": run.definition(), **record._asdict()}
        write_json(self.path(run), values, indent=1, allow_nan=False)
        return record

    def n_of_other_images(self, task: Task, files: str) -> int:
        """Returns how many results of a task are of images with other fingerprints."""
        count = 0
        for path in self._folder.glob("[!.]*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                of = json.loads(path.read_text("utf-8"))["run"]
                # Earlier versions knew no duplicates.
                is_of_task = {"duplicates": None, **of["task"]} == task.definition()
                count += is_of_task and of["files"] != files
        return count


@dataclasses.dataclass
class Outcomes:
    """What each run measured, None without a result; why some of these have none.

    It is not possible where a baseline cannot work on what it is given.
    """

    runs: dict[Run, Record | None] = dataclasses.field(default_factory=dict)
    failed: dict[Run, str] = dataclasses.field(default_factory=dict)
    not_possible: dict[Run, str] = dataclasses.field(default_factory=dict)

    @property
    def records(self) -> dict[Run, Record]:
        """What each run with a result measured."""
        return {run: record for run, record in self.runs.items() if record is not None}

    @property
    def missing(self) -> list[Run]:
        """The runs without a result."""
        return [run for run, record in self.runs.items() if record is None]

    @property
    def marks(self) -> dict[str, str]:
        """The letter of each pairing; nothing where there is but one."""
        pairings = list(dict.fromkeys(str(run.pairing) for run in self.runs))
        letters = string.ascii_uppercase + string.ascii_lowercase
        marks = [f" ({letters[i : i + 1] or i})" for i in range(len(pairings))]
        return dict(zip(pairings, marks if len(pairings) > 1 else [""], strict=True))

    def by_run(self) -> pd.DataFrame:
        """Returns a row for each run with a result, in the grid's order.

        Groups by `task`, `pairing` and `method` come in the order of the tables.
        """
        marks, rows = self.marks, []
        for run, record in self.records.items():
            task, pairing = run.task.name, str(run.pairing)
            row = {"task": task, "pairing": pairing, "method": run.method.name}
            row |= {"minority_count": run.count, "seed": run.seed}
            row |= {"title": f"{task}{marks[pairing]}"}
            row |= {"cell": f"{run.cell}{marks[pairing]}"}
            row |= {"is_baseline": run.method.is_baseline}
            rows.append(row | record.results)
        by_epoch = ["auroc_by_epoch", "f1_at_zero_by_epoch"]
        runs = pd.DataFrame(rows, columns=[*_MEASURED, *_LABELS, *by_epoch])
        for name in ("auroc", "f1_at_zero"):
            curves = runs.pop(f"{name}_by_epoch").dropna()
            last = curves.map(lambda curve: curve[-LAST_EPOCHS:])
            runs["epochs"] = curves.map(len).astype("Int64")
            runs[f"{name}_range_last_epochs"] = last.map(np.ptp).astype(float)
            runs[f"{name}_last_epoch"] = last.map(lambda curve: curve[-1]).astype(float)
            runs[f"best_epoch_{name}_on_test"] = curves.map(max).astype(float)
        egans_first = sorted(self.runs, key=lambda run: run.method.is_baseline)
        for name, order in {
            "task": [run.task.name for run in self.runs],
            "pairing": marks,
            "method": [run.method.name for run in egans_first],
        }.items():
            runs[name] = pd.Categorical(runs[name], dict.fromkeys(order), ordered=True)
        # Earlier versions did not count them.
        counts = dict.fromkeys(["n_duplicates", "n_dropped_duplicates"], "Int64")
        return runs.astype({"is_baseline": bool, **counts})


def by_cell(runs: pd.DataFrame) -> pd.DataFrame:
    """Returns a row for each cell and method: over seeds, and beside other methods.

    Besides `CELL_COLUMNS` it has means of other results, and ranks of the means in the
    cell, where equals share the better one. What a single seed does not tell, or cells
    without a baseline, is missing.
    """
    groups = runs.groupby([*CELL, *_LABELS, "method"], observed=True)
    cells = groups.agg(
        seeds=("auroc", "size"),
        auroc_mean=("auroc", "mean"),
        auroc_sd=("auroc", "std"),
        auroc_min=("auroc", "min"),
        auroc_max=("auroc", "max"),
        seconds_median=("seconds", "median"),
        **{f"{name}_mean": (name, "mean") for name in _AVERAGED},
    ).reset_index()
    for name in ("auroc", "f1"):
        of_cell = cells.groupby(CELL, observed=True)[f"{name}_mean"]
        cells[f"{name}_rank"] = of_cell.rank(method="min", ascending=False)
    best = cells[cells["is_baseline"]].sort_values("auroc_rank", kind="stable")
    best = best.drop_duplicates(CELL)[[*CELL, "method", "auroc_mean"]]
    best.columns = [*CELL, "best_baseline", "auroc_of_best"]
    cells = cells.merge(best, "left", CELL)
    cells["gap_to_best_baseline"] = cells["auroc_mean"] - cells["auroc_of_best"]
    return cells


def by_seed(runs: pd.DataFrame) -> pd.DataFrame:
    """Returns AUROC with a row for each cell and seed, and a column for each method."""
    return runs.pivot(index=[*CELL, "seed"], columns="method", values="auroc")


def by_method(runs: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Returns a row for each method: over its own among some cells and their runs.

    `auroc`, `rank` and `gap` are means over cells; `worst_gap` is that in `worst_cell`;
    in `n_best` cells no method has a higher AUROC. `lead` is the mean over cells and
    seeds of the reference's AUROC less its own, with a 95% bootstrap interval that
    draws cells as a whole, `low` to `high`. What does not exist is missing.
    """
    gap = "gap_to_best_baseline"
    methods = cells.groupby("method", observed=True).agg(
        n_cells=("auroc_rank", "size"),
        auroc=("auroc_mean", "mean"),
        rank=("auroc_rank", "mean"),
        n_best=("auroc_rank", lambda ranks: (ranks == 1).sum()),
        gap=(gap, "mean"),
    )
    worst = cells.sort_values(gap, kind="stable").drop_duplicates("method")
    methods[["worst_gap", "worst_cell"]] = worst.set_index("method")[[gap, "cell"]]
    methods[["lead", "low", "high"]] = np.nan
    aurocs = by_seed(runs)
    for method in methods.index.drop(REFERENCE) if REFERENCE in aurocs else ():
        leads = (aurocs[REFERENCE] - aurocs[method]).dropna()
        of_cells = leads.groupby(level=CELL, observed=True)
        interval = clustered_interval(of_cells.sum(), of_cells.size())
        methods.loc[method, ["lead", "low", "high"]] = leads.mean(), *interval
    return methods


def clustered_interval(sums: np.ndarray, sizes: np.ndarray) -> tuple[float, float]:
    """Returns a 95% bootstrap interval of a mean, drawing clusters as a whole.

    Clusters are given as sums and numbers of their values, each (n,); of fewer than
    two, (low, high) are NaN.
    """
    if len(sums) < 2:
        return np.nan, np.nan
    equal = np.full(len(sums), 1 / len(sums))
    drawn = np.random.default_rng(0).multinomial(len(sums), equal, size=_RESAMPLES)
    return tuple(np.quantile((drawn @ sums) / (drawn @ sizes), [_TAIL, 1 - _TAIL]))
