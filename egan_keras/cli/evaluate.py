"""`egan-keras evaluate`: a run's model on labelled images."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from egan_keras import logs
from egan_keras.cli import options, runs
from egan_keras.text import printable

if TYPE_CHECKING:
    from egan_keras.data import LabelledImages

_DESCRIPTION = """\
Report on the model of a run, on a split of a folder of images.

On the folder that the run was trained on, the split holds the very images that it held
then; files added since are not among them. Another folder is split by the run's own
seed, and must hold the run's classes.
"""
_EPILOG = """\
Figures of the train and validation splits flatter the model: it was trained and
calibrated on them.

Example:
  egan-keras evaluate runs/a --data images --prevalence 0.001 --json report.json
"""
_SPLITS = ("test", "validation", "train")


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
        help="folder of images, as for `train`",
    )
    group.add_argument(
        "--split",
        choices=_SPLITS,
        default="test",
        help="which images of it (default: %(default)s)",
    )
    options.add_skip_option(group)
    group = parser.add_argument_group("report")
    options.add_prevalence_option(group, "as in training")
    group.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        help="also write the report as JSON; replaces the file",
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

    images = load_split(
        config,
        arguments.data,
        arguments.split,
        skip_unreadable=arguments.skip_unreadable,
    )
    logs.tell(f"Scoring {len(images):,} {arguments.split} images")
    prevalence = arguments.prevalence or config.options["prevalence"]
    report = evaluation.evaluate(
        model,
        images.images,
        images.labels,
        prevalence=prevalence,
        extra=config.report_values() | {"split": arguments.split},
    )
    print(f"{arguments.split} split: {report}")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        report.save(arguments.json)
        print(f"\nWritten: {printable(arguments.json)}")
    return 0


def load_split(
    config: runs.RunConfig, root: Path, split: str, *, skip_unreadable: bool = False
) -> "LabelledImages":
    """Loads a split as the run had it, or that of another folder.

    Args:
        config: of the run.
        root: the folder of images.
        split: `train`, `validation` or `test`.
        skip_unreadable: leave out files that cannot be read instead of stopping.

    Raises:
        ValueError: if the split is empty, a file cannot be read, or images to judge
            by are among those that the run was trained on.
        FileNotFoundError: if there is no such folder.
    """
    named = config.files[split]
    same_folder = str(root.resolve()) == config.options["data"]
    files = [root / path for paths in named.values() for path in paths]
    if files and same_folder and all(path.is_file() for path in files):
        images = _read_named(config, root, named, skip_unreadable)
    else:
        images = _load_anew(config, root, split, skip_unreadable)
    if not len(images):
        raise ValueError(
            f"The {split} split holds no image; expected one or more. Received: "
            f"split={split!r} of {str(root)!r}. Choose another with --split."
        )
    return images


def _read_named(
    config: runs.RunConfig,
    root: Path,
    named: dict[str, list[str]],
    skip_unreadable: bool,
) -> "LabelledImages":
    """Reads the files that the run's configuration names."""
    import numpy as np

    from egan_keras import data  # slow to import
    from egan_keras.data.images import decodable

    class_of = {root / path: name for name in named for path in named[name]}
    kept, skipped = list(class_of), []
    if skip_unreadable:
        kept, skipped = decodable(kept)
    images = data.ImageFiles(kept, tuple(config.image_shape[:2]))
    class_names = tuple(class_of[path] for path in kept)
    is_minority = [name in config.options["minority"] for name in class_names]
    return data.LabelledImages(
        images=images,
        labels=np.array(is_minority, np.int32),
        paths=tuple(map(str, kept)),
        class_names=class_names,
        skipped=tuple(map(str, skipped)),
    )


def _load_anew(
    config: runs.RunConfig, root: Path, split: str, skip_unreadable: bool
) -> "LabelledImages":
    """Splits a folder by the run's seed, without what the run was trained on."""
    from egan_keras import data  # slow to import

    names = ("majority", "minority", "seed", "validation_fraction", "test_fraction")
    chosen = {name: config.options[name] for name in names}
    if split == "test":
        # The test split does not depend on it, and so few others are decoded.
        chosen["minority_count"] = 1
    else:
        chosen["minority_count"] = config.options["minority_count"]
        chosen["ratio"] = config.options["ratio"]
    splits = data.load_folder(
        root,
        image_size=tuple(config.image_shape[:2]),
        skip_unreadable=skip_unreadable,
        lazy=True,
        **chosen,
    )
    images = getattr(splits, split)
    if split != "train":
        _check_unseen(config, root, split, images)
    return images


def _check_unseen(
    config: runs.RunConfig, root: Path, split: str, images: "LabelledImages"
) -> None:
    """Refuses to judge by images that the run was trained on."""
    paths = {Path(path).relative_to(root).as_posix() for path in images.paths}
    trained_on = {path for files in config.files["train"].values() for path in files}
    seen = sorted(paths & trained_on)
    if seen:
        raise ValueError(
            f"{len(seen)} of the {len(paths)} images of the {split} split have the "
            "path of an image that the run was trained on, so they cannot judge it; "
            f"expected none. Received: {', '.join(seen[:3])}"
            f"{', ...' if len(seen) > 3 else ''} below {str(root)!r}, which differs "
            "from the folder at the time of training. Put the images to judge by below "
            "ROOT/test/CLASS and others below ROOT/train/CLASS."
        )
