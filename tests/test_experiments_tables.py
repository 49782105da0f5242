import csv
import re
from pathlib import Path

import numpy as np
import pytest

from egan_keras.experiments import Outcomes, comparison_page, make_grid
from egan_keras.experiments.comparison_page import plot_aurocs, plot_gaps
from egan_keras.experiments.comparison_report import write_tables
from egan_keras.experiments.outcomes import (
    Record,
    by_cell,
    by_method,
    clustered_interval,
)

pytestmark = pytest.mark.whole

A, B = "MobileNet:alpha=0.25", "MobileNetV2:alpha=0.35"

# AUROC by method, count and seed.
AUROCS = {
    "default": {1: (0.80, 0.90), 5: (0.97, 0.95)},
    "no fakes": {1: (0.60, 0.70), 5: (0.90, 0.90)},
    "class means": {1: (0.85, 0.75), 5: (0.90, 0.92)},
    "isolation forest": {1: (0.90, 0.90), 5: (0.80, 0.82)},
    "logistic regression": {5: (0.99, 0.99)},
}


def grid(pairings=(B,), folders=("tiles",)):
    task = {"majority": ["good"], "minority": ["bad"], "counts": [1, 5]}
    values = {
        "task": [task | {"data": folder} for folder in folders],
        "variant": [{"name": "no fakes", "choices": {"real_minority": 1e12}}],
        "seeds": 2,
        "methods": list(AUROCS),
        "pairings": pairings,
    }
    return make_grid(values, Path(), {})


def results(auroc, is_egan):
    shared = ("average_precision", "f1", "sensitivity", "specificity")
    values = {"auroc": auroc, **dict.fromkeys(shared, auroc), "seconds": 2.0}
    values |= {"threshold": 0.0, "threshold_confidence": None}
    if is_egan:
        by_epoch = [0.99, 0.1, *[auroc - 0.02] * 4, auroc]
        values |= {"auroc_by_epoch": by_epoch, "diverged": False}
        values |= {"f1_at_zero_by_epoch": [0.25, 0.75, 0.5]}
        values |= {"sensitivity_at_zero": 0.5, "specificity_at_zero": 0.25}
    return values


@pytest.fixture
def make():
    def outcomes(of=None):
        of, found = of or grid(), Outcomes()
        for run in of.runs(dict.fromkeys(of.tasks, "files")):
            aurocs = AUROCS[run.method.name].get(run.count)
            record = None
            if aurocs:
                measured = results(aurocs[run.seed], not run.method.is_baseline)
                record = Record(measured, {"keras": "3"}, "a machine", "2026-01-02T03")
            found.runs[run] = record
        return found

    return outcomes


@pytest.fixture
def summaries(make):
    runs = make().by_run()
    return by_method(runs, by_cell(runs)).T


def read(folder):
    """Returns the report, without the spaces that align columns."""
    return re.sub(" +", " ", (folder / "report.md").read_text("utf-8"))


def test_the_best_baseline_is_that_of_each_cell(make, summaries):
    cells = by_cell(make().by_run()).drop_duplicates("cell")
    assert list(cells["best_baseline"]) == ["isolation forest", "logistic regression"]
    default = summaries["default"]
    assert default["gap"] == pytest.approx(((0.85 - 0.9) + (0.96 - 0.99)) / 2)
    assert default["worst_gap"] == pytest.approx(-0.05)
    assert default["worst_cell"] == "tiles good/bad 1"
    assert summaries["isolation forest"]["worst_gap"] == pytest.approx(0.81 - 0.99)


def test_ranks_and_means_are_over_a_methods_own_cells(summaries):
    assert [summaries[name]["rank"] for name in AUROCS] == [2, 4, 3, 3, 1]
    assert [summaries[name]["n_best"] for name in AUROCS] == [0, 0, 0, 1, 1]
    assert summaries["logistic regression"]["n_cells"] == 1
    assert summaries["logistic regression"]["auroc"] == pytest.approx(0.99)
    assert summaries["default"]["auroc"] == pytest.approx((0.85 + 0.96) / 2)


def test_leads_are_paired_by_cell_and_seed(summaries):
    assert np.isnan(summaries["default"]["lead"])
    lead, low, high = summaries["class means"][["lead", "low", "high"]]
    assert lead == pytest.approx((-0.05 + 0.15 + 0.07 + 0.03) / 4)
    assert low == pytest.approx(0.05) and high == pytest.approx(0.05)
    assert np.isnan(summaries["logistic regression"]["low"])


