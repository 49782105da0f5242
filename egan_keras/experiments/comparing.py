"""Running a grid: what has run is kept, what fails is told, nothing stops the rest."""

import contextlib
import json
import math
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from egan_keras.backbones import Backbone
from egan_keras.evaluation.style import short
from egan_keras.experiments.comparison_report import write_tables
from egan_keras.experiments.grid import Grid, Run
from egan_keras.experiments.one_run import NotPossibleError, Samples, train_and_judge
from egan_keras.experiments.outcomes import RUNS, Outcomes, Records
from egan_keras.experiments.task_features import TaskFeatures
from egan_keras.experiments.task_images import FolderFeatures, TaskImages
from egan_keras.files import write_text
from egan_keras.logs import tell
from egan_keras.text import printable

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
        ValueError: for an unknown class, fewer minority images than asked for, an image
            or a result that cannot be read, features that are none or not complete.
        OSError: if ImageNet weights cannot be had.
        KeyboardInterrupt: on Ctrl-C, after the tables were written.
    """
    images = {
        task: TaskFeatures(task) if task.features else TaskImages(task)
        for task in grid.tasks
    }
    for part in grid.parts:
        images[part.task].splits(max(part.counts), 0)
    is_new = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    if not is_new and not (out / RUNS).is_dir():
        raise FileExistsError(
            "What is there is not a comparison, so nothing is written; expected a "
            f"folder with {RUNS}/ in it, an empty one or none. Received: "
            f"out={str(out)!r}. Name another folder."
        )
    marks = {task: each.fingerprint() for task, each in images.items()}
    runs, kept = grid.runs(marks), Records(out / RUNS)
    contents = {task.name: each.contents for task, each in images.items()}
    before: dict[str, Any] = {}
    # Nothing fails where this is damaged: it only tells what earlier results were of.
    with contextlib.suppress(OSError, ValueError, TypeError):
        before = dict(json.loads((out / IMAGES).read_text("utf-8")))
    for task, mark in marks.items():
        if n_others := kept.n_of_other_images(task, mark):
            changes = _changes(before.get(task.name), contents[task.name])
            tell(
                f"{task.name}: {n_others} earlier results are left aside, since their "
                f"images were others{changes}"
            )
    outcomes = Outcomes()
    try:
        if not tables_only:
            store = FolderFeatures(out / "features", grid.weights)
            _run_all(runs, kept, Samples(store, images), outcomes)
    finally:
        # On Ctrl-C, too.
        outcomes.runs = {run: kept.read(run) for run in runs}
        if outcomes.records and before | contents != before:
            write_text(out / IMAGES, json.dumps(before | contents))
        write_tables(out, outcomes, command=command)
    return outcomes


def _changes(before: Any, now: dict[str, str | None]) -> str:
    """Returns what became of files, in words; nothing where it is not known."""
    if not isinstance(before, dict) or before == now:
        return ""
    gone, new = before.keys() - now.keys(), now.keys() - before.keys()
    changed = [name for name in before.keys() & now.keys() if before[name] != now[name]]
    return f": {len(changed)} have other contents, {len(gone)} are gone, {len(new)} new"


def _run_all(
    runs: Sequence[Run], kept: Records, samples: Samples, outcomes: Outcomes
) -> None:
    """Runs what has no result yet, and says so line by line."""
    # Baselines do not see the encoder: pairings that differ in it share a run.
    alike: dict[str, list[Run]] = {}
    for run in runs:
        alike.setdefault(run.id, []).append(run)
    waiting = [each for each in alike.values() if kept.read(each[0]) is None]
    names = [run.method.name for run, *_ in waiting]
    # Each is built once, so that nothing is read in vain if that fails.
    networks = {
        (spec, run.network_size, run.weights)
        for run, *_ in waiting
        for spec in run.backbones
        if not run.task.features
    }
    for spec, size, weights in sorted(networks, key=str):
        backbone = Backbone.parse(spec)
        backbone.build(size or backbone.minimum_size, weights=weights)
    done = len(alike) - len(waiting)
    tell(f"{len(alike)} runs, {done} of them done before")
    spent: dict[str, list[float]] = {}
    for number, same in enumerate(waiting, 1):
        run, started = same[0], time.perf_counter()
        try:
            # Another process may have run it meanwhile.
            record = kept.read(run)
            if record is None:
                sample = samples.of(run)
                # Features are computed once: they tell nothing of runs to come.
                started = time.perf_counter()
                results = train_and_judge(run, sample)
                record = kept.write(run, results | samples.images[run.task].counts)
            results = record.results
            outcome = f"AUROC {short(results['auroc'])} ({results['seconds']:.1f} s)"
        except NotPossibleError as error:
            outcomes.not_possible |= dict.fromkeys(same, _in_one_line(error))
            outcome = f"not possible: {_in_one_line(error)}"
        # Whatever a library raises, the other runs go on.
        except Exception as error:
            reason = f"{type(error).__name__}: {_in_one_line(error)}"
            outcomes.failed |= dict.fromkeys(same, reason)
            outcome = f"FAILED: {reason}"
        spent.setdefault(run.method.name, []).append(time.perf_counter() - started)
        head = f"[{done + number:>4}/{len(alike):>4}] {run}"
        tell(f"{head} {outcome}{_time_left(names[number:], spent)}")


def _time_left(names: Sequence[str], spent: dict[str, list[float]]) -> str:
    """Estimates it from how long each method has taken so far; nothing at the end."""
    if not names:
        return ""
    means = {name: sum(seconds) / len(seconds) for name, seconds in spent.items()}
    typical = sum(means.values()) / len(means)
    minutes = math.ceil(sum(means.get(name, typical) for name in names) / 60)
    hours = f"{minutes // 60} h {minutes % 60:02} min"
    return f", {hours if minutes >= 60 else f'{minutes} min'} left"


def _in_one_line(error: Exception) -> str:
    # TensorFlow's messages can hold a whole graph.
    text = textwrap.shorten(str(error), _LONGEST_REASON, placeholder=" ...")
    return printable(text)
