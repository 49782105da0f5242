"""The report of a comparison: what was run, the summary, then table by table."""

from collections.abc import Mapping, Sequence
from typing import Any

from egan_keras.experiments import report_details
from egan_keras.experiments.grid import Cell, describe_weights
from egan_keras.experiments.layout import by_task, cell_table, mark, name_cell
from egan_keras.experiments.markdown import (
    NONE,
    bold,
    escaped,
    short,
    signed,
    spread,
    table,
)
from egan_keras.experiments.methods import REFERENCE, Method
from egan_keras.experiments.outcomes import Outcomes, Summary

_RULES = """\
AUROC is that of the test split. A mean over cells gives each cell the same weight; ±
is the standard deviation over seeds. The best baseline of a cell is the one with the
highest mean AUROC in that cell, so it is chosen with knowledge of the test split, to
the baselines' advantage. Gaps are a method's mean AUROC less that.
"""
_LEAD = """\
The lead is the mean of default's AUROC less the method's over all pairs of cell and
seed, with a 95% bootstrap interval that draws cells as a whole; above 0, default is
better. Of a handful of cells the interval is too narrow."""


def report_text(outcomes: Outcomes, command: str, plots: Mapping[Any, str]) -> str:
    """Returns the report in Markdown.

    Args:
        outcomes: what was measured.
        command: the command to name.
        plots: paths of the plots from the report's folder, by what they show:
            `"gaps"`, or the task and pairing.
    """
    sections = ["# Comparison of methods", _origin(outcomes, command)]
    if outcomes.records:
        sections += _summaries(outcomes)
        if "gaps" in plots:
            sections.append(f"![Gaps to the best baseline]({plots['gaps']})")
        sections += _auroc_tables(outcomes, plots)
        sections += report_details.operating_points(outcomes)
        sections += report_details.stability(outcomes)
        sections += report_details.last_and_best_epochs(outcomes)
        sections += report_details.seconds(outcomes)
    sections += report_details.without_result(outcomes)
    return "\n\n".join(sections) + "\n"


def _origin(outcomes: Outcomes, command: str) -> str:
    """Says what was run, when, where and with what."""
    records = outcomes.records.values()
    total = len(outcomes.records) + len(outcomes.missing)
    lines = [f"    {command}"] if command else []
    lines.append("")
    lines.append(
        f"{len(outcomes.records)} of {total} runs, in {len(outcomes.cells)} cells "
        f"(task, minority count{', pairing' if len(outcomes.pairings) > 1 else ''})."
    )
    if records:
        days = sorted({record.finished[:10] for record in records})
        machines = sorted({record.machine for record in records})
        lines[-1] += f" Run {' to '.join(sorted({days[0], days[-1]}))}"
        lines[-1] += f" on {'; '.join(machines)}."
        lines.append(f"Versions: {_versions(outcomes)}.")
        pairings = ", ".join(
            f"`{pairing}`{mark(pairing, outcomes)}" for pairing in outcomes.pairings
        )
        weights = ", ".join({describe_weights(run.weights) for run in outcomes.records})
        lines.append(f"Encoder->discriminator: {pairings}; weights: {weights}.")
    return "\n".join(lines).strip("\n")


def _versions(outcomes: Outcomes) -> str:
    """Names every version of every package that results were made with."""
    found: dict[str, set[str]] = {}
    for record in outcomes.records.values():
        for package, version in record.versions.items():
            found.setdefault(package, set()).add(version)
    return ", ".join(f"{name} {' and '.join(sorted(v))}" for name, v in found.items())


def _summaries(outcomes: Outcomes) -> list[str]:
    """Returns the summary over all cells and, of several pairings, that of each."""
    cells = outcomes.cells
    sections = ["## Summary", f"{_RULES}{_LEAD}", _summary_table(outcomes, cells)]
    for pairing in outcomes.pairings if len(outcomes.pairings) > 1 else ():
        own = [cell for cell in cells if cell.pairing == pairing]
        title = f"### {pairing}{mark(pairing, outcomes)}"
        sections += [title, _summary_table(outcomes, own)]
    return sections


def _summary_table(outcomes: Outcomes, cells: Sequence[Cell]) -> str:
    found = [outcomes.summary(method, cells) for method in outcomes.methods]
    head = ["method", "AUROC", "rank", "gap", "worst gap", "best in"]
    rows = [
        _summary_row(summary, len(cells), outcomes)
        for summary in found
        if summary is not None
    ]
    if outcomes.reference():
        head.append(f"{REFERENCE}'s lead")
    return table(head, [row[: len(head)] for row in rows])


def _summary_row(summary: Summary, n_cells: int, outcomes: Outcomes) -> list[str]:
    part = summary.n_cells < n_cells
    name = summary.method.name
    worst = NONE
    if summary.worst_gap:
        gap, cell = summary.worst_gap
        worst = f"{signed(gap)}, {name_cell(cell, outcomes)}"
    lead = signed(summary.lead)
    if summary.interval:
        low, high = map(signed, summary.interval)
        lead += f" [{low}, {high}]"
    return [
        f"{name} (in {summary.n_cells} of {n_cells} cells)" if part else name,
        short(summary.auroc),
        f"{summary.rank:.1f}",
        signed(summary.gap),
        worst,
        f"{summary.n_best} of {summary.n_cells}",
        lead,
    ]


def _auroc_tables(outcomes: Outcomes, plots: Mapping[Any, str]) -> list[str]:
    sections = [
        "## AUROC",
        "Mean ± standard deviation over seeds, by the number of minority training "
        "images; the best in bold.",
    ]
    for title, cells in by_task(outcomes):
        sections += [f"### {escaped(title)}", cell_table(outcomes, cells, _auroc)]
        plot = plots.get((cells[0].task, cells[0].pairing))
        if plot:
            sections.append(f"![AUROC of {escaped(title)}]({plot})")
    return sections


def _auroc(outcomes: Outcomes, cell: Cell, method: Method) -> str:
    mean = outcomes.mean(cell, method)
    text = spread(mean, outcomes.deviation(cell, method, "auroc"))
    return bold(text) if mean == max(outcomes.aurocs(cell).values()) else text
