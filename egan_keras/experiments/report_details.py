"""The later parts of a report: operating points, stability, time, what is missing."""

from collections.abc import Callable

import numpy as np

from egan_keras.experiments.grid import Cell, Run
from egan_keras.experiments.layout import by_task, cell_table, name_cell
from egan_keras.experiments.markdown import NONE, bold, escaped, short, table
from egan_keras.experiments.methods import Method
from egan_keras.experiments.outcomes import LAST_EPOCHS, Outcomes, last_epochs_range
from egan_keras.experiments.training import CONFIDENCE, SPECIFICITY


def operating_points(outcomes: Outcomes) -> list[str]:
    """Returns the tables at the calibrated threshold and at threshold 0."""
    sections = [
        "## At the calibrated threshold",
        "F1 / sensitivity / specificity on the test split, means over seeds. The "
        f"threshold is set for a specificity of {SPECIFICITY:g} on validation "
        f"majority images alone, guaranteed with {CONFIDENCE:.0%} confidence"
        f"{_without_guarantee(outcomes)}. The best F1 is in bold. F1 depends on the "
        "share of minority images in the test split.",
    ]
    for title, cells in by_task(outcomes):
        sections += [f"### {escaped(title)}", cell_table(outcomes, cells, _calibrated)]
    if _egans(outcomes):
        sections += [
            "## At threshold 0",
            "Sensitivity / specificity of eGAN without calibration, means over seeds.",
            *_egan_tables(outcomes, _at_zero),
        ]
    return sections


def _without_guarantee(outcomes: Outcomes) -> str:
    """Names the tasks whose thresholds carry no guarantee."""
    names = {
        run.cell.task.name
        for run, record in outcomes.records.items()
        if record.results["threshold_confidence"] is None
    }
    if not names:
        return ""
    return (
        f"; in {', '.join(sorted(names))} there are too few of them for a guarantee, "
        "and the plain quantile is taken"
    )


def _calibrated(outcomes: Outcomes, cell: Cell, method: Method) -> str:
    f1 = {m: outcomes.mean(cell, m, "f1") for m in outcomes.aurocs(cell)}
    text = short(f1[method])
    text = bold(text) if f1[method] == max(f1.values()) else text
    return f"{text} / {_pair(outcomes, cell, method, '')}"


def _at_zero(outcomes: Outcomes, cell: Cell, method: Method) -> str:
    return _pair(outcomes, cell, method, "_at_zero")


def _pair(outcomes: Outcomes, cell: Cell, method: Method, suffix: str) -> str:
    names = ("sensitivity", "specificity")
    means = (outcomes.mean(cell, method, f"{name}{suffix}") for name in names)
    return " / ".join(map(short, means))


def stability(outcomes: Outcomes) -> list[str]:
    """Returns the table of spreads over seeds and over the last epochs."""
    rows = [_stability_row(outcomes, method) for method in outcomes.methods]
    head = [
        "method",
        "sd over seeds (worst cell)",
        f"range over last {LAST_EPOCHS} epochs (worst run)",
        "AUROC after last epoch",
        "oracle: best epoch on test",
        "diverged",
    ]
    return [
        "## Stability",
        "Means over cells and runs. Every other table judges the model after its last "
        "epoch. The oracle number takes, in each run, the epoch that is best on the "
        "test split: no one could choose it without the test labels.",
        table(head, rows),
    ]


def _stability_row(outcomes: Outcomes, method: Method) -> list[str]:
    cells = [cell for cell in outcomes.cells if method in outcomes.aurocs(cell)]
    deviations = [outcomes.deviation(cell, method, "auroc") for cell in cells]
    deviations = [value for value in deviations if value is not None]
    seeds = NONE
    if deviations:
        seeds = f"{short(float(np.mean(deviations)))} ({short(max(deviations))})"
    row = [method.name, seeds]
    if method.is_baseline:
        return row + [NONE] * 4
    runs = [run for run in outcomes.records if run.method == method]
    results = [outcomes.records[run].results for run in runs]
    curves = [each["auroc_by_epoch"] for each in results]
    ranges = [last_epochs_range(curve) for curve in curves]
    return [
        *row,
        f"{short(float(np.mean(ranges)))} ({short(max(ranges))})",
        short(float(np.mean([curve[-1] for curve in curves]))),
        short(float(np.mean([max(curve) for curve in curves]))),
        f"{sum(each['diverged'] for each in results)} of {len(results)}",
    ]