def test_the_interval_draws_cells_as_a_whole():
    random = np.random.default_rng(1)
    cells = random.normal(0.1, 1, 40)
    # Five equal values a cell tell no more than one.
    five = clustered_interval(5 * cells, np.full(40, 5))
    assert five == pytest.approx(clustered_interval(cells, np.ones(40)))
    expected = cells.mean() + np.array([-1.96, 1.96]) * cells.std() / np.sqrt(40)
    assert five == pytest.approx(expected, abs=0.05)


def test_the_report_tells_what_the_tables_hold(make, tmp_path):
    outcomes = make()
    write_tables(tmp_path, outcomes, command="egan-keras compare")
    text = read(tmp_path)
    for expected in (
        "\n egan-keras compare\n",
        "18 of 20 runs, in 2 cells (task, minority count). Run 2026-01-02 on a machine",
        "| logistic regression (in 1 of 2 cells) | .990 | 1.0 |",
        "| default | .905 | 2.0 | -.040 | -.050, tiles good/bad 1 | 0 of 2 | – |",
        "| isolation forest | **.900 ± .000** | .810 ± .014 |",
        "in tiles good/bad there are too few of them for a guarantee",
        "| default | .500 / .250 | .500 / .250 |",
        "| default | .042 (.071) | .020 (.020) | .905 | .990 | 0 of 4 |",
        "| default | AUROC .850 (oracle .990), F1 .500 (oracle .750) | AUROC .960 ",
        "- logistic regression: tiles good/bad 1 (seeds 0, 1)",
        "![AUROC of tiles good/bad](plots/auroc_tiles-good-bad.png)",
    ):
        assert expected in text
    drawn = {path.name for path in (tmp_path / "plots").iterdir()}
    assert drawn == {"gaps.png", "auroc_tiles-good-bad.png"}


def test_methods_keep_their_order_where_one_has_not_run_everywhere(make, tmp_path):
    write_tables(tmp_path, make())
    _, first, *_ = read(tmp_path).split("### tiles good/bad\n")
    assert re.findall(r"^\| ([a-z ]+) \|", first.split("!")[0], re.MULTILINE) == [
        *("method", "default", "no fakes"),
        *("logistic regression", "class means", "isolation forest"),
    ]


def test_failures_are_listed_with_their_reason(make, tmp_path):
    outcomes = make()
    first, second = outcomes.missing
    outcomes.failed[first] = "OSError: disk full"
    outcomes.not_possible[second] = "needs two"
    write_tables(tmp_path, outcomes)
    text = read(tmp_path)
    line = "- logistic regression: tiles good/bad 1 (seed {}): {}\n"
    assert "## Failed\n\n" + line.format(0, "OSError: disk full") in text
    assert "## Not possible\n\n" + line.format(1, "needs two") in text
    assert "Not run yet" not in text


def test_csv_files_have_a_row_for_each_run_and_cell(make, tmp_path):
    write_tables(tmp_path, make())
    runs, cells = (
        list(csv.DictReader((tmp_path / name).open()))
        for name in ("results.csv", "cells.csv")
    )
    assert len(runs) == 18 and len(cells) == 9
    assert runs[0]["best_epoch_auroc_on_test"] == "0.99"
    assert float(runs[0]["auroc_range_last_epochs"]) == pytest.approx(0.02)
    means = next(c for c in cells if c["method"] == "class means")
    assert float(means["auroc_mean"]) == pytest.approx(0.8)
    assert float(means["gap_to_best_baseline"]) == pytest.approx(-0.1)
    assert (means["best_baseline"], means["seeds"]) == ("isolation forest", "2")
    assert means["minority_count"] == "1" and means["pairing"] == f"{B}->{B}"


def test_several_pairings_are_told_apart_by_letters(make, tmp_path):
    outcomes = make(grid([B, f"{A}->{B}"]))
    write_tables(tmp_path, outcomes)
    text = read(tmp_path)
    assert f"`{B}->{B}` (A), `{A}->{B}` (B)" in text
    assert text.count("### tiles good/bad (B)\n") == 4
    assert f"### {A}->{B} (B)" in text
    assert (tmp_path / "plots" / "auroc_tiles-good-bad-B.png").is_file()


