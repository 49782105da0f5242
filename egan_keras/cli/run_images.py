"""Which images of a folder a run's model is judged on: by contents, not by names."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from egan_keras import data
from egan_keras.cli.runs import RunConfig
from egan_keras.data.contents import Duplicates, content_hashes
from egan_keras.data.decoding import GrayRange
from egan_keras.data.images import decodable
from egan_keras.data.splits import Listing, SplitRules
from egan_keras.text import first_few, printable

ALL = "all"

_NAMED = 3


@dataclasses.dataclass(frozen=True)
class RunImages:
    """Images to judge a run's model on.

    Attributes:
        split: what they are of the folder.
        images: with their labels.
        counts: what the report tells of files, in place of what it tells of training's.
        notes: sentences that say so.
    """

    split: str
    images: data.LabelledImages
    counts: Mapping[str, int]
    notes: Sequence[str]

    def report_values(self, config: RunConfig) -> dict[str, Any]:
        """Returns what the report tells of the run and of these files."""
        values = {**config.report_values(), "split": self.split, **self.counts}
        always = ("seed", "split", "n_skipped", "n_passed_over")
        return {name: x for name, x in values.items() if x or name in always}


class _Reading(NamedTuple):
    """How images are read."""

    gray_range: GrayRange | None
    skip_unreadable: bool
    duplicates: str | None


def load_images(
    config: RunConfig,
    root: Path,
    split: str | None = None,
    *,
    gray_range: GrayRange | None = None,
    skip_unreadable: bool = False,
    duplicates: str | None = None,
) -> RunImages:
    """Loads the images of a folder to judge a run's model on.

    A folder is the run's own if it is where the run's was, or holds at least half of
    the split's files with the same names and contents.

    Args:
        config: of the run.
        root: the folder.
        split: `train`, `validation` or `test`: of the run's own folder, the files that
            the split held, as far as their contents are there; of another one, a split
            by the run's seed. `all`: every image of the run's classes. None stands for
            `test` of the run's own folder and for `all` of another. Images that the
            run was trained or calibrated on are neither in `all` nor in the test and
            validation splits of another folder.
        gray_range: as for `load_folder`; None takes the run's.
        skip_unreadable: leave out files that cannot be read instead of stopping.
        duplicates: as for `load_folder`, where files are not those that a split held;
            None is what was chosen for the run.

    Raises:
        ValueError: if no image is left, or a file cannot be read.
        FileNotFoundError: if there is no such folder, or no image in it.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            "There is no such folder; expected a folder of images. Received: "
            f"data={str(root)!r}. Check the path."
        )
    named = split if split in config.files else "test"
    recorded = config.recorded(named)
    there = _unchanged(recorded, root)
    is_own = (
        str(root.resolve()) == config.options["data"]
        or 2 * len(there) >= len(recorded) > 0
    )
    split = split or ("test" if is_own else ALL)
    reading = _Reading(
        gray_range or config.gray_range,
        skip_unreadable,
        duplicates or config.options.get("duplicates"),
    )
    if is_own and split != ALL:
        return _recorded(config, root, split, there, reading)
    if split == ALL:
        class_of, passed_over, counts = _find_all(config, root, reading)
    else:
        class_of, passed_over, counts = _split_anew(config, root, split, reading)
    seen = _seen(config, root, class_of) if split != "train" else {}
    left = {path: name for path, name in class_of.items() if path not in seen}
    notes = []
    if seen:
        notes.append(
            f"{_named(list(seen))} of {len(class_of)} images are left out: the run was "
            "trained or calibrated on them."
        )
    if not left:
        raise ValueError(
            "No image is left to judge by; expected some that the run was not trained "
            f"or calibrated on. Received: {len(class_of)} images of {str(root)!r}, "
            f"{len(seen)} of which it was. Name a folder of other images."
        )
    missing = sorted({*_roles(config).names} - {*left.values()})
    if missing:
        notes.append(f"There is no image of {', '.join(map(printable, missing))}.")
    images = _images(config, left, reading)
    images = dataclasses.replace(images, passed_over=passed_over)
    counts["n_seen"] = len(seen)
    counts["n_skipped"] += len(images.skipped)
    counts["n_passed_over"] = sum(passed_over.values())
    return RunImages(split, images, counts, notes)


