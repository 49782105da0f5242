"""Images to judge a run's model on: its own files wherever they are now, or others."""

import functools
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from egan_keras.cli import rooms, runs
from egan_keras.cli.options import GrayRange
from egan_keras.text import first_few, printable

ALL = "all"
_NAMED = 3


def load_images(
    config: runs.RunConfig,
    root: Path,
    split: str | None = None,
    *,
    own_split: str = "test",
    labels: Path | None = None,
    groups: str | None = None,
    gray_range: GrayRange | None = None,
    skip_unreadable: bool = False,
    duplicates: str | None = None,
) -> "RunImages":
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
    reading = {"gray_range": gray_range or config.gray_range}
    reading["skip_unreadable"] = skip_unreadable
    reading["duplicates"] = duplicates or config.options.get("duplicates")
    found = RunImages(config, root, labels, groups, reading)
    recorded = config.recorded(split if split in config.files else own_split)
    there = found.there(recorded)
    is_own = found.is_own_table and str(root.resolve()) == config.options["data"]
    is_own = is_own or 2 * len(there) >= len(recorded) > 0
    found.split = split or (own_split if is_own else ALL)
    if is_own and found.split != ALL:
        found.find_recorded(there)
    else:
        found.find_anew()
    kept, skipped = list(found.class_of), []
    if skip_unreadable:
        kept, skipped = rooms.data.images.decodable(kept, reading["gray_range"])
    if "n_skipped" in found.counts:
        found.counts["n_skipped"] += len(skipped)
        found.counts["n_passed_over"] = found.passed_over.total()
    size, names = config.image_shape[:2], [found.class_of[path] for path in kept]
    found.images = rooms.data.LabelledImages(
        images=rooms.data.ImageFiles(kept, tuple(size), reading["gray_range"]),
        labels=np.array([found.roles.label(name) for name in names], np.int32),
        paths=tuple(map(str, kept)),
        class_names=tuple(names),
        skipped=tuple(map(str, skipped)),
        passed_over=found.passed_over,
        groups=tuple(found.group_of[path] for path in kept if found.group_of),
    )
    return found