def test_names_are_no_markup(make, tmp_path):
    write_tables(tmp_path, make(grid(folders=["a|b <c>_"])))
    text = read(tmp_path)
    assert "### a&#124;b &#60;c&#62;&#95; good/bad\n" in text
    assert "<c>" not in text
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<h3>a|b &lt;c&gt;_ good/bad</h3>" in page and "<c>" not in page
    first, *_ = csv.DictReader((tmp_path / "cells.csv").open())
    assert first["task"] == "a|b <c>_ good/bad"


def test_the_page_holds_the_tables_and_plots(make, tmp_path):
    write_tables(tmp_path, make(), command="egan-keras compare --out <x>")
    page = (tmp_path / "report.html").read_text("utf-8")
    n_tables = len(re.findall(r"^\|:?--", read(tmp_path), re.MULTILINE))
    assert page.count("<table>") == page.count("<caption>") == n_tables > 3
    assert page.count('<img src="data:image/png;base64,') == read(tmp_path).count("![")
    assert "--out &lt;x&gt;" in page and "<strong>" in page and r"\n" not in page
    assert (
        "&amp;#" not in page
        and "**" not in page
        and "http" not in page.replace('http-equiv="Content-Security-Policy"', "")
    )


def test_a_page_names_plots_that_it_has_no_room_for(make, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison_page, "_MOST_BYTES", 0)
    write_tables(tmp_path, make())
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<img" not in page and "see plots/gaps.png, for want of room" in page


def test_tasks_whose_names_make_one_file_name_have_plots_of_their_own(make, tmp_path):
    write_tables(tmp_path, make(grid(folders=["x y", "x-y"])))
    assert len(list((tmp_path / "plots").glob("auroc_*"))) == 2
    shown = re.findall(r"\(plots/(auroc_.*)\)", read(tmp_path))
    assert len(set(shown)) == 2


def test_pairings_without_a_result_have_a_letter(make, tmp_path):
    outcomes = make(grid([B, A, f"{A}->{B}"]))
    for run in outcomes.runs:
        if str(run.pairing) == f"{A}->{A}":
            outcomes.runs[run] = None
    write_tables(tmp_path, outcomes)
    text = read(tmp_path)
    assert f"`{A}->{A}` (B), `{A}->{B}` (C)" in text
    assert "- default: tiles good/bad 1 (B) (seeds 0, 1)" in text


def test_plots_show_every_method_and_cell(make):
    runs = make().by_run()
    cells = by_cell(runs)
    figure = plot_aurocs(cells, "tiles good/bad")
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == [
        *("eGAN, default", "eGAN, no fakes"),
        *("logistic regression", "class means", "isolation forest"),
    ]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.85, 0.96])
    gaps = plot_gaps(runs, cells).axes[0]
    names = [label.get_text() for label in gaps.get_yticklabels()]
    assert names == ["tiles good/bad 1", "tiles good/bad 5"]
    np.testing.assert_allclose(gaps.collections[0].get_offsets()[:, 0], [-0.05, -0.03])


def test_names_in_plots_are_no_formulas(make, recwarn, tmp_path):
    write_tables(tmp_path, make(grid(folders=[r"$\x$"])))
    assert len(list((tmp_path / "plots").iterdir())) == 2
    assert not recwarn


def test_a_plot_that_cannot_be_made_is_left_out(make, monkeypatch, tmp_path):
    monkeypatch.setattr(comparison_page, "_looks", lambda cells: {})
    with pytest.warns(match="auroc_tiles-good-bad.png could not be made"):
        write_tables(tmp_path, make())
    assert "](plots/gaps.png)" in read(tmp_path) and "(plots/a" not in read(tmp_path)


def test_files_left_out_as_duplicates_are_told(make, tmp_path):
    outcomes = make()
    for record in outcomes.records.values():
        record.results.update(n_duplicates=3, n_dropped_duplicates=2)
    write_tables(tmp_path, outcomes)
    assert "\nLeft out, as equal to another file: 2 of tiles good/bad.\n" in read(
        tmp_path
    )
    first, *_ = csv.DictReader((tmp_path / "results.csv").open())
    assert (first["n_duplicates"], first["n_dropped_duplicates"]) == ("3", "2")