def _recorded(
    config: RunConfig,
    root: Path,
    split: str,
    there: dict[str, Path],
    reading: _Reading,
) -> RunImages:
    """Returns the files that a split held, as far as their contents are there."""
    recorded = config.recorded(split)
    unknown = _not_known(config, root)
    there = there | _renamed(recorded, there, unknown, root)
    others = _n_new(config, unknown)
    missing = [path for path in recorded if path not in there]
    changed = [path for path in missing if (root / path).exists()]
    gone = [path for path in missing if not (root / path).exists()]
    notes = []
    if changed or gone:
        fates = ((gone, "are gone"), (changed, "have other contents"))
        said = [f"{_named(paths)} {fate}" for paths, fate in fates if paths]
        notes.append(
            f"Of the {len(recorded)} files of the {split} split {' and '.join(said)}."
        )
    if others:
        notes.append(
            f"{others} images below {printable(root)} are new to the run and not "
            "judged; --split all judges them, too."
        )
    if not there:
        raise ValueError(
            f"The {split} split holds no image; expected some of the {len(recorded)} "
            f"that the run had. Received: {str(root)!r}, where {len(gone)} are gone, "
            f"{len(changed)} have other contents and {others} are new. Choose another "
            "split, or --split all to judge what is there now."
        )
    class_of = {there[path]: recorded[path][0] for path in recorded if path in there}
    counts = {"n_gone": len(gone), "n_changed": len(changed), "n_new": others}
    return RunImages(split, _images(config, class_of, reading), counts, notes)


def _unchanged(
    recorded: Mapping[str, tuple[str, str | None]], root: Path
) -> dict[str, Path]:
    """Returns where files are that have the names and contents they had."""
    paths = [root / path for path in recorded]
    there = {}
    for where, mark, (path, (_, told)) in zip(
        paths, content_hashes(paths), recorded.items(), strict=True
    ):
        # Of runs of earlier versions the name is all that is known; and if a file
        # cannot be opened, its reader says why.
        is_there = mark == told if mark and told else where.is_file()
        if is_there:
            there[path] = where
    return there


def _not_known(config: RunConfig, root: Path) -> dict[str, list[Path]]:
    """Returns the images of each class that the run had not under these names."""
    known = {path for split in config.files for path in config.recorded(split)}
    known |= {path for paths in config.unused.values() for path in paths}
    known |= {*config.skipped, *config.dropped_duplicates}
    names = (*config.options["majority"], *config.options["minority"])
    return {
        name: [path for path in found if path.relative_to(root).as_posix() not in known]
        for name, found in data.list_every_image(root, names).items()
    }


def _n_new(config: RunConfig, unknown: Mapping[str, Sequence[Path]]) -> int:
    """Returns how many images of other names have other contents, too."""
    known = {
        mark for each in config.files for _, mark in config.recorded(each).values()
    }
    paths = [path for paths in unknown.values() for path in paths]
    return sum(mark is None or mark not in known for mark in content_hashes(paths))


def _renamed(
    recorded: Mapping[str, tuple[str, str | None]],
    there: Mapping[str, Path],
    new: Mapping[str, Sequence[Path]],
    root: Path,
) -> dict[str, Path]:
    """Returns where files are that have another name in the folder of their class."""
    missing = {path: told for path, told in recorded.items() if path not in there}
    places = [(name, where) for name, paths in new.items() for where in paths]
    # Two may have changed names.
    places += [(name, root / path) for path, (name, _) in missing.items()]
    marks = content_hashes([where for _, where in places]) if missing else []
    found: dict[tuple[str, str | None], list[Path]] = {}
    for (name, where), mark in zip(places, marks, strict=bool(missing)):
        found.setdefault((name, mark), []).append(where)
    return {
        path: found[told].pop()
        for path, told in missing.items()
        if told[1] and found.get(told)
    }


