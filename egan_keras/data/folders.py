"""Labelled images from a folder with one folder for each class."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path

from egan_keras.data.finding import ARCHIVES, HIDDEN, find_images
from egan_keras.data.groups import ByClass, GroupRule, Namer, group_namer, name_groups
from egan_keras.data.images import ImageSize, Splits
from egan_keras.data.loading import Reading, load_listing
from egan_keras.data.splits import ClassRoles, Listing, SplitRules

AnyPath = str | PathLike[str]
Names = str | Sequence[str]

# As data sets call them, in any case.
PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
_FOLDERS_LOOKED_INTO = 50


def load_folder(
    root: AnyPath,
    *,
    majority: Names,
    minority: Names = (),
    minority_count: int | None = None,
    ratio: float | None = None,
    image_size: ImageSize | None = None,
    gray_range: Sequence[float] | None = None,
    seed: int = 0,
    validation_fraction: float = 0.2,
    test_fraction: float = 0.2,
    skip_unreadable: bool = False,
    lazy: bool = False,
    duplicates: str | None = None,
    groups: GroupRule | None = None,
) -> Splits:
    """Load images from one folder per class, split for training and judging.

    `root` holds `train/<class>/<image>` and `test/<class>/<image>`, in which case
    validation is held out of `train`, unless there is a folder for it (`validation`,
    `valid` or `val`); or `<class>/<image>`, which is split in three. Where the
    minority is below `test` alone, as in MVTec's sets, half of each of its classes
    there is to train on, and the other half to test on.

    Splits are seeded and made class by class, so each class is in each split by its
    fraction; from a class of few images, training gets the first, test the second,
    validation the third. Only the classes named are read.

    With `minority_count` or `ratio` the other minority training images do not exist:
    they are never decoded, and validation holds majority images alone. The majority's
    split, and the test split, are the same whatever is asked for; with one seed, a
    smaller count keeps a part of what a larger one keeps.

    Files with equal contents are one image: one that is there to train on is left out
    of validation and test, and other copies stay on one side of every split, with a
    warning that counts and names them. A file that is majority and minority both is
    refused. `duplicates` chooses otherwise.

    Pictures of one object (a part, a patient, a burst) make a test easier than new
    objects will be. With `groups`, all pictures of one stay on one side of every split:
    splits meet the fractions as nearly as whole groups allow, with each class in each
    split where it is in enough groups. They do not depend on `minority_count`; minority
    images of groups that validation has majority images of are not trained on then.

    Of up to 5,000 images and 1 GB of files, a warning names those that are nearly the
    same picture as one in another split, though their contents differ.

    Which files are found in a folder is told in `find_images`; the others are counted
    in `passed_over` of the splits.

    Args:
        root: the folder.
        majority: the folder name of the common class, or several.
        minority: the folder name of the rare class, or several; none if nothing is
            known of it.
        minority_count: number of minority images to train on, 0 or more. None keeps
            all.
        ratio: the same, said as majority images per minority image in training.
        image_size: as for `read_images`.
        gray_range: as for `read_images`.
        seed: what is held out and kept depends on it alone.
        validation_fraction: part of `train`, or of all images, held out, in [0, 1).
        test_fraction: part of all images held out where there is no `test`, in [0, 1).
        skip_unreadable: leave out files that cannot be read, and images of a single
            colour, named in `skipped`, instead of stopping. One among the minority
            images to keep is replaced by another.
        lazy: decode images when they are read, a batch at a time: `.images` are
            `ImageFiles`, so that a folder of any size needs little memory. A file
            damaged behind its header is found when it is read, or now with
            `skip_unreadable`.
        duplicates: `"drop"` leaves out files that are majority and minority both, too;
            `"refuse"` refuses images to train on among those to validate and test on;
            `"keep"` uses all files as they stand.
        groups: names the group of each image: a regular expression with one group,
            searched for in the path below `root`, such as `"/(module[0-9]+)_"`; or a
            function of that path, or a mapping from it, to a name. An image without a
            name is a group of its own.

    Returns:
        Training, validation and test images.

    Raises:
        FileNotFoundError: if `root` is missing, there is a `train` without a `test`,
            or a class folder is empty.
        ValueError: for an unknown class, a class in both roles, fewer minority images
            than asked for, a file that cannot be read or is of a single colour, images
            that need a `gray_range`, a file of both labels, a group on both sides of
            `train` and `test`, or arguments out of range.

    Warns:
        UserWarning: for equal contents, nearly the same pictures on two sides, images
            without a group, or more minority than majority images.
    """
    roles = ClassRoles.from_names(majority, minority)
    rules = SplitRules(minority_count, ratio, seed, validation_fraction, test_fraction)
    reading = Reading.checked(image_size, gray_range, skip_unreadable, lazy)
    listing = list_images(root, roles, groups)
    return load_listing(listing, roles, rules, reading, duplicates)


def list_images(
    root: AnyPath, roles: ClassRoles, groups: GroupRule | None = None
) -> Listing:
    """List the image files of each class as `load_folder` finds them, opening none."""
    root, name = Path(root), group_namer(groups)
    check_root(root)
    parts = _find_parts(root)
    beside: Counter[str] = Counter()
    if "train" in parts:
        _check_parts(root, parts, roles)
        _count_beside(root, [path.name for path in parts.values()], beside)
    else:
        _check_flat(root, parts, roles)
        parts = {"train": root}
    found = {
        part: _find_classes(folder, roles, beside) for part, folder in parts.items()
    }
    given = found.get("validation"), found.get("test")
    return with_groups(Listing(found["train"], *given, beside), root, name)


def with_groups(listing: Listing, root: Path, name: Namer | None) -> Listing:
    """Return a listing with the groups that its paths name; with None, as it is."""
    if name is None:
        return listing
    if listing.groups is not None:
        raise ValueError(
            "The groups are given twice: by a column `group` and by `groups` "
            "(--groups). Received: both. Leave one out."
        )
    return listing._replace(groups=name_groups(listing.sources, root, name))


def check_root(root: Path) -> None:
    """Refuse a folder of images that is not there or must not be read."""
    if not root.is_dir():
        raise FileNotFoundError(
            "There is no such folder; expected a folder with one folder of images "
            f"for each class. Received: root={str(root)!r}. "
            f"{'Unpack it.' if root.suffix.lower() in ARCHIVES else 'Check the path.'}"
        )
    os.scandir(root).close()  # one that must not be read says so


def list_every_image(root: AnyPath, names: Sequence[str]) -> ByClass:
    """List all images of classes, in whichever part of a folder they lie.

    The folders of some classes may be missing; a `FileNotFoundError` is raised if there
    is no image at all.
    """
    root = Path(root)
    parts = {each for known in PARTS.values() for each in known} - set(names)
    places = [root, *(root / n for n in _subfolders(root) if n.lower() in parts)]
    found: dict[str, list[Path]] = {name: [] for name in names}
    for name in names:
        folders = [place / name for place in places if (place / name).is_dir()]
        with contextlib.suppress(FileNotFoundError):
            found[name] = find_images(folders)
    if not any(found.values()):
        raise FileNotFoundError(
            "There is no image of any of the classes; expected folders called "
            f"{', '.join(names)}, there or in {', '.join(map(repr, PARTS))}. "
            f"Received: {str(root)!r}, with the folders "
            f"{', '.join(sorted(_subfolders(root))) or '(none)'}. Check the path."
        )
    return found


def _find_parts(root: Path) -> dict[str, Path]:
    """Return the folders of training, validation and test classes that there are."""
    parts = {}
    for part, names in PARTS.items():
        named = [root / name for name in _subfolders(root) if name.lower() in names]
        # One without folders in it is a class of that name.
        found = list(filter(_subfolders, named))
        if len(found) > 1:
            raise ValueError(
                f"There are several folders of {part} images; expected one. Received: "
                f"{', '.join(repr(path.name) for path in found)} in {str(root)!r}. "
                "Merge them, or move all but one away."
            )
        if found:
            parts[part] = found[0]
    return parts


def _check_flat(root: Path, parts: Mapping[str, Path], roles: ClassRoles) -> None:
    """Refuse a folder without `train` that does not hold all class folders itself."""
    for folder in parts.values():
        is_class = folder.name in roles.names
        if not is_class and not set(roles.names).isdisjoint(_subfolders(folder)):
            raise FileNotFoundError(
                f"The folder has a {folder.name!r} but no 'train' folder; expected "
                f"both, or the class folders themselves. Received: root={str(root)!r}. "
                f"Move the class folders to train on into {str(root / 'train')!r}."
            )
    available = _subfolders(root)
    if not available:
        raise FileNotFoundError(
            "The folder is empty; expected one folder of images for each class. "
            f"Received: root={str(root)!r}, which holds no folders. "
            f"{_where_else(root, roles.names) or 'Check the path.'}"
        )
    _check_known(root, roles, available)


def _check_parts(root: Path, parts: Mapping[str, Path], roles: ClassRoles) -> None:
    """Refuse a folder with `train` without `test`, or with other classes in them.

    All of the minority may be below `test` alone, as in MVTec's sets.
    """
    train, validation = parts["train"], parts.get("validation")
    split_train = f", or pass {str(train)!r} to have a test split made of it"
    if "test" not in parts:
        advice = f"Add {str(root / 'test')!r}"
        if validation:
            advice = f"Rename {validation.name!r} to 'test' to test on it"
        raise FileNotFoundError(
            f"The folder has a `{train.name}` but no `test` folder; expected both, or "
            f"the class folders themselves. Received: root={str(root)!r}. "
            f"{advice}{split_train}."
        )
    test = parts["test"]
    trained, tested = set(_subfolders(train)), set(_subfolders(test))
    _check_known(root, roles, trained | tested)
    if not trained.issuperset(roles.names):
        split_train = ""
    for lacks, there, held, instead in (
        (test, train, tested, split_train),
        (train, test, trained, ", or leave it out"),
    ):
        missing = [name for name in roles.names if name not in held]
        if missing and (lacks == test or missing != list(roles.minority)):
            advice = (
                f"{missing[0]!r} is below {str(there)!r} alone: put some of its images "
                f"into {str(lacks / missing[0])!r}{instead}."
            )
            roles.check_known(held, f"folder {str(lacks)!r}", advice)
    if validation:
        advice = "Put majority images there to validate with, or move the folder away."
        there = _subfolders(validation), f"folder {str(validation)!r}"
        roles.check_known(*there, advice, names=roles.majority)


def _check_known(root: Path, roles: ClassRoles, available: Iterable[str]) -> None:
    """Refuse classes that a folder does not hold, and say where they may be."""
    missing = [name for name in roles.names if name not in available]
    if not missing:
        return
    path = root / missing[0]
    archives = [path.with_name(path.name + suffix) for suffix in ARCHIVES]
    if path.is_symlink():
        advice = f"{str(path)!r} is a link to no folder: mend it."
    elif path.exists():
        advice = f"{str(path)!r} is a file: expected a folder of images."
    elif packed := [str(archive) for archive in archives if archive.is_file()]:
        advice = f"Unpack {packed[0]!r}."
    else:
        advice = _where_else(root, missing)
    roles.check_known(available, f"folder {str(root)!r}", advice)


def _where_else(folder: Path, missing: Sequence[str]) -> str | None:
    """Say where classes lie that are not in a folder but a step below or above."""
    wanted = set(missing)
    for inner in sorted(_subfolders(folder))[:_FOLDERS_LOOKED_INTO]:
        below = folder / inner
        if wanted <= _classes_below(below):
            return f"They are one folder further down: pass {str(below)!r}."
        is_part = inner.lower() in PARTS["train"] + PARTS["test"]
        if is_part and not _subfolders(below):
            return (
                f"Put the images of {str(below)!r} into folders of their classes, such "
                f"as {str(below / missing[0])!r}."
            )
    # Of ROOT and ROOT/train, ROOT.
    for parent in reversed(folder.resolve().parents[:2]):
        if wanted <= _classes_below(parent):
            return f"They are further up: pass {str(parent)!r}."
    return None


def _classes_below(folder: Path) -> set[str]:
    """Return the names of the classes of a folder with or without `train`."""
    names = set(_subfolders(folder))
    for name in names & {"train", "test"}:
        names |= set(_subfolders(folder / name))
    return names


def _find_classes(folder: Path, roles: ClassRoles, beside: Counter[str]) -> ByClass:
    """Return the image files of classes, and count what is beside their folders."""
    there = _subfolders(folder)
    roles.check_case(
        there, "Folders of classes", repr(str(folder)), "Merge them, rename one"
    )
    names = [name for name in roles.names if name in there]
    _count_beside(folder, names, beside)
    return {name: find_images(folder / name) for name in names}


def _count_beside(folder: Path, known: Sequence[str], beside: Counter[str]) -> None:
    """Count what is in a folder beside the folders that are known."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                beside[HIDDEN] += 1
            elif entry.name not in known:
                what = ("file beside the class folders", "folder of no class named")
                beside[what[entry.is_dir()]] += 1


def _subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, without hidden ones."""
    # `walk` passes over what cannot be opened.
    names = next(os.walk(folder), (folder, [], []))[1]
    return [name for name in names if not name.startswith(".")]
