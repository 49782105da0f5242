"""The files of a comparison: two CSV files, plots, a report in Markdown and a page."""

import functools
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from egan_keras.evaluation.style import NONE, PAGE, short, table, without_failing
from egan_keras.experiments.comparison_page import draw_all, make_page
from egan_keras.experiments.grid import REFERENCE, Run
from egan_keras.experiments.outcomes import (
    CELL_COLUMNS,
    CONFIDENCE,
    LAST_EPOCHS,
    RUN_COLUMNS,
    SPECIFICITY,
    Outcomes,
    by_cell,
    by_method,
)
from egan_keras.files import write_atomically, write_text
from egan_keras.text import for_markdown, printable

_SUMMARY = """\
## Summary

AUROC is that of the test split. A mean over cells gives each cell the same weight; ±
is the standard deviation over seeds. The best baseline of a cell is the one with the
highest mean AUROC in that cell, so it is chosen with knowledge of the test split, to
the baselines' advantage. Gaps are a method's mean AUROC less that.
The lead is the mean of default's AUROC less the method's over all pairs of cell and
seed, with a 95% bootstrap interval that draws cells as a whole; above 0, default is
better. Of a handful of cells the interval is too narrow."""
_AUROC = """\
## AUROC

Mean ± standard deviation over seeds, by the number of minority training images; the \
best in bold."""
_CALIBRATED = """\
## At the calibrated threshold

F1 / sensitivity / specificity on the test split, means over seeds. The threshold is \
set for a specificity of {:g} on validation majority images alone, guaranteed with \
{:.0%} confidence{}. The best F1 is in bold. F1 depends on the share of minority \
images in the test split."""
_NO_GUARANTEE = """\
; in {} there are too few of them for a guarantee, and the plain quantile is taken"""
_AT_ZERO = """\
## At threshold 0

Sensitivity / specificity of eGAN without calibration, means over seeds."""
_STABILITY = """\
## Stability

Means over cells and runs. Every other table judges the model after its last epoch. \
The oracle number takes, in each run, the epoch that is best on the test split: no one \
could choose it without the test labels."""
_EPOCHS = """\
## After the last epoch, and at the best one on the test split

AUROC and F1 at threshold 0 of eGAN, means over seeds: after the last epoch, the \
honest number, and in brackets the oracle's, which takes in each run the epoch whose \
number is highest on the test split, as the paper's notebooks do."""
_ON_FEATURES = """\
They are vectors alone: eGAN judges no places and mirrors no minority image, and what \
reads feature maps or pixels is left out."""
_RATES = "{f1_mean} / {sensitivity_mean} / {specificity_mean}"
_RATES_AT_ZERO = "{sensitivity_at_zero_mean} / {specificity_at_zero_mean}"
_LAST_AND_BEST = """\
AUROC {auroc_last_epoch_mean} (oracle {best_epoch_auroc_on_test_mean}), \
F1 {f1_at_zero_last_epoch_mean} (oracle {best_epoch_f1_at_zero_on_test_mean})"""
_SECONDS = """\
## Seconds

Training of one run. Methods on frozen features read what was computed before; the \
others compute their own in this time."""


def write_tables(out: Path, outcomes: Outcomes, *, command: str = "") -> None:
    """Writes all tables and plots of what there is, each file replaced as a whole."""
    runs = outcomes.by_run()
    cells = by_cell(runs)
    files = {"results.csv": runs[RUN_COLUMNS], "cells.csv": cells[CELL_COLUMNS]}
    for name, frame in files.items():
        write = functools.partial(frame.to_csv, index=False, lineterminator="\r\n")
        write_atomically(out / name, write)
    plots = draw_all(out / "plots", runs, cells)
    sections = [_origin(outcomes, runs, command)]
    if len(runs):
        sections += _results(runs, cells, outcomes.marks, plots)
    told = outcomes.failed | outcomes.not_possible
    for title, reasons in {
        "Failed": outcomes.failed,
        "Not possible": outcomes.not_possible,
        "Not run yet": {run: "" for run in outcomes.missing if run not in told},
    }.items():
        if reasons:
            sections += [f"## {title}", _listed(reasons, outcomes.marks)]
    write_text(out / "report.md", "\n\n".join(sections) + "\n")
    with without_failing(f"The page {PAGE}"):
        write_text(out / PAGE, make_page(sections, out))


