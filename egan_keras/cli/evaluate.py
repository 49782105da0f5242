"""Report on the model of a run, on images of a folder.

On the folder that the run was trained on these are the files of its test split.
On another one they are all images of the run's classes, in ROOT/CLASS,
ROOT/test/CLASS and the like, but for those that the run was trained or
calibrated on.

Examples:
  egan-keras evaluate runs/a --data images --prevalence 0.001 --json report.json
  egan-keras evaluate runs/a --data new_batch --html new_batch.html
  egan-keras evaluate runs/a --data new_batch --labels new_batch/labels.csv
"""

import dataclasses
from pathlib import Path
from typing import Any, Literal

from egan_keras import cli, logs
from egan_keras.cli import options, rooms, run_results, runs
from egan_keras.cli.options import option
from egan_keras.cli.run_images import ALL, load_images
from egan_keras.text import printable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.LabelledOptions):
    """All options of `evaluate`.

    Attributes:
        folder: folder written by `train`
        data: the run's folder of images, or another one with folders of its classes
        html: also write the report as a page, with a slider for the threshold, and
            mistakes; replaces the file
        json: also write the report as JSON; replaces the file
        split: which images: a split of the run's folder (figures of train and
            validation flatter), or all that the run has not seen (default: test; of
            another folder, all)
    Images:
        labels: CSV file in place of folders of classes, as for train (default: the
            run's own, if there is one)
    """

    folder: Path = option(flag="", metavar="RUN")
    data: Path = option(metavar="ROOT")
    split: Literal["test", "validation", "train", "all"] | None = None
    json: Path | None = option(None, metavar="FILE")
    html: Path | None = option(None, metavar="FILE")


def run(given: Options) -> int:
    """Evaluates as the options say."""
    config = runs.RunConfig.load(given.folder)
    for name, path in (("--json", given.json), ("--html", given.html)):
        if path is not None:
            options.check_file(name, path)
    model = runs.load_model(given.folder)
    chosen = load_images(
        config, given.data, given.split, **options.some(given, options.READING)
    )
    for note in chosen.notes:
        print(note)
    cli.tell_passed_over(chosen.images.passed_over)
    cli.tell_files(cli.SKIPPED, chosen.images.skipped)
    logs.tell(f"Scoring {len(chosen.images):,} images")
    report = rooms.evaluation.evaluate(
        model,
        chosen.images.images,
        chosen.images.labels,
        prevalence=given.prevalence or config.options["prevalence"],
        groups=chosen.images.groups or None,
        extra=config.report_values(split=chosen.split, **chosen.counts),
    )
    what = "All images" if chosen.split == ALL else f"{chosen.split} split"
    print(f"{what}: {report}")
    for path in filter(None, (given.json, given.html)):
        path.parent.mkdir(parents=True, exist_ok=True)
    if given.json is not None:
        report.save(given.json)
        print(f"\nWritten: {printable(given.json)}")
    if given.html is not None:
        logs.tell("Writing the page")
        notes = [*chosen.notes, *run_results.left_out(chosen.images)]
        told = {"config": config, "model": model, "notes": notes}
        run_results.save_page(given.html, given.folder, report, chosen.images, **told)
        print(f"\nWritten: {printable(given.html)}")
    cli.tell_next(*_next(given, report, chosen.split), page=given.html)
    return 0


def _next(given: Options, report: Any, split: str) -> list[object]:
    """Returns the command that the report asks for, else that exports the run."""
    if "specificity_shortfall_p" in report:
        # Of the run's own images the threshold has seen those it may be set on.
        again = ["calibrate", given.folder, "--data", given.data]
        return again if split == ALL else []
    if report["threshold_criterion"] == "uncalibrated":
        return ["calibrate", given.folder]
    return cli.export_words(given.folder)
