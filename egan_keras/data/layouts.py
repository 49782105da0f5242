"""Where in a folder the images of each class and split lie."""

import contextlib
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from egan_keras.data.finding import ARCHIVES, HIDDEN, FoundImages, find_images
from egan_keras.data.roles import ClassRoles, warn_if_swapped
from egan_keras.data.splits import hold_out

# As data sets call them, in any case.
_PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
_OTHER_FOLDER = "folder of no class named"
_OTHER_FILE = "file beside the class folders"
_FOLDERS_LOOKED_INTO = 50


class Listing(NamedTuple):
    """The image files of a folder by class, sorted.

    Attributes:
        pool: the files to train on, which are to be split where the next two are None.
            Minority classes that are in `test` alone are not in it: half of their
            files there are to be trained on.
        validation: the files to validate with, if there is a folder of them, which
            need not hold the minority.
        test: the files to test on, if there is a folder of them.
        passed_over: number of files and folders beside those of the classes, by
            reason.
    """

    pool: dict[str, FoundImages]
    validation: dict[str, FoundImages] | None
    test: dict[str, FoundImages] | None
    passed_over: Counter[str]

    @property
    def all_passed_over(self) -> Counter[str]:
        """Number of files and folders passed over anywhere, by reason."""
        parts = (self.pool, self.validation or {}, self.test or {})
        counts = (images.passed_over for part in parts for images in part.values())
        return sum(counts, self.passed_over)

    def sides(
        self, roles: ClassRoles, seed: int
    ) -> tuple[dict[str, Sequence[Path]], dict[str, Sequence[Path]] | None]:
        """Return the files to train on, and those to test on if they lie apart.

        Minority classes that are in `test` alone are halved, as the seed has it.
        """
        pool, test = dict(self.pool), self.test
        for name in roles.names:
            if name not in pool:
                half = len(test[name]) / 2
                pool[name], held = hold_out(test[name], half, seed)
                test = test | {name: held}
        return pool, test

    def warn(self, roles: ClassRoles) -> None:
        """Warn of what is unusual about the numbers of images to train on."""
        moved = [name for name in roles.names if name not in self.pool]
        if moved:
            n_images = sum(len(self.test[name]) for name in moved)
            warnings.warn(
                "There are minority images to test on, but none to train on. So half "
                f"of the {n_images:,} images of {', '.join(map(repr, moved))} are "
                "there to train on, class by class as the seed has it, and are not "
                "tested on.",
                stacklevel=3,
            )
        pool, _ = self.sides(roles, 0)
        warn_if_swapped(*roles.count(pool), roles.how_to_swap)


