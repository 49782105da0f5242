"""Images to judge a run's model on: its own files wherever they are now, or others."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from egan_keras.cli import options, rooms, runs
from egan_keras.text import first_few, printable

ALL = "all"
_NAMED = 3


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
    labels: Path | None = None,
    groups: str | None = None,
    gray_range: options.GrayRange | None = None,
    skip_unreadable: bool = False,
    duplicates: str | None = None,
) -> RunImages:
    """Loads the images of a folder to judge a run's model on.

    A folder is the run's own if it is where the run's was, or holds at least half of
    the split's files with the same names and contents; with a table of labels, if that
    is the run's own or names these files with their classes. Images that the run was
    trained or calibrated on are neither in `all` nor in the test and validation splits
    of another folder. Without a split it is `own_split` of the run's own folder, and
    all of another. Options that are None are the run's.
    """
    import numpy as np

    if not root.is_dir():
        raise FileNotFoundError(
            "There is no such folder; expected a folder of images. Received: "
            f"data={str(root)!r}. Check the path."
        )
    data, gray_range = rooms.data, gray_range or config.gray_range
    names = (config.options[role] for role in ("majority", "minority"))
    roles = data.ClassRoles.from_names(*map(tuple, names))
    table = labels or _own_labels(config, root)
    own = config.options.get("labels")
    is_own_table = labels is None or str(labels.resolve()) == own
    rule = groups or (_own_groups(config) if is_own_table else None)
    every = _Listed(root, roles.names, table, rule, is_own_table)
    recorded = config.recorded(split if split in config.files else own_split)
    marks = data.lazy.content_hashes([root / path for path in recorded])
    there = {
        path: root / path
        for (path, (name, told)), mark in zip(recorded.items(), marks, strict=True)
        # Of runs of earlier versions the name is all that is known; and if a file
        # cannot be opened, its reader says why.
        if (mark == told if mark and told else (root / path).is_file())
        and (table is None or root / path in every.images.get(name, ()))
    }
    is_own = is_own_table and str(root.resolve()) == config.options["data"]
    is_own = is_own or 2 * len(there) >= len(recorded) > 0
    split = split or (own_split if is_own else ALL)
    passed_over, notes = Counter(), []
    if is_own and split != ALL:
        class_of, counts, notes = _find_recorded(config, root, split, there, every)
        group_of = _recorded_groups(config, root, there, groups)
    else:
        reading = {"gray_range": gray_range, "skip_unreadable": skip_unreadable}
        reading["duplicates"] = duplicates or config.options.get("duplicates")
        found = _find_anew(config, split, roles, every, reading)
        class_of, group_of, counts, passed_over = found
        if split != "train":
            class_of = _leave_out_seen(config, root, class_of, counts, notes)
            _note_seen_groups(config, class_of, group_of, notes)
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
        groups=tuple(group_of[path] for path in kept if group_of),
    )
    return RunImages(split, images, counts, notes)


@dataclasses.dataclass(frozen=True)
class _Listed:
    """All images of a run's classes below a folder, listed when they are asked for."""

    root: Path
    names: tuple[str, ...]
    labels: Path | None
    groups: Any
    # Then files that are gone are counted, else refused.
    is_own_table: bool

    @functools.cached_property
    def listing(self) -> Any:
        source = {"labels": self.labels, "groups": self.groups}
        source["skip_missing"] = self.is_own_table
        return rooms.data.list_all_labelled(self.root, self.names, **source)

    @functools.cached_property
    def images(self) -> dict[str, set[Path]]:
        return {name: set(paths) for name, paths in self.listing.pool.items()}


def _own_labels(config: runs.RunConfig, root: Path) -> Path | None:
    """Returns the run's own table of labels, where it is for this folder, or None."""
    own, data = config.options.get("labels"), Path(config.options["data"])
    if own is None:
        return None
    own = Path(own)
    if own.is_relative_to(data) and (root / own.relative_to(data)).is_file():
        return root / own.relative_to(data)
    # Elsewhere it is no table of another folder, which may have folders of classes.
    is_here = any((root / path).is_file() for path in config.recorded(*config.files))
    return own if own.is_file() and is_here else None


def _own_groups(config: runs.RunConfig) -> Any:
    """Returns what names groups as in training, of other files too; or None."""
    name = rooms.data.groups.group_namer(config.options.get("groups"))
    return name and (lambda path: name(path) or path)


