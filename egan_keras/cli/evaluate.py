"""Report on the model of a run, on images of a folder.

On the folder that the run was trained on, wherever it is now, these are the very files
that the split held then; it counts which of them are gone or have other contents, and
which files are new. On another folder they are all images of the run's classes, in
ROOT/CLASS, ROOT/test/CLASS and the like, but for those that the run was trained or
calibrated on, which are known by their contents. --labels judges the images of another
table; the run's own is found where it was, or at the same place below ROOT.

Figures of the train and validation splits flatter the model: it was trained and
calibrated on them.

Examples:
  egan-keras evaluate runs/a --data images --prevalence 0.001 --json report.json
  egan-keras evaluate runs/a --data new_batch
  egan-keras evaluate runs/a --data new_batch --labels new_batch/labels.csv
"""

import dataclasses
from pathlib import Path
from typing import Literal

from egan_keras import cli, logs
from egan_keras.cli import options, rooms, run_page, runs
from egan_keras.cli.options import option
from egan_keras.cli.run_images import ALL, load_images
from egan_keras.text import printable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.LabelledOptions):
    """All options of `evaluate`.

    Attributes:
        folder: folder written by `train`
    Images:
        data: the run's folder of images, or another one with folders of its classes
        split: which images of it: a split of the run's own folder, or all but those
            that the run was trained or calibrated on; of another folder, a split is
            made by the run's seed (default: test of the run's own folder, all of
            another)
    Report:
        json: also write the report as JSON, with n_gone, n_changed and n_new files of
            the split, or n_seen ones left out, if there are any; replaces the file
        html: also write the report as a page, with a slider for the threshold, mistakes
            and what else tells the classes apart; replaces the file
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
    names = "split labels groups gray_range skip_unreadable duplicates".split()
    reading = {name: getattr(given, name) for name in names}
    chosen = load_images(config, given.data, **reading)
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
        extra=chosen.report_values(config),
    )
    what = "All images" if chosen.split == ALL else f"{chosen.split} split"
    print(f"{what}: {report}")
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        report.save(given.json)
        print(f"\nWritten: {printable(given.json)}")
    if given.html is not None:
        given.html.parent.mkdir(parents=True, exist_ok=True)
        logs.tell("Writing the page")
        notes = [*chosen.notes, *run_page.left_out(chosen.images)]
        judged = {"config": config, "model": model, "notes": notes}
        shown = (given.html, given.folder, report, chosen.images)
        run_page.save_page(*shown, **judged)
        print(f"\nWritten: {printable(given.html)}")
    return 0