def _origin(outcomes: Outcomes, runs: pd.DataFrame, command: str) -> str:
    """Says what was run, when, where and with what."""
    records, marks = outcomes.records, outcomes.marks
    text = "# Comparison of methods\n\n"
    text += f"    {printable(command)}\n\n" if command else ""
    text += f"{len(records)} of {len(outcomes.runs)} runs, in "
    text += f"{runs['cell'].nunique()} cells (task, minority count"
    text += ", pairing)." if len(marks) > 1 else ")."
    if not records:
        return text
    made = pd.DataFrame(record._asdict() for record in records.values())
    days = dict.fromkeys([made["finished"].min()[:10], made["finished"].max()[:10]])
    machines = for_markdown("; ".join(sorted(made["machine"].unique())))
    used = pd.DataFrame(list(made["versions"]))
    versions = [f"{n} {' and '.join(sorted(used[n].dropna().unique()))}" for n in used]
    weights = ", ".join(sorted({run.told_weights for run in records}))
    dropped = runs.groupby("task", observed=True)["n_dropped_duplicates"].last()
    dropped = dropped[dropped > 0].items()
    equal = ", ".join(f"{n} of {for_markdown(task)}" for task, n in dropped)
    equal = f"Left out, as equal to another file: {equal}.\n" if equal else ""
    return (
        f"{text} Run {' to '.join(days)} on {machines}.\n"
        f"Versions: {', '.join(versions)}.\n{equal}"
        f"Encoder->discriminator: {', '.join(f'`{n}`{m}' for n, m in marks.items())}; "
        f"weights: {for_markdown(weights)}.{_of_features(outcomes)}"
    )


def _of_features(outcomes: Outcomes) -> str:
    """Says which networks made the features of tasks that have no images."""
    tasks = dict.fromkeys(run.task for run in outcomes.runs if run.task.features)
    by = {task.label: for_markdown(task.features) for task in tasks}
    told = "".join(
        f"\nThe features in {for_markdown(x)} come from {by[x]}." for x in by
    )
    return f"{told}\n{_ON_FEATURES}" if told else ""


def _results(
    runs: pd.DataFrame,
    cells: pd.DataFrame,
    marks: Mapping[str, str],
    plots: Mapping[str, str],
) -> list[str]:
    """Returns the sections of what was measured."""
    sections = [_SUMMARY, _summary(runs, cells)]
    for pairing, own in cells.groupby("pairing", observed=True):
        if marks[pairing]:
            sections.append(f"### {pairing}{marks[pairing]}")
            sections.append(_summary(runs[runs["pairing"] == pairing], own))
    if "gaps" in plots:
        sections.append(f"![Gaps to the best baseline]({plots['gaps']})")
    texts = cells.filter(regex="_mean$").map(short)
    spread = cells["auroc_sd"].map(lambda sd: "" if pd.isna(sd) else f" ± {short(sd)}")
    texts["auroc_mean"] += spread
    for name in ("auroc", "f1"):
        text, is_best = texts[f"{name}_mean"], cells[f"{name}_rank"] == 1
        texts[f"{name}_mean"] = text.mask(is_best, "**" + text + "**")
    egans = texts[~cells["is_baseline"]]
    names = sorted(runs.loc[runs["threshold_confidence"].isna(), "task"].unique())
    without = _NO_GUARANTEE.format(for_markdown(", ".join(names))) if names else ""
    calibrated = _CALIBRATED.format(SPECIFICITY, CONFIDENCE, without)
    seconds = runs.groupby("method", observed=True)["seconds"]
    times = seconds.agg(median="median", longest="max").map("{:.1f}".format)
    for explanation, tables in (
        (_AUROC, _by_task(cells, texts, "{auroc_mean}", plots)),
        (calibrated, _by_task(cells, texts, _RATES, {})),
        (_AT_ZERO, _by_task(cells, egans, _RATES_AT_ZERO, {})),
        (_STABILITY, [_stability(runs, cells)]),
        (_EPOCHS, _by_task(cells, egans, _LAST_AND_BEST, {})),
        (_SECONDS, [_of_methods(times)]),
    ):
        sections += [explanation, *tables] if tables else []
    return sections