class RunImages:
    """Images to judge a run's model on, and the search for them.

    Attributes:
        split: of their folder.
        images: `LabelledImages`.
        counts: of files, for the report, in place of training's.
        notes: sentences that say so.
        is_own_table: then files of the table that are gone are counted, else refused.
    """

    def __init__(
        self,
        config: runs.RunConfig,
        root: Path,
        labels: Path | None,
        groups: str | None,
        reading: dict[str, Any],
    ) -> None:
        own = config.options.get("labels")
        names = (config.options[role] for role in ("majority", "minority"))
        self.config, self.root, self.reading = config, root, reading
        self.roles = rooms.data.ClassRoles.from_names(*map(tuple, names))
        self.is_own_table = labels is None or str(labels.resolve()) == own
        self.labels = labels or _own_labels(config, root)
        self.groups, self.split, self.images = groups, "", None
        self.class_of: dict[Path, str] = {}
        self.group_of: dict[Path, str] = {}  # empty if none are known
        self.counts: dict[str, int] = {}
        self.notes: list[str] = []
        self.passed_over: Counter[str] = Counter()

    @functools.cached_property
    def rule(self) -> Any:
        """What names groups, as in training if nothing else is said; or None."""
        if self.groups or not self.is_own_table:
            return self.groups
        name = rooms.data.groups.group_namer(self.config.options.get("groups"))
        # Also of files that it does not fit.
        return name and (lambda path: name(path) or path)

    @functools.cached_property
    def listing(self) -> Any:
        """All images of the run's classes, listed when that is needed first."""
        source = {"labels": self.labels, "groups": self.rule}
        source["skip_missing"] = self.is_own_table
        return rooms.data.list_all_labelled(self.root, self.roles.names, **source)

    def there(self, recorded: dict[str, tuple]) -> dict[str, Path]:
        """Returns which of recorded files are there, as they were, by their names."""
        marks = rooms.data.lazy.content_hashes([self.root / path for path in recorded])
        listed = None
        if self.labels is not None:
            listed = {name: set(paths) for name, paths in self.listing.pool.items()}
        return {
            path: self.root / path
            for (path, (name, told)), mark in zip(recorded.items(), marks, strict=True)
            # Of runs of earlier versions the name is all that is known; and if a file
            # cannot be opened, its reader says why.
            if (mark == told if mark and told else (self.root / path).is_file())
            and (listed is None or self.root / path in listed.get(name, ()))
        }

    def find_recorded(self, there: dict[str, Path]) -> None:
        """Finds the files that a split held, as far as their contents are there.

        `there`, of those with their names, is added to.
        """
        root, split = self.root, self.split
        recorded = self.config.recorded(split)
        every = self.config.recorded(*self.config.files)
        missing = [path for path in recorded if path not in there]
        new = self._new_images({*missing})
        contents, n_new = {mark for _, mark in every.values()} - {None}, 0
        found: dict[tuple[str, str | None], list[Path]] = defaultdict(list)
        for path, (name, mark) in new.items():
            found[name, mark].append(path)
            is_known = path.relative_to(root).as_posix() in every
            n_new += mark not in contents and not is_known
        for path in missing:
            if recorded[path][1] and found[recorded[path]]:
                there[path] = found[recorded[path]].pop()
        missing = [path for path in missing if path not in there]
        changed = [path for path in missing if (root / path).exists()]
        gone = [path for path in missing if not (root / path).exists()]
        if not there:
            raise ValueError(
                f"The {split} split holds no image; expected some of the "
                f"{len(recorded)} that the run had. Received: {str(root)!r}, where "
                f"{len(gone)} are gone, {len(changed)} have other contents and {n_new} "
                "are new. Choose another split, or --split all to judge what is there "
                "now."
            )
        if missing:
            other = "have other contents" + " or labels" * bool(self.labels)
            fates = ((gone, "are gone"), (changed, other))
            told = " and ".join(f"{_named(x)} {fate}" for x, fate in fates if x)
            self.notes.append(
                f"Of the {len(recorded)} files of the {split} split {told}."
            )
        if n_new:
            self.notes.append(
                f"{n_new} images below {printable(root)} are new to the run and not "
                "judged; --split all judges them, too."
            )
        self.class_of = {there[p]: recorded[p][0] for p in recorded if p in there}
        self.counts |= {"n_gone": len(gone), "n_changed": len(changed), "n_new": n_new}
        if self.groups is None:
            known = self.config.group_of(*self.config.files)
            self.group_of = {path: known[name] for name, path in there.items() if known}
        else:
            rule = rooms.data.groups.group_namer(self.groups)
            self.group_of = rooms.data.groups.name_groups(there.values(), root, rule)

    def _new_images(self, missing: set[str]) -> dict[Path, tuple[str, str | None]]:
        """Returns class and hash of images that the run did not have under their names.

        Files may have other names in the folder of their class, and two may have
        exchanged theirs, so that those of missing files count as new.
        """
        config, own = self.config, self.config.options.get("labels")
        if own and not self.labels:
            self.notes.append(
                f"The run's table of labels is gone ({printable(own)}); so nothing is "
                "said of labels that changed and of new images."
            )
            return {}
        known = {*config.recorded(*config.files), *config.skipped}
        known.update(config.dropped_duplicates, *config.unused.values())
        known -= missing
        new = {
            path: name
            for name, paths in self.listing.pool.items()
            for path in paths
            if path.relative_to(self.root).as_posix() not in known
        }
        marks = rooms.data.lazy.content_hashes([*new])
        return dict(zip(new, zip(new.values(), marks, strict=True), strict=True))

    def find_anew(self) -> None:
        """Finds every image, or those of a split by the run's seed.

        What the run was trained or calibrated on is left out, but for `train`.
        """
        find = self._take_all if self.split == ALL else self._split_again
        find()
        if self.split != "train":
            self._leave_out_seen()
        missing = sorted({*self.roles.names} - {*self.class_of.values()})
        if missing:
            names = ", ".join(map(printable, missing))
            self.notes.append(f"There is no image of {names}.")

    def _take_all(self) -> None:
        data, listing = rooms.data, self.listing
        duplicates = self.reading["duplicates"]
        equal = data.duplicates.Duplicates(listing, self.roles, duplicates)
        rules = data.splits.SplitRules(validation_fraction=0.0, test_fraction=0.0)
        self.class_of = dict(equal.divide(rules).train)
        self.group_of = listing.groups or {}
        self.passed_over = listing.all_passed_over
        self.counts = {"n_duplicates": equal.n_later, "n_skipped": 0}
        self.counts["n_dropped_duplicates"] = len(equal.dropped)
        self.counts["n_near_duplicates"] = 0

    def _split_again(self) -> None:
        names = "majority minority minority_count ratio seed validation_fraction"
        names += " test_fraction"
        chosen = {name: self.config.options[name] for name in names.split()}
        if self.split == "test":
            # It does not depend on it, and so few others are looked at.
            chosen |= {"minority_count": 1, "ratio": None}
        chosen |= {"image_size": tuple(self.config.image_shape[:2]), "lazy": True}
        chosen |= {"groups": self.rule, **self.reading}
        if self.labels is None:
            splits = rooms.data.load_folder(self.root, **chosen)
        else:
            splits = rooms.data.load_table(self.root, self.labels, **chosen)
        images = getattr(splits, self.split)
        paths = list(map(Path, images.paths))
        self.class_of = dict(zip(paths, images.class_names, strict=True))
        self.group_of = dict(zip(paths, images.groups, strict=False))
        self.passed_over = Counter(images.passed_over)
        for name in "duplicates dropped_duplicates near_duplicates skipped".split():
            self.counts[f"n_{name}"] = len(getattr(images, name))

    def _leave_out_seen(self) -> None:
        """Leaves out, counts and tells what the run was trained or calibrated on."""
        recorded = self.config.recorded("train", "validation")
        contents = {mark for _, mark in recorded.values()} - {None}
        # Of earlier versions' runs the name is all that is known.
        names = {path for path, (_, mark) in recorded.items() if mark is None}
        every = self.class_of
        marks = rooms.data.lazy.content_hashes([*every])
        seen = [
            path
            for path, mark in zip(every, marks, strict=True)
            if mark in contents or path.relative_to(self.root).as_posix() in names
        ]
        self.counts["n_seen"] = len(seen)
        if len(seen) == len(every):
            raise ValueError(
                "No image is left to judge by; expected some that the run was not "
                f"trained or calibrated on. Received: {len(every)} images of "
                f"{str(self.root)!r}, {len(seen)} of which it was. Name a folder of "
                "other images."
            )
        if seen:
            self.notes.append(
                f"{_named(sorted(seen))} of {len(every)} images are left out: the run "
                "was trained or calibrated on them."
            )
        left_out = {*seen}
        self.class_of = {p: name for p, name in every.items() if p not in left_out}
        known = {*self.config.group_of("train", "validation").values()}
        groups = [self.group_of[path] for path in self.class_of if self.group_of]
        if seen_groups := [group for group in groups if group in known]:
            self.notes.append(
                f"{len(seen_groups)} images are of groups that the run was trained or "
                f"calibrated on ({first_few(sorted({*seen_groups}), _NAMED)}): the "
                "figures may flatter."
            )


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


def _named(paths: Sequence[object]) -> str:
    """Returns how many files there are, and the names of some."""
    return f"{len(paths)} ({first_few(paths, _NAMED)})"
