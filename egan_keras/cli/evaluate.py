"""Report on the model of a run, on images of a folder.

On the folder that the run was trained on, wherever it is now, these are the very files
that the split held then; it counts which of them are gone or have other contents, and
which files are new. On another folder they are all images of the run's classes, in
ROOT/CLASS, ROOT/test/CLASS and the like, but for those that the run was trained or
calibrated on, which are known by their contents.

Figures of the train and validation splits flatter the model: it was trained and
calibrated on them.

Examples:
  egan-keras evaluate runs/a --data images --prevalence 0.001 --json report.json
  egan-keras evaluate runs/a --data new_batch
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from egan_keras import cli, logs
from egan_keras.cli import options, rooms, run_page, runs
from egan_keras.cli.options import option
from egan_keras.text import first_few, printable

ALL = "all"
_NAMED = 3


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
    names = ("split", "gray_range", "skip_unreadable", "duplicates")
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


@dataclasses.dataclass(frozen=True)
class RunImages:
    """Images to judge a run's model on."""

    split: str  # of their folder
    images: Any  # with labels
    counts: dict[str, int]  # of files, for the report, in place of training's
    notes: list[str]  # sentences that say so

    def report_values(self, config: runs.RunConfig) -> dict[str, Any]:
        """Returns what the report tells of the run and of these files."""
        return config.report_values(split=self.split, **self.counts)


def load_images(
    config: runs.RunConfig,
    root: Path,
    split: str | None = None,
    *,
    own_split: str = "test",
    gray_range: options.GrayRange | None = None,
    skip_unreadable: bool = False,
    duplicates: str | None = None,
) -> RunImages:
    """Loads the images of a folder to judge a run's model on.

    A folder is the run's own if it is where the run's was, or holds at least half of
    the split's files with the same names and contents. Images that the run was trained
    or calibrated on are neither in `all` nor in the test and validation splits of
    another folder. Without a split it is `own_split` of the run's own folder, and all
    of another. Options that are None are the run's.
    """
    import numpy as np

    if not root.is_dir():
        raise FileNotFoundError(
            "There is no such folder; expected a folder of images. Received: "
            f"data={str(root)!r}. Check the path."
        )
    data, gray_range = rooms.data, gray_range or config.gray_range
    recorded = config.recorded(split if split in config.files else own_split)
    marks = data.lazy.content_hashes([root / path for path in recorded])
    there = {
        path: root / path
        for (path, (_, told)), mark in zip(recorded.items(), marks, strict=True)
        # Of runs of earlier versions the name is all that is known; and if a file
        # cannot be opened, its reader says why.
        if (mark == told if mark and told else (root / path).is_file())
    }
    is_own = str(root.resolve()) == config.options["data"]
    is_own = is_own or 2 * len(there) >= len(recorded) > 0
    split = split or (own_split if is_own else ALL)
    names = (config.options[role] for role in ("majority", "minority"))
    roles = data.ClassRoles.from_names(*map(tuple, names))
    passed_over, notes = Counter(), []
    if is_own and split != ALL:
        class_of, counts, notes = _find_recorded(config, root, split, there)
    else:
        reading = {"gray_range": gray_range, "skip_unreadable": skip_unreadable}
        reading["duplicates"] = duplicates or config.options.get("duplicates")
        found = _find_anew(config, root, split, roles, reading)
        class_of, counts, passed_over = found
        if split != "train":
            class_of = _leave_out_seen(config, root, class_of, counts, notes)
        missing = sorted({*roles.names} - {*class_of.values()})
        if missing:
            notes.append(f"There is no image of {', '.join(map(printable, missing))}.")
    kept, skipped = list(class_of), []
    if skip_unreadable:
        kept, skipped = data.images.decodable(kept, gray_range)
    if "n_skipped" in counts:
        counts["n_skipped"] += len(skipped)
        counts["n_passed_over"] = passed_over.total()
    names = tuple(class_of[path] for path in kept)
    images = data.LabelledImages(
        images=data.ImageFiles(kept, tuple(config.image_shape[:2]), gray_range),
        labels=np.array([roles.label(name) for name in names], np.int32),
        paths=tuple(map(str, kept)),
        class_names=names,
        skipped=tuple(map(str, skipped)),
        passed_over=passed_over,
    )
    return RunImages(split, images, counts, notes)