def last_and_best_epochs(outcomes: Outcomes) -> list[str]:
    """Returns the tables of the last epoch beside the one best on the test split."""
    if not _egans(outcomes):
        return []
    sections = [
        "## After the last epoch, and at the best one on the test split",
        "AUROC and F1 at threshold 0 of eGAN, means over seeds: after the last epoch, "
        "the honest number, and in brackets the oracle's, which takes in each run the "
        "epoch whose number is highest on the test split, as the paper's notebooks do.",
    ]
    return sections + _egan_tables(outcomes, _last_and_best)


def _last_and_best(outcomes: Outcomes, cell: Cell, method: Method) -> str:
    parts = []
    for label, name in (("AUROC", "auroc_by_epoch"), ("F1", "f1_at_zero_by_epoch")):
        curves = list(outcomes.values(cell, method, name).values())
        last = short(float(np.mean([curve[-1] for curve in curves])))
        best = short(float(np.mean([max(curve) for curve in curves])))
        parts.append(f"{label} {last} (oracle {best})")
    return ", ".join(parts)


def seconds(outcomes: Outcomes) -> list[str]:
    """Returns the table of training times."""
    rows = []
    for method in outcomes.methods:
        spent = [
            record.results["seconds"]
            for run, record in outcomes.records.items()
            if run.method == method
        ]
        rows.append([method.name, f"{np.median(spent):.1f}", f"{max(spent):.1f}"])
    return [
        "## Seconds",
        "Training of one run. Methods on frozen features read what was computed "
        "before; the others compute their own in this time.",
        table(["method", "median", "longest"], rows),
    ]


def without_result(outcomes: Outcomes) -> list[str]:
    """Lists the runs that failed, were not possible, or have not been run."""
    other = [
        run
        for run in outcomes.missing
        if run not in outcomes.failed and run not in outcomes.not_possible
    ]
    sections = []
    for title, reasons in (
        ("Failed", outcomes.failed),
        ("Not possible", outcomes.not_possible),
        ("Not run yet", dict.fromkeys(other, "")),
    ):
        if reasons:
            sections += [f"## {title}", _listed(reasons, outcomes)]
    return sections


def _listed(reasons: dict[Run, str], outcomes: Outcomes) -> str:
    """Lists runs, those with one reason in one line."""
    grouped: dict[tuple[str, str], dict[str, list[int]]] = {}
    for run, reason in reasons.items():
        cells = grouped.setdefault((run.method.name, reason), {})
        cells.setdefault(name_cell(run.cell, outcomes), []).append(run.seed)
    lines = []
    for (method, reason), cells in grouped.items():
        where = "; ".join(
            f"{cell} (seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))})"
            for cell, seeds in cells.items()
        )
        lines.append(f"- {method}: {where}" + (f": {reason}" if reason else ""))
    return "\n".join(lines)


def _egan_tables(
    outcomes: Outcomes, entry: Callable[[Outcomes, Cell, Method], str]
) -> list[str]:
    """Returns a table, below its title, of each task that an eGAN has run in."""
    egans, sections = _egans(outcomes), []
    for title, cells in by_task(outcomes):
        if any(outcomes.mean(cell, m) is not None for cell in cells for m in egans):
            sections += [
                f"### {escaped(title)}",
                cell_table(outcomes, cells, entry, egans),
            ]
    return sections


def _egans(outcomes: Outcomes) -> list[Method]:
    return [method for method in outcomes.methods if not method.is_baseline]
