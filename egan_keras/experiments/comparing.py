"""Running a grid: what has run is kept, what fails is told, nothing stops the rest."""

import contextlib
import json
import logging
import math
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from egan_keras.backbones import Backbone
from egan_keras.data.finding import in_words
from egan_keras.evaluation.markdown import short
from egan_keras.experiments import frozen, records
from egan_keras.experiments.files import TaskFiles
from egan_keras.experiments.frozen import FolderFeatures
from egan_keras.experiments.grid import Grid, Run, Task
from egan_keras.experiments.outcomes import Outcomes
from egan_keras.experiments.records import Records
from egan_keras.experiments.report import write_tables
from egan_keras.experiments.samples import Samples
from egan_keras.experiments.training import NotPossibleError, train_and_judge
from egan_keras.files import write_atomically

IMAGES = "images.json"

_LONGEST_REASON = 400


def compare(
    grid: Grid, out: Path, *, command: str = "", tables_only: bool = False
) -> Outcomes:
    """Runs what has not been run of a grid, and writes tables and plots.

    Args:
        grid: the grid.
        out: folder for results (`runs/`), frozen features (`features/`), tables and
            plots; it is made. What earlier calls have left in it is used.
        command: the command to name in the report.
        tables_only: whether to run nothing.

    Returns:
        What was measured, what failed and what was not possible.

    Raises:
        FileExistsError: if `out` is something else than a comparison.
        FileNotFoundError: if a folder of images is missing or empty.
        ValueError: for an unknown class, fewer minority images than asked for, or a
            result that cannot be read.
        OSError: if ImageNet weights cannot be had.
        KeyboardInterrupt: on Ctrl-C, after the tables were written.
    """
    files = _check_tasks(grid)
    _check_folder(out)
    runs = grid.runs({task: each.fingerprint() for task, each in files.items()})
    kept = Records(out / records.FOLDER)
    _tell_changes(out, files, kept)
    outcomes = Outcomes()
    try:
        if not tables_only:
            samples = Samples(FolderFeatures(out / frozen.FOLDER, grid.weights), files)
            with _without_advice_on_tracing():
                _run_all(runs, kept, samples, outcomes)
    finally:
        # On Ctrl-C, too.
        outcomes.runs = {run: kept.read(run) for run in runs}
        if outcomes.records:
            _note_images(out, files)
        write_tables(out, outcomes, command=command)
    return outcomes


def _check_tasks(grid: Grid) -> dict[Task, TaskFiles]:
    """Finds every task's files, and refuses what cannot be split as wished."""
    files = {task: TaskFiles(task) for task in grid.tasks}
    for task, each in files.items():
        if each.passed_over:
            print(f"Passed over in {task.label}: {in_words(each.passed_over)}")
        each.check_depths()
        each.divide(grid.highest_count(task), 0)
    return files


def _tell_changes(out: Path, files: dict[Task, TaskFiles], kept: Records) -> None:
    """Says where results are of other images, and what these are now."""
    before = _noted(out)
    for task, each in files.items():
        n_others = kept.n_of_other_images(task, each.fingerprint())
        if n_others:
            print(
                f"{task.name}: {n_others} earlier results are left aside, since their "
                f"images were others{_changes(before.get(task.name), each.contents)}",
                flush=True,
            )


def _note_images(out: Path, files: dict[Task, TaskFiles]) -> None:
    """Keeps which images results are of."""
    before = _noted(out)
    now = before | {task.name: each.contents for task, each in files.items()}
    if now != before:
        text = json.dumps(now)
        write_atomically(out / IMAGES, lambda target: target.write_text(text, "utf-8"))


def _noted(out: Path) -> dict[str, Any]:
    """Returns what was kept; nothing if it is damaged, as it serves to tell only."""
    with contextlib.suppress(OSError, ValueError):
        noted = json.loads((out / IMAGES).read_text("utf-8"))
        if isinstance(noted, dict):
            return noted
    return {}


def _changes(before: Any, now: dict[str, str | None]) -> str:
    """Returns what became of files, in words; nothing where it is not known."""
    if not isinstance(before, dict) or before == now:
        return ""
    gone, new = before.keys() - now.keys(), now.keys() - before.keys()
    changed = [name for name in before.keys() & now.keys() if before[name] != now[name]]
    return f": {len(changed)} have other contents, {len(gone)} are gone, {len(new)} new"


