"""Finding image files; what is passed over is counted by reason."""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path

from text import printable

SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".bmp", ".dib"),
    *(".gif", ".webp", ".tif", ".tiff"),
)
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
HIDDEN = "hidden"

_BROKEN_LINK = "broken link"
TWICE = "reached twice"
_SHOWN_SUFFIX = re.compile(r"\.\w{1,12}", re.ASCII)
_SHOWN_REASONS = 10


class FoundImages(list[Path]):
    """Image files, each once.

    `passed_over` counts the files and folders passed over, by reason; a folder that was
    not searched counts as one.
    """

    def __init__(self, paths: Iterable[Path], passed_over: Counter[str]) -> None:
        super().__init__(paths)
        self.passed_over = passed_over


def find_images(
    paths: str | PathLike[str] | Iterable[str | PathLike[str]],
) -> FoundImages:
    """Return the image files among files and folders, sorted, each once.

    Folders are searched with all folders below them, and links are followed. Passed
    over, and counted in `passed_over` of what is returned, are in them: files with
    other suffixes than `SUFFIXES` (by suffix), hidden files and folders (names
    starting with a dot), broken links, links that lead back up, what is no regular
    file, folders that cannot be opened, and what was reached before on another way.

    Raises:
        FileNotFoundError: if a path does not exist or a folder holds no image.
        ValueError: if a file named itself has another suffix, or is not regular.
    """
    if isinstance(paths, str | PathLike):
        paths = [paths]
    search = ImageSearch()
    found = [image for path in paths for image in search.add(path)]
    return FoundImages(sorted(found), search.passed_over)


def in_words(passed_over: Mapping[str, int]) -> str:
    """Return counts by reason as words, the largest first.

    >>> in_words({"hidden": 2, "other suffix .txt": 13})
    '13 other suffix .txt, 2 hidden'
    """
    ordered = Counter(passed_over).most_common()
    said = [f"{count:,} {printable(reason)}" for reason, count in ordered]
    rest = sum(count for _, count in ordered[_SHOWN_REASONS:])
    return ", ".join(said[:_SHOWN_REASONS] + ([f"{rest:,} others"] if rest else []))


class ImageSearch:
    """Finds images among files and folders named one after the other, each once."""

    def __init__(self) -> None:
        self.passed_over: Counter[str] = Counter()
        # Device and number of each folder searched.
        self._searched: set[tuple[int, int]] = set()
        # Where the files lie that were named themselves or reached through a link.
        self._targets: set[str] = set()

    def add(self, path: str | PathLike[str]) -> list[Path]:
        """Return the images at a path that were not found before, sorted."""
        path = Path(path)
        if path.is_dir():
            return sorted(map(Path, self.below(path)))
        if not path.exists():
            raise FileNotFoundError(
                f"There is no such file or folder. Received: path={str(path)!r}. "
                "Check the path."
            )
        if not path.is_file():
            raise ValueError(
                "The path is neither a regular file nor a folder. Received: "
                f"path={str(path)!r}. Name an image or a folder of images."
            )
        if unusable(path.name, True):
            raise ValueError(
                "The file is not of a supported image type; expected one of "
                f"{' '.join(SUFFIXES)}. Received: path={str(path)!r}. Convert it."
            )
        if self.was_found(str(path)):
            self.passed_over[TWICE] += 1
            return []
        return [path]

    def below(self, folder: str | PathLike[str]) -> list[str]:
        """Return the images in a folder and below it, unsorted; a str takes less."""
        before = self.passed_over.copy()
        found: list[str] = []
        folders, links = [str(folder)], []
        while folders or links:
            if folders:
                self._list(folders.pop(), found, folders, links)
                continue
            # Links last, so that what can be reached without one is; and sorted.
            links.sort(reverse=True)
            self._follow(links.pop(), found, folders)
        passed_over = self.passed_over - before
        if not found and not passed_over[TWICE]:
            advice = "Put images there or name another folder."
            if any(reason.endswith(ARCHIVES) for reason in passed_over):
                advice = "Unpack the archives in it."
            elif _BROKEN_LINK in passed_over:
                advice = f"Mend the links. {advice}"
            raise FileNotFoundError(
                f"The folder holds no images; expected {' '.join(SUFFIXES)} in it or "
                f"below. Received: path={str(folder)!r}, with "
                f"{passed_over.total()} other files"
                f"{f' ({in_words(passed_over)})' if passed_over else ''}. {advice}"
            )
        return found

    def _list(
        self, folder: str, found: list[str], folders: list[str], links: list[str]
    ) -> None:
        """Sort out what is in one folder."""
        try:
            state = os.stat(folder)
            if (state.st_dev, state.st_ino) in self._searched:
                self.passed_over[TWICE] += 1
                return
            self._searched.add((state.st_dev, state.st_ino))
            with os.scandir(folder) as listed:
                entries = list(listed)
        except OSError:
            self.passed_over["folder that cannot be opened"] += 1
            return
        place = os.path.realpath(folder) if self._targets else ""
        for entry in entries:
            if entry.name.startswith("."):
                self.passed_over[HIDDEN] += 1
            elif entry.is_symlink():
                links.append(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif reason := unusable(entry.name, entry.is_file(follow_symlinks=False)):
                self.passed_over[reason] += 1
            elif place and os.path.join(place, entry.name) in self._targets:
                self.passed_over[TWICE] += 1
            else:
                found.append(entry.path)

    def _follow(self, link: str, found: list[str], folders: list[str]) -> None:
        """Sort out what a link leads to."""
        try:
            mode = os.stat(link).st_mode
        except OSError:
            self.passed_over[_BROKEN_LINK] += 1
            return
        if stat.S_ISDIR(mode):
            target = os.path.join(os.path.realpath(link), "")
            place = os.path.join(os.path.realpath(os.path.dirname(link)), "")
            if place.startswith(target):
                self.passed_over["link in a circle"] += 1
            else:
                folders.append(link)
        elif reason := unusable(link, stat.S_ISREG(mode)):
            self.passed_over[reason] += 1
        elif self.was_found(link):
            self.passed_over[TWICE] += 1
        else:
            found.append(link)

    def was_found(self, path: str) -> bool:
        """Tell whether a file was found on another way, and keep where it lies."""
        target = os.path.realpath(path)
        if target in self._targets:
            return True
        self._targets.add(target)
        folder, name = os.path.split(target)
        state = os.stat(folder)
        searched = (state.st_dev, state.st_ino) in self._searched
        return searched and not (unusable(name, True) or name.startswith("."))


def unusable(name: str, is_regular: bool) -> str | None:
    """Return why a file of this name is passed over; None for an image."""
    if not is_regular:
        return "not a regular file"
    if name.lower().endswith(SUFFIXES):
        return None
    suffix = os.path.splitext(name)[1].lower()
    # Of odd ones there could be as many as files.
    return f"other suffix {suffix if _SHOWN_SUFFIX.fullmatch(suffix) else ''}".strip()