def _recorded_groups(
    config: runs.RunConfig, root: Path, there: dict[str, Path], groups: str | None
) -> dict[Path, str]:
    """Returns the groups of recorded files, by another expression if there is one."""
    if groups is not None:
        name = rooms.data.groups.group_namer(groups)
        return rooms.data.groups.name_groups(there.values(), root, name)
    known = config.group_of(*config.files)
    return {path: known[name] for name, path in there.items() if known}


def _find_recorded(
    config: runs.RunConfig,
    root: Path,
    split: str,
    there: dict[str, Path],
    every_image: _Listed,
) -> tuple[dict[Path, str], dict[str, int], list[str]]:
    """Finds the files that a split held, as far as their contents are there.

    `there`, of those with their names, is added to.
    """
    recorded, every = config.recorded(split), config.recorded(*config.files)
    missing = [path for path in recorded if path not in there]
    known = {*every, *config.skipped, *config.dropped_duplicates}
    known.update(*config.unused.values())
    # Files may have other names in the folder of their class; two may have exchanged
    # theirs.
    known.difference_update(missing)
    notes, own = [], config.options.get("labels")
    if own and not every_image.labels:
        notes.append(
            f"The run's table of labels is gone ({printable(own)}); so nothing is said "
            "of labels that changed and of new images."
        )
    places = [
        (name, path)
        for name, paths in (every_image.listing.pool if not notes else {}).items()
        for path in paths
        if path.relative_to(root).as_posix() not in known
    ]
    marks = rooms.data.lazy.content_hashes([path for _, path in places])
    contents, n_new = {mark for _, mark in every.values()} - {None}, 0
    found: dict[tuple[str, str | None], list[Path]] = {}
    for (name, path), mark in zip(places, marks, strict=True):
        found.setdefault((name, mark), []).append(path)
        n_new += mark not in contents and path.relative_to(root).as_posix() not in every
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
    if missing:
        other = "have other contents" + " or labels" * bool(every_image.labels)
        fates = ((gone, "are gone"), (changed, other))
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
    config: runs.RunConfig,
    split: str,
    roles: Any,
    every: _Listed,
    reading: dict[str, Any],
) -> tuple[dict[Path, str], dict[Path, str], dict[str, int], Counter[str]]:
    """Finds class and group of every image, or of those of a split by the run's seed.

    Groups are empty if none are known.
    """
    data = rooms.data
    if split == ALL:
        listing = every.listing
        equal = data.duplicates.Duplicates(listing, roles, reading["duplicates"])
        rules = data.splits.SplitRules(validation_fraction=0.0, test_fraction=0.0)
        counts = {"n_duplicates": equal.n_later, "n_skipped": 0}
        counts["n_dropped_duplicates"] = len(equal.dropped)
        class_of, group_of = dict(equal.divide(rules).train), listing.groups or {}
        return (
            class_of,
            group_of,
            counts | {"n_near_duplicates": 0},
            listing.all_passed_over,
        )
    names = "majority minority minority_count ratio seed validation_fraction"
    chosen = {name: config.options[name] for name in [*names.split(), "test_fraction"]}
    if split == "test":
        # The test split does not depend on it, and so few others are looked at.
        chosen |= {"minority_count": 1, "ratio": None}
    chosen |= {"image_size": tuple(config.image_shape[:2]), "lazy": True, **reading}
    chosen["groups"] = every.groups
    if every.labels is None:
        splits = data.load_folder(every.root, **chosen)
    else:
        splits = data.load_table(every.root, every.labels, **chosen)
    images = getattr(splits, split)
    paths = list(map(Path, images.paths))
    class_of = dict(zip(paths, images.class_names, strict=True))
    group_of = dict(zip(paths, images.groups, strict=False))
    counted = "duplicates dropped_duplicates near_duplicates skipped".split()
    counts = {f"n_{name}": len(getattr(images, name)) for name in counted}
    return class_of, group_of, counts, Counter(images.passed_over)


def _note_seen_groups(
    config: runs.RunConfig,
    class_of: dict[Path, str],
    group_of: dict[Path, str],
    notes: list[str],
) -> None:
    """Tells of images of groups that the run was trained or calibrated on."""
    known = {*config.group_of("train", "validation").values()}
    groups = [group_of[path] for path in class_of if group_of]
    seen = [group for group in groups if group in known]
    if seen:
        notes.append(
            f"{len(seen)} images are of groups that the run was trained or calibrated "
            f"on ({first_few(sorted({*seen}), _NAMED)}): the figures may flatter."
        )


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