def _find_recorded(
    config: runs.RunConfig, root: Path, split: str, there: dict[str, Path]
) -> tuple[dict[Path, str], dict[str, int], list[str]]:
    """Finds the files that a split held, as far as their contents are there."""
    recorded, every = config.recorded(split), config.recorded(*config.files)
    missing = [path for path in recorded if path not in there]
    known = {*every, *config.skipped, *config.dropped_duplicates}
    known.update(*config.unused.values())
    # Files may have other names in the folder of their class; two may have exchanged
    # theirs.
    known.difference_update(missing)
    names = (*config.options["majority"], *config.options["minority"])
    places = [
        (name, path)
        for name, paths in rooms.data.list_every_image(root, names).items()
        for path in paths
        if path.relative_to(root).as_posix() not in known
    ]
    marks = rooms.data.lazy.content_hashes([path for _, path in places])
    contents, n_new = {mark for _, mark in every.values()} - {None}, 0
    found: dict[tuple[str, str | None], list[Path]] = {}
    for (name, path), mark in zip(places, marks, strict=True):
        found.setdefault((name, mark), []).append(path)
        n_new += mark not in contents and path.relative_to(root).as_posix() not in every
    there = dict(there)
    for path in missing:
        if recorded[path][1] and found.get(recorded[path]):
            there[path] = found[recorded[path]].pop()
    missing = [path for path in missing if path not in there]
    changed = [path for path in missing if (root / path).exists()]
    gone = [path for path in missing if not (root / path).exists()]
    if not there:
        raise ValueError(
            f"The {split} split holds no image; expected some of the {len(recorded)} "
            f"that the run had. Received: {str(root)!r}, where {len(gone)} are gone, "
            f"{len(changed)} have other contents and {n_new} are new. Choose another "
            "split, or --split all to judge what is there now."
        )
    notes = []
    if missing:
        fates = ((gone, "are gone"), (changed, "have other contents"))
        said = " and ".join(f"{_named(paths)} {fate}" for paths, fate in fates if paths)
        notes.append(f"Of the {len(recorded)} files of the {split} split {said}.")
    if n_new:
        notes.append(
            f"{n_new} images below {printable(root)} are new to the run and not "
            "judged; --split all judges them, too."
        )
    class_of = {there[path]: recorded[path][0] for path in recorded if path in there}
    counts = {"n_gone": len(gone), "n_changed": len(changed), "n_new": n_new}
    return class_of, counts, notes


def _find_anew(
    config: runs.RunConfig, root: Path, split: str, roles: Any, reading: dict[str, Any]
) -> tuple[dict[Path, str], dict[str, int], Counter[str]]:
    """Finds the class of every image, or of those of a split by the run's seed."""
    data = rooms.data
    if split == ALL:
        found = data.list_every_image(root, roles.names)
        pool = {name: found.get(name, []) for name in roles.names}
        listing = data.splits.Listing(pool, None, None, Counter())
        equal = data.splits.Duplicates(listing, roles, reading["duplicates"])
        rules = data.splits.SplitRules(validation_fraction=0.0, test_fraction=0.0)
        counts = {"n_duplicates": equal.n_later, "n_skipped": 0}
        counts["n_dropped_duplicates"] = len(equal.dropped)
        passed_over = sum((each.passed_over for each in found.values()), Counter())
        return dict(equal.divide(rules).train), counts, passed_over
    names = "majority minority minority_count ratio seed validation_fraction"
    chosen = {name: config.options[name] for name in [*names.split(), "test_fraction"]}
    if split == "test":
        # The test split does not depend on it, and so few others are looked at.
        chosen |= {"minority_count": 1, "ratio": None}
    chosen |= {"image_size": tuple(config.image_shape[:2]), "lazy": True, **reading}
    images = getattr(data.load_folder(root, **chosen), split)
    class_of = dict(zip(map(Path, images.paths), images.class_names, strict=True))
    counted = ("duplicates", "dropped_duplicates", "skipped")
    counts = {f"n_{name}": len(getattr(images, name)) for name in counted}
    return class_of, counts, Counter(images.passed_over)


def _leave_out_seen(
    config: runs.RunConfig,
    root: Path,
    class_of: dict[Path, str],
    counts: dict[str, int],
    notes: list[str],
) -> dict[Path, str]:
    """Leaves out, counts and tells what the run was trained or calibrated on."""
    recorded = config.recorded("train", "validation")
    contents = {mark for _, mark in recorded.values()} - {None}
    # Of earlier versions' runs the name is all that is known.
    names = {path for path, (_, mark) in recorded.items() if mark is None}
    marks = rooms.data.lazy.content_hashes([*class_of])
    seen = [
        path
        for path, mark in zip(class_of, marks, strict=True)
        if mark in contents or path.relative_to(root).as_posix() in names
    ]
    left = {path: name for path, name in class_of.items() if path not in {*seen}}
    counts["n_seen"] = len(seen)
    if not left:
        raise ValueError(
            "No image is left to judge by; expected some that the run was not trained "
            f"or calibrated on. Received: {len(class_of)} images of {str(root)!r}, "
            f"{len(seen)} of which it was. Name a folder of other images."
        )
    if seen:
        notes.append(
            f"{_named(sorted(seen))} of {len(class_of)} images are left out: the run "
            "was trained or calibrated on them."
        )
    return left


def _named(paths: Sequence[object]) -> str:
    """Returns how many files there are, and the names of some."""
    return f"{len(paths)} ({first_few(paths, _NAMED)})"
