"""`egan-keras evaluate`: a run's model on labelled images."""

import argparse
from pathlib import Path

from egan_keras import logs
from egan_keras.cli import options, runs
from egan_keras.text import printable

_DESCRIPTION = """\
Report on the model of a run, on images of a folder.

On the folder that the run was trained on, wherever it is now, these are the very files
that the split held then; it counts which of them are gone or have other contents, and
which files are new. On another folder they are all images of the run's classes, in
ROOT/CLASS, ROOT/test/CLASS and the like, but for those that the run was trained or
calibrated on, which are known by their contents.
"""
_EPILOG = """\
Figures of the train and validation splits flatter the model: it was trained and
calibrated on them.

Examples:
  egan-keras evaluate runs/a --data images --prevalence 0.001 --json report.json
  egan-keras evaluate runs/a --data new_batch
"""
_SPLITS = ("test", "validation", "train", "all")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="report on a run's model",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=options.HelpFormatter,
    )
    parser.add_argument(
        "folder", metavar="RUN", type=Path, help="folder written by `train`"
    )
    group = parser.add_argument_group("images")
    group.add_argument(
        "--data",
        metavar="ROOT",
        type=Path,
        required=True,
        help="the run's folder of images, or another one with folders of its classes",
    )
    group.add_argument(
        "--split",
        choices=_SPLITS,
        help="which images of it: a split of the run's own folder, or all but those "
        "that the run was trained or calibrated on; of another folder, a split is made "
        "by the run's seed (default: test of the run's own folder, all of another)",
    )
    options.add_gray_range_option(group, "the run's")
    options.add_duplicates_option(group)
    options.add_skip_option(group)
    group = parser.add_argument_group("report")
    options.add_prevalence_option(group, "as in training")
    group.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        help="also write the report as JSON, with n_gone, n_changed and n_new files of "
        "the split, or n_seen ones left out, if there are any; replaces the file",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluates as the options say.

    Returns:
        The exit code 0.

    Raises:
        ValueError: if run or images cannot be used.
        FileNotFoundError: if the run or the images do not exist.
    """
    config = runs.RunConfig.load(arguments.folder)
    if arguments.json is not None:
        options.check_file("--json", arguments.json)
    model = runs.load_model(arguments.folder)

    from egan_keras import evaluation  # slow to import
    from egan_keras.cli.run_images import load_images

    chosen = load_images(
        config,
        arguments.data,
        arguments.split,
        gray_range=arguments.gray_range,
        skip_unreadable=arguments.skip_unreadable,
        duplicates=arguments.duplicates,
    )
    for note in chosen.notes:
        print(note)
    runs.tell_passed_over(chosen.images.passed_over)
    runs.tell_files(runs.SKIPPED, chosen.images.skipped)
    logs.tell(f"Scoring {len(chosen.images):,} images")
    prevalence = arguments.prevalence or config.options["prevalence"]
    report = evaluation.evaluate(
        model,
        chosen.images.images,
        chosen.images.labels,
        prevalence=prevalence,
        extra=chosen.report_values(config),
    )
    what = "All images" if chosen.split == "all" else f"{chosen.split} split"
    print(f"{what}: {report}")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        report.save(arguments.json)
        print(f"\nWritten: {printable(arguments.json)}")
    return 0