def _of_methods(shown: pd.DataFrame) -> str:
    """Returns a table of texts whose index is methods."""
    rows = shown.to_dict("records")
    names = shown.index.map(for_markdown)
    return table([{"method": n} | row for n, row in zip(names, rows, strict=True)])


def _by_task(
    cells: pd.DataFrame, texts: pd.DataFrame, template: str, plots: Mapping[str, str]
) -> list[str]:
    """Returns tables of methods by minority counts, with what a template shows.

    There is one for each task and pairing, with its plot below it; `texts` are the
    numbers of those rows of `cells` that are to be shown.
    """
    sections = []
    written = [template.format_map(row) for row in texts.to_dict("records")]
    shown = cells.assign(text=pd.Series(written, texts.index, object))
    for title, own in shown.groupby("title", sort=False):
        wide = own.pivot(index="method", columns="minority_count", values="text")
        wide = wide.dropna(how="all").sort_index().fillna(NONE)
        if len(wide):
            sections += [f"### {for_markdown(title)}", _of_methods(wide)]
        if title in plots:
            sections.append(f"![AUROC of {for_markdown(title)}]({plots[title]})")
    return sections


def _summary(runs: pd.DataFrame, cells: pd.DataFrame) -> str:
    """Returns the table of methods over some cells."""
    n_cells, rows = cells["cell"].nunique(), []
    for method in by_method(runs, cells).itertuples():
        part = f" (in {method.n_cells} of {n_cells} cells)"
        worst, interval = f", {for_markdown(method.worst_cell)}", ""
        if pd.notna(method.low):
            interval = f" [{short(method.low, '+')}, {short(method.high, '+')}]"
        row = {
            "method": for_markdown(method.Index) + part * (method.n_cells < n_cells),
            "AUROC": short(method.auroc),
            "rank": f"{method.rank:.1f}",
            "gap": short(method.gap, "+"),
            "worst gap": short(method.worst_gap, "+") + worst * pd.notna(method.gap),
            "best in": f"{method.n_best} of {method.n_cells}",
        }
        if REFERENCE in set(runs["method"]):
            row[f"{REFERENCE}'s lead"] = short(method.lead, "+") + interval
        rows.append(row)
    return table(rows)


def _stability(runs: pd.DataFrame, cells: pd.DataFrame) -> str:
    """Returns the table of spreads over seeds and over the last epochs."""
    rows = []
    for method, own in runs.groupby("method", observed=True):
        ranges, diverged = own["auroc_range_last_epochs"], own["diverged"].dropna()
        deviations = cells.loc[cells["method"] == method, "auroc_sd"]
        epochs = f"range over last {LAST_EPOCHS} epochs (worst run)"
        row = {
            "method": for_markdown(method),
            "sd over seeds (worst cell)": _mean_and_highest(deviations),
            epochs: _mean_and_highest(ranges),
            "AUROC after last epoch": short(own["auroc_last_epoch"].mean()),
            "oracle: best epoch on test": short(own["best_epoch_auroc_on_test"].mean()),
            "diverged": f"{sum(diverged)} of {len(own)}" if len(diverged) else NONE,
        }
        rows.append(row)
    return table(rows)


def _mean_and_highest(values: pd.Series) -> str:
    highest = "" if values.isna().all() else f" ({short(values.max())})"
    return short(values.mean()) + highest


def _listed(reasons: Mapping[Run, str], marks: Mapping[str, str]) -> str:
    """Lists runs, those with one reason in one line."""
    rows = [
        (run.method.name, reason, f"{run.cell}{marks[str(run.pairing)]}", str(run.seed))
        for run, reason in reasons.items()
    ]
    runs = pd.DataFrame(rows, columns=["method", "reason", "cell", "seed"])
    texts = []
    for (method, reason), own in runs.groupby(["method", "reason"], sort=False):
        where = [
            f"{for_markdown(cell)} (seed{'s' * (len(seeds) > 1)} {', '.join(seeds)})"
            for cell, seeds in own.groupby("cell", sort=False)["seed"]
        ]
        why = f": {for_markdown(reason)}" if reason else ""
        texts.append(f"- {for_markdown(method)}: {'; '.join(where)}{why}")
    return "\n".join(texts)