def _check_folder(out: Path) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / records.FOLDER).is_dir():
        raise FileExistsError(
            "What is there is not a comparison, so nothing is written; expected a "
            f"folder with {records.FOLDER}/ in it, an empty one or none. Received: "
            f"out={str(out)!r}. Name another folder."
        )


def _run_all(
    runs: Sequence[Run], kept: Records, samples: Samples, outcomes: Outcomes
) -> None:
    """Runs what has no result yet, and says so line by line."""
    # Baselines do not see the encoder: pairings that differ in it share a run.
    alike: dict[str, list[Run]] = {}
    for run in runs:
        alike.setdefault(run.id, []).append(run)
    waiting = [each for each in alike.values() if kept.read(each[0]) is None]
    _check_backbones([run for run, *_ in waiting])
    clock = _Clock([run for run, *_ in waiting])
    done = len(alike) - len(waiting)
    print(f"{len(alike)} runs, {done} of them done before", flush=True)
    for number, (run, *others) in enumerate(waiting, done + 1):
        started = time.perf_counter()
        try:
            # Another process may have run it meanwhile.
            record = kept.read(run)
            if record is None:
                sample = samples.of(run)
                # Features are computed once: they tell nothing of runs to come.
                started = time.perf_counter()
                results = train_and_judge(run, sample) | samples.counts(run)
                record = kept.write(run, results)
            results = record.results
            outcome = f"AUROC {short(results['auroc'])} ({results['seconds']:.1f} s)"
        except NotPossibleError as error:
            reason = _in_one_line(error)
            outcomes.not_possible |= dict.fromkeys([run, *others], reason)
            outcome = f"not possible: {reason}"
        # Whatever a library raises, the other runs go on.
        except Exception as error:
            reason = f"{type(error).__name__}: {_in_one_line(error)}"
            outcomes.failed |= dict.fromkeys([run, *others], reason)
            outcome = f"FAILED: {reason}"
        clock.count(run, time.perf_counter() - started)
        head = f"[{number:>4}/{len(alike):>4}] {run}"
        print(f"{head} {outcome}{clock.left()}", flush=True)


def _in_one_line(error: Exception) -> str:
    # TensorFlow's messages can hold a whole graph.
    return textwrap.shorten(str(error), _LONGEST_REASON, placeholder=" ...")


def _check_backbones(runs: Sequence[Run]) -> None:
    """Builds each backbone once, so that nothing is read in vain if that fails."""
    used = {
        (spec, run.network_size, run.weights) for run in runs for spec in run.backbones
    }
    for spec, size, weights in sorted(used, key=str):
        backbone = Backbone.parse(spec)
        backbone.build(size or backbone.minimum_size, weights=weights)


@contextlib.contextmanager
def _without_advice_on_tracing() -> Iterator[None]:
    """Holds back what TensorFlow says because each run has a network of its own."""
    logger = logging.getLogger("tensorflow")

    def is_other(record: logging.LogRecord) -> bool:
        return "tf.function retracing" not in str(record.msg)

    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


class _Clock:
    """Estimates the time left from how long each method has taken so far."""

    def __init__(self, waiting: Sequence[Run]) -> None:
        self._waiting = [run.method.name for run in waiting]
        self._spent: dict[str, list[float]] = {}

    def count(self, run: Run, seconds: float) -> None:
        """Takes in how long the next run has taken."""
        self._waiting.pop(0)
        self._spent.setdefault(run.method.name, []).append(seconds)

    def left(self) -> str:
        """Returns the time left in words; nothing at the end."""
        if not self._waiting:
            return ""
        means = {name: sum(s) / len(s) for name, s in self._spent.items()}
        typical = sum(means.values()) / len(means)
        seconds = sum(means.get(name, typical) for name in self._waiting)
        minutes = math.ceil(seconds / 60)
        hours = f"{minutes // 60} h {minutes % 60:02} min"
        return f", {hours if minutes >= 60 else f'{minutes} min'} left"