def list_images(root: str | PathLike[str], roles: ClassRoles) -> Listing:
    """List the image files of each class, without opening one.

    Args:
        root: as for `load_folder`.
        roles: the classes.

    Raises:
        FileNotFoundError: if a folder is missing or empty.
        ValueError: for an unknown class, or one whose folder's name differs from
            another's in upper and lower case alone.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(
            "There is no such folder; expected a folder with one folder of images "
            f"for each class. Received: root={str(root)!r}. "
            f"{'Unpack it.' if root.suffix.lower() in ARCHIVES else 'Check the path.'}"
        )
    with os.scandir(root):
        pass  # one that must not be read says so
    parts = _find_parts(root)
    beside: Counter[str] = Counter()
    if "train" not in parts:
        _check_no_part(root, parts, roles)
        _check_flat(root, roles)
        pool = _find_classes(root, roles.names, roles, beside)
        return Listing(pool, None, None, beside)
    train = parts["train"]
    if "test" not in parts:
        raise FileNotFoundError(_no_test(root, parts))
    test = parts["test"]
    _count_beside(root, [path.name for path in parts.values()], beside)
    names = _names_to_train(train, test, roles)
    pool = _find_classes(train, names, roles, beside)
    tested = _find_classes(test, roles.names, roles, beside)
    validation = None
    if "validation" in parts:
        folder = parts["validation"]
        there = _subfolders(folder)
        roles.check_known(
            there,
            f"folder {str(folder)!r}",
            "Put majority images there to validate with, or move the folder away to "
            "have them held out of training.",
            names=roles.majority,
        )
        names = [name for name in roles.names if name in there]
        validation = _find_classes(folder, names, roles, beside)
    return Listing(pool, validation, tested, beside)


def list_every_image(
    root: str | PathLike[str], names: Iterable[str]
) -> dict[str, FoundImages]:
    """List all images of classes, in whichever part of a folder they lie.

    Args:
        root: a folder of class folders, or of `train`, `test` and the like with class
            folders in them, or of both.
        names: the classes. The folders of some may be missing.

    Raises:
        FileNotFoundError: if there is no such folder, or no image in it.
    """
    root, names = Path(root), list(names)
    parts = {each for known in _PARTS.values() for each in known} - set(names)
    places = [root, *(root / n for n in _subfolders(root) if n.lower() in parts)]
    found: dict[str, FoundImages] = {}
    for name in names:
        folders = [place / name for place in places if (place / name).is_dir()]
        with contextlib.suppress(FileNotFoundError):
            found[name] = find_images(folders)
    if not any(found.values()):
        raise FileNotFoundError(
            "There is no image of any of the classes; expected folders called "
            f"{', '.join(names)}, there or in {', '.join(map(repr, _PARTS))}. "
            f"Received: {str(root)!r}, with the folders "
            f"{', '.join(sorted(_subfolders(root))) or '(none)'}. Check the path."
        )
    return found


def _check_flat(root: Path, roles: ClassRoles) -> None:
    """Refuse a folder that does not hold all class folders itself."""
    available = _subfolders(root)
    if not available:
        raise FileNotFoundError(
            "The folder is empty; expected one folder of images for each class. "
            f"Received: root={str(root)!r}, which holds no folders. "
            f"{_where_else(root, roles.names) or 'Check the path.'}"
        )
    _check_known(root, roles, set(available))


def _find_parts(root: Path) -> dict[str, Path]:
    """Return the folders of training, validation and test classes that there are."""
    parts = {}
    for part, names in _PARTS.items():
        # One without folders in it is a class of that name.
        found = [
            root / name
            for name in _subfolders(root)
            if name.lower() in names and _subfolders(root / name)
        ]
        if len(found) > 1:
            raise ValueError(
                f"There are several folders of {part} images; expected one. Received: "
                f"{', '.join(repr(path.name) for path in found)} in {str(root)!r}. "
                "Merge them, or move all but one away."
            )
        if found:
            parts[part] = found[0]
    return parts


def _check_no_part(root: Path, parts: Mapping[str, Path], roles: ClassRoles) -> None:
    """Refuse classes that lie in `root` itself, but in `test`, too."""
    for folder in parts.values():
        if folder.name not in roles.names and set(roles.names) & set(
            _subfolders(folder)
        ):
            raise FileNotFoundError(
                f"The folder has a {folder.name!r} but no 'train' folder; expected "
                "both, or the class folders themselves. Received: "
                f"root={str(root)!r}. Move the class folders to train on into "
                f"{str(root / 'train')!r}."
            )


def _no_test(root: Path, parts: Mapping[str, Path]) -> str:
    train = parts["train"]
    advice = f"Add {str(root / 'test')!r}"
    if "validation" in parts:
        advice = (
            f"Rename {parts['validation'].name!r} to 'test' to test on it and have "
            "validation held out of training"
        )
    return (
        f"The folder has a `{train.name}` but no `test` folder; expected both, or the "
        f"class folders themselves. Received: root={str(root)!r}. {advice}, or pass "
        f"{str(train)!r} to have a test split made of it."
    )


def _names_to_train(train: Path, test: Path, roles: ClassRoles) -> Sequence[str]:
    """Return the classes to be found below `train`: all, or without the minority.

    Raises:
        ValueError: if a class is below `train` or `test` alone, unless all of the
            minority is below `test`, as in MVTec's sets.
    """
    trained, tested = set(_subfolders(train)), set(_subfolders(test))
    _check_known(train.parent, roles, trained | tested)
    for name in roles.names:
        if name not in tested:
            instead = ""
            if trained.issuperset(roles.names):
                instead = f", or pass {str(train)!r} to have a test split made of it"
            _refuse_alone(name, train, test, roles, instead)
    untrained = [name for name in roles.names if name not in trained]
    if untrained == list(roles.minority):
        return roles.majority
    for name in untrained:
        _refuse_alone(name, test, train, roles, ", or leave it out")
    return roles.names


def _refuse_alone(
    name: str, holding: Path, lacking: Path, roles: ClassRoles, instead: str
) -> None:
    """Refuse a class that is in one of two folders alone."""
    roles.check_known(
        _subfolders(lacking),
        f"folder {str(lacking)!r}",
        f"{name!r} is below {str(holding)!r} alone: put some of its images into "
        f"{str(lacking / name)!r}{instead}.",
    )


def _find_classes(
    folder: Path, names: Sequence[str], roles: ClassRoles, beside: Counter[str]
) -> dict[str, FoundImages]:
    """Return the image files of classes, and count what is beside their folders."""
    for name in names:
        for other in _subfolders(folder):
            if other not in roles.names and other.casefold() == name.casefold():
                raise ValueError(
                    "Folders of classes differ in upper and lower case alone, so that "
                    f"one may be meant by both. Received: {name!r} and {other!r} in "
                    f"{str(folder)!r}. Merge them, rename one, or name both as one "
                    f"role: {name},{other}."
                )
    _count_beside(folder, names, beside)
    return {name: find_images(folder / name) for name in names}


def _check_known(root: Path, roles: ClassRoles, available: set[str]) -> None:
    """Refuse classes that a folder does not hold, and say where they may be."""
    missing = [name for name in roles.names if name not in available]
    if missing:
        roles.check_known(
            available,
            f"folder {str(root)!r}",
            _state(root / missing[0]) or _where_else(root, missing),
        )


def _state(path: Path) -> str | None:
    """Say what is to be done where a class should have its folder."""
    if path.is_symlink():
        return f"{str(path)!r} is a link to no folder: mend it."
    if path.exists():
        return f"{str(path)!r} is a file: expected a folder of images."
    for suffix in ARCHIVES:
        archive = path.with_name(path.name + suffix)
        if archive.is_file():
            return f"Unpack {str(archive)!r}."
    return None


def _where_else(folder: Path, missing: Sequence[str]) -> str | None:
    """Say where classes lie that are not in a folder but a step below or above."""
    wanted = set(missing)
    for inner in sorted(_subfolders(folder))[:_FOLDERS_LOOKED_INTO]:
        below = folder / inner
        if wanted <= _classes_below(below):
            return f"They are one folder further down: pass {str(below)!r}."
        is_part = inner.lower() in _PARTS["train"] + _PARTS["test"]
        if is_part and not _subfolders(below):
            return (
                f"Put the images of {str(below)!r} into folders of their classes, such "
                f"as {str(below / missing[0])!r}."
            )
    parents = folder.resolve().parents
    # Of ROOT and ROOT/train, ROOT.
    for above in (parents[1:2], parents[:1]):
        for parent in above:
            if wanted <= _classes_below(parent):
                return f"They are further up: pass {str(parent)!r}."
    return None


def _classes_below(folder: Path) -> set[str]:
    """Return the names of the classes of a folder with or without `train`."""
    names = set(_subfolders(folder))
    for name in names & {"train", "test"}:
        names |= set(_subfolders(folder / name))
    return names


def _count_beside(
    folder: Path, names: Iterable[str], passed_over: Counter[str]
) -> None:
    """Count what is in a folder beside the folders named."""
    known = set(names)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in known:
                continue
            if entry.name.startswith("."):
                passed_over[HIDDEN] += 1
            else:
                passed_over[_OTHER_FOLDER if entry.is_dir() else _OTHER_FILE] += 1


def _subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, without hidden ones."""
    try:
        with os.scandir(folder) as entries:
            return [
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir()
            ]
    except OSError:
        return []
