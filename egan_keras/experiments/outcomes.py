"""What a grid measured, and what follows from it: means, gaps, ranks, intervals."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from egan_keras.experiments.grid import Cell, Pairing, Run, Task
from egan_keras.experiments.methods import REFERENCE, Method
from egan_keras.experiments.records import Record

LAST_EPOCHS = 5

_RESAMPLES = 10_000
_TAIL = 0.025


@dataclasses.dataclass(frozen=True)
class Summary:
    """One method over its cells.

    Attributes:
        method: the method.
        n_cells: how many cells it has run in.
        auroc: mean over cells of the mean over seeds.
        rank: mean over cells of its rank among the methods there, 1 = best.
        gap: mean over cells of its AUROC less the best baseline's there; None where
            no baseline has run.
        worst_gap: the lowest of these gaps, with its cell.
        n_best: number of cells where no method has a higher AUROC.
        lead: mean over cells and seeds of the reference's AUROC less its own; None
            without a reference, or for the reference itself.
        interval: 95% bootstrap interval of `lead`, cells drawn as a whole; None for
            fewer than two cells.
    """

    method: Method
    n_cells: int
    auroc: float
    rank: float
    gap: float | None
    worst_gap: tuple[float, Cell] | None
    n_best: int
    lead: float | None
    interval: tuple[float, float] | None


class Outcomes:
    """The results of runs, by cell, method and seed.

    Attributes:
        missing: runs without a result.
        failed: why some of them failed.
        not_possible: why baselines among them could not work on what they were given.
    """

    def __init__(self) -> None:
        # As ordered sets: they have the order in which the runs come.
        self._methods: dict[Method, None] = {}
        self._records: dict[Run, Record] = {}
        self._by_cell: dict[Cell, dict[Method, dict[int, Run]]] = {}
        self.missing: list[Run] = []
        self.failed: dict[Run, str] = {}
        self.not_possible: dict[Run, str] = {}

    def add(self, run: Run, record: Record | None) -> None:
        """Takes in what a run measured; None if it has no result."""
        self._methods[run.method] = None
        if record is None:
            self.missing.append(run)
            return
        self._records[run] = record
        self._by_cell.setdefault(run.cell, {}).setdefault(run.method, {})[run.seed] = (
            run
        )

    @property
    def records(self) -> dict[Run, Record]:
        """What each run measured."""
        return self._records

    @property
    def cells(self) -> list[Cell]:
        """The cells with results: by task, pairing and count."""
        tasks, pairings = self.tasks, self.pairings
        return sorted(
            self._by_cell,
            key=lambda c: (tasks.index(c.task), pairings.index(c.pairing), c.count),
        )

    @property
    def tasks(self) -> list[Task]:
        """The tasks with results."""
        return list(dict.fromkeys(cell.task for cell in self._by_cell))

    @property
    def pairings(self) -> list[Pairing]:
        """The pairings with results."""
        return list(dict.fromkeys(cell.pairing for cell in self._by_cell))

    @property
    def methods(self) -> list[Method]:
        """The methods with results, eGAN's first."""
        found = {run.method for run in self._records}
        known = [method for method in self._methods if method in found]
        return sorted(known, key=lambda method: method.is_baseline)

    def values(self, cell: Cell, method: Method, name: str) -> dict[int, Any]:
        """Returns one value of each seed's run; none where there are none."""
        runs = self._by_cell.get(cell, {}).get(method, {})
        return {
            seed: self._records[run].results[name] for seed, run in sorted(runs.items())
        }

    def mean(self, cell: Cell, method: Method, name: str = "auroc") -> float | None:
        """Returns the mean over seeds; None where there are no runs."""
        values = list(self.values(cell, method, name).values())
        return float(np.mean(values)) if values else None

    def deviation(self, cell: Cell, method: Method, name: str) -> float | None:
        """Returns the standard deviation over seeds; None for fewer than two."""
        values = list(self.values(cell, method, name).values())
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    def aurocs(self, cell: Cell) -> dict[Method, float]:
        """Returns every method's mean AUROC in a cell."""
        return {method: self.mean(cell, method) for method in self._by_cell[cell]}

    def best_baseline(self, cell: Cell) -> tuple[Method, float] | None:
        """Returns the baseline with the highest mean AUROC in a cell, and that."""
        found = {m: auroc for m, auroc in self.aurocs(cell).items() if m.is_baseline}
        return max(found.items(), key=lambda item: item[1]) if found else None

    def gap(self, cell: Cell, method: Method) -> float | None:
        """Returns a method's mean AUROC less the best baseline's in a cell."""
        own, best = self.mean(cell, method), self.best_baseline(cell)
        return None if own is None or best is None else own - best[1]

    def reference(self) -> Method | None:
        """Returns the method that others are compared with, if it has run."""
        return next((m for m in self.methods if m.name == REFERENCE), None)

    def summary(self, method: Method, cells: Sequence[Cell]) -> Summary | None:
        """Summarises a method over its own among some cells; None without any."""
        own = [cell for cell in cells if method in self._by_cell[cell]]
        if not own:
            return None
        places = [_rank(method, self.aurocs(cell)) for cell in own]
        gaps = {cell: self.gap(cell, method) for cell in own}
        gaps = {cell: gap for cell, gap in gaps.items() if gap is not None}
        worst = min(gaps, key=gaps.get) if gaps else None
        lead, interval = self._lead(method, own)
        return Summary(
            method,
            len(own),
            float(np.mean([self.mean(cell, method) for cell in own])),
            float(np.mean(places)),
            float(np.mean(list(gaps.values()))) if gaps else None,
            (gaps[worst], worst) if gaps else None,
            sum(place == 1 for place in places),
            lead,
            interval,
        )

    def _lead(
        self, method: Method, cells: Sequence[Cell]
    ) -> tuple[float | None, tuple[float, float] | None]:
        """Returns the reference's mean lead on a method, with its interval."""
        reference = self.reference()
        if reference is None or method == reference:
            return None, None
        differences = [self.differences(cell, reference, method) for cell in cells]
        differences = [each for each in differences if each]
        if not differences:
            return None, None
        sums = np.array([sum(each) for each in differences])
        sizes = np.array([len(each) for each in differences])
        return float(sums.sum() / sizes.sum()), clustered_interval(sums, sizes)

    def differences(self, cell: Cell, reference: Method, method: Method) -> list[float]:
        """Returns one method's AUROC less another's, for the seeds of both."""
        ours = self.values(cell, reference, "auroc")
        theirs = self.values(cell, method, "auroc")
        return [ours[seed] - theirs[seed] for seed in ours if seed in theirs]


def clustered_interval(
    sums: np.ndarray, sizes: np.ndarray
) -> tuple[float, float] | None:
    """Returns a 95% bootstrap interval of a mean, drawing clusters as a whole.

    Args:
        sums: sum of each cluster's values, (n,).
        sizes: number of each cluster's values, (n,).

    Returns:
        (low, high), or None for fewer than two clusters.
    """
    if len(sums) < 2:
        return None
    equal = np.full(len(sums), 1 / len(sums))
    drawn = np.random.default_rng(0).multinomial(len(sums), equal, size=_RESAMPLES)
    means = (drawn @ sums) / (drawn @ sizes)
    low, high = np.quantile(means, [_TAIL, 1 - _TAIL])
    return float(low), float(high)


def last_epochs_range(by_epoch: Sequence[float]) -> float:
    """Returns the range of the AUROC over the last epochs of a run."""
    last = by_epoch[-LAST_EPOCHS:]
    return max(last) - min(last)


def _rank(method: Method, aurocs: dict[Method, float]) -> int:
    """Returns 1 for the best; equals share the better rank."""
    return 1 + sum(other > aurocs[method] for other in aurocs.values())