def _find_all(
    config: RunConfig, root: Path, reading: _Reading
) -> tuple[dict[Path, str], Counter[str], dict[str, int]]:
    """Returns the class of every image, wherever in the folder it lies, and counts."""
    roles = _roles(config)
    found = data.list_every_image(root, roles.names)
    pool = {name: found.get(name, []) for name in roles.names}
    equal = Duplicates(Listing(pool, None, None, Counter()), roles, reading.duplicates)
    rules = SplitRules(validation_fraction=0.0, test_fraction=0.0)
    class_of = dict(equal.divide(rules).train)
    passed_over = sum((images.passed_over for images in found.values()), Counter())
    return (
        class_of,
        passed_over,
        {
            "n_duplicates": equal.n_later,
            "n_dropped_duplicates": len(equal.dropped),
            "n_skipped": 0,
        },
    )


def _split_anew(
    config: RunConfig, root: Path, split: str, reading: _Reading
) -> tuple[dict[Path, str], Counter[str], dict[str, int]]:
    """Returns the class of each image of a split by the run's seed, and counts."""
    names = ("majority", "minority", "seed", "validation_fraction", "test_fraction")
    chosen = {name: config.options[name] for name in names}
    if split == "test":
        # The test split does not depend on it, and so few others are looked at.
        chosen["minority_count"] = 1
    else:
        chosen["minority_count"] = config.options["minority_count"]
        chosen["ratio"] = config.options["ratio"]
    splits = data.load_folder(
        root,
        image_size=tuple(config.image_shape[:2]),
        lazy=True,
        **chosen,
        **reading._asdict(),
    )
    images = getattr(splits, split)
    pairs = zip(map(Path, images.paths), images.class_names, strict=True)
    return (
        dict(pairs),
        Counter(images.passed_over),
        {
            "n_duplicates": len(images.duplicates),
            "n_dropped_duplicates": len(images.dropped_duplicates),
            "n_skipped": len(images.skipped),
        },
    )


def _seen(config: RunConfig, root: Path, paths: Iterable[Path]) -> dict[Path, None]:
    """Returns those images that the run was trained or calibrated on."""
    recorded = {**config.recorded("train"), **config.recorded("validation")}
    marks = {mark for _, mark in recorded.values()} - {None}
    # Of earlier versions' runs the name is all that is known.
    names = {path for path, (_, mark) in recorded.items() if mark is None}
    paths = list(paths)
    return {
        path: None
        for path, mark in zip(paths, content_hashes(paths), strict=True)
        if mark in marks or path.relative_to(root).as_posix() in names
    }


def _images(
    config: RunConfig, class_of: Mapping[Path, str], reading: _Reading
) -> data.LabelledImages:
    """Returns images to be read when they are needed, at the run's size."""
    size = tuple(config.image_shape[:2])
    kept, skipped = list(class_of), []
    if reading.skip_unreadable:
        kept, skipped = decodable(kept, reading.gray_range)
    roles = _roles(config)
    class_names = tuple(class_of[path] for path in kept)
    return data.LabelledImages(
        images=data.ImageFiles(kept, size, reading.gray_range),
        labels=np.array([roles.label(name) for name in class_names], np.int32),
        paths=tuple(map(str, kept)),
        class_names=class_names,
        skipped=tuple(map(str, skipped)),
    )


def _roles(config: RunConfig) -> data.ClassRoles:
    names = (config.options[role] for role in ("majority", "minority"))
    return data.ClassRoles.from_names(*map(tuple, names))


def _named(paths: Sequence[object]) -> str:
    """Returns how many files there are, and the names of some."""
    return f"{len(paths)} ({first_few(paths, _NAMED)})"
