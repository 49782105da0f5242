"""Which images hold the same: hashes of files, and copies kept from judging.

A file is read once. Its hash is kept in an index in the cache folder under its path,
size, times of change and inode; as long as these stay, its contents do. The time of
change of the inode (ctime) is the file system's own, which no copying with kept times
(`cp -p`, `rsync -t`, `touch -d`) sets back; on Windows there is none, and the time of
writing decides.
"""

import contextlib
import hashlib
import os
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from multiprocessing.pool import ThreadPool
from os import PathLike
from typing import Any, NamedTuple, TypeVar

from egan_keras.data.decoding import EncodedImage, Source, UnreadableError, read_header
from egan_keras.data.splits import ByClass, ClassRoles, Division, Listing, SplitRules
from egan_keras.files import cache_folder, content_hash
from egan_keras.text import first_few

INDEX = "contents.sqlite"
# More than cores, for disks that are far away.
THREADS = min(32, (os.cpu_count() or 1) + 4)
# What may be done with images that have equal contents.
CHOICES = ("drop", "refuse", "keep")

# The oldest go first. A row takes about 60 bytes.
_MOST_ROWS = 2_000_000
# A file changed that shortly ago might change again within one tick of its times.
_UNSETTLED_NS = 2 * 10**9
_CHUNK = 32
_ASKED_AT_ONCE = 500
_NS_BEFORE_TELLING = 2 * 10**9
_CHECK_BYTES = 4
_MARK_BYTES = 16
_NAMED = 3

Answer = TypeVar("Answer")


def content_hashes(paths: Sequence[str | PathLike[str]]) -> list[str | None]:
    """Return a hash of each file's contents, reading only what the index lacks.

    It has 32 hexadecimal digits, and is None for a file that cannot be read.
    """
    started = time.time_ns()
    states = [_state(path) for path in paths]
    hashes = _with_index(lambda index: _look_up(index, [mark for mark, _ in states]))
    hashes = hashes or [None] * len(paths)
    missing = [row for row, found in enumerate(hashes) if found is None]
    with ThreadPool(THREADS) as pool:
        is_told = False
        found = pool.imap(_hash, [paths[row] for row in missing], chunksize=_CHUNK)
        for row, mark in zip(missing, found, strict=True):
            hashes[row] = mark
            if not is_told and time.time_ns() - started > _NS_BEFORE_TELLING:
                print(f"Reading {len(missing):,} files to recognise them", flush=True)
                is_told = True
    read = [row for row in missing if hashes[row]]
    settled = [row for row in read if states[row][1] < started - _UNSETTLED_NS]
    # Of a file that was changed while it was read, nothing is known.
    known = {
        states[row][0]: bytes.fromhex(hashes[row])
        for row in settled
        if _state(paths[row]) == states[row]
    }
    if known:
        _with_index(lambda index: _keep(index, known))
    return hashes


def _state(path: str | PathLike[str]) -> tuple[bytes, int]:
    """Return what a file is known by in the index, and when it last changed."""
    try:
        found = os.stat(path)
    except OSError:
        return b"", 0
    times = found.st_mtime_ns, found.st_ctime_ns
    text = repr((found.st_size, *times, found.st_ino)).encode()
    name = os.fsencode(os.path.abspath(path))
    mark = hashlib.blake2b(name + b"\0" + text, digest_size=_MARK_BYTES).digest()
    # A time of writing may be any, even one to come.
    return mark, times[0] if os.name == "nt" else times[1]


def _hash(path: str | PathLike[str]) -> str | None:
    try:
        return content_hash(path)
    except OSError:  # who reads it as an image says why
        return None


def _look_up(index: sqlite3.Connection, marks: Sequence[bytes]) -> list[str | None]:
    """Return the hashes that the index holds; None for damaged ones, too."""
    rows: dict[bytes, Any] = {}
    for start in range(0, len(marks), _ASKED_AT_ONCE):
        asked = marks[start : start + _ASKED_AT_ONCE]
        places = ",".join("?" * len(asked))
        query = f"SELECT mark, hash FROM hashes WHERE mark IN ({places})"
        rows.update(index.execute(query, asked))
    hashes = []
    for mark in marks:
        row = rows.get(mark)
        found = row[:_MARK_BYTES] if isinstance(row, bytes) else b""
        hashes.append(found.hex() if row == _checked(mark, found) else None)
    return hashes


def _keep(index: sqlite3.Connection, hashes: Mapping[bytes, bytes]) -> None:
    rows = [(mark, _checked(mark, found)) for mark, found in hashes.items()]
    with index:
        index.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?)", rows)
        oldest = "SELECT max(rowid) FROM hashes"
        index.execute(
            f"DELETE FROM hashes WHERE rowid <= ({oldest}) - ?", (_MOST_ROWS,)
        )


def _checked(mark: bytes, found: bytes) -> bytes:
    """Return a hash with bytes behind it that tell whether a row is damaged."""
    return found + hashlib.blake2b(mark + found, digest_size=_CHECK_BYTES).digest()


def _with_index(action: Callable[[sqlite3.Connection], Answer]) -> Answer | None:
    """Return what an action gives; None where there can be no index: it only helps."""
    try:
        path = cache_folder().expanduser() / INDEX
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(path)) as index:
            index.execute(
                "CREATE TABLE IF NOT EXISTS hashes (mark BLOB PRIMARY KEY, hash BLOB)"
            )
            return action(index)
    # No place for it, or another process keeps it for long.
    except (OSError, RuntimeError, sqlite3.OperationalError):
        return None
    except sqlite3.DatabaseError:  # it is damaged, and made anew next time
        for name in (INDEX, f"{INDEX}-journal"):
            path.with_name(name).unlink(missing_ok=True)
        return None


class _Image(NamedTuple):
    """An image whose contents another one has, too."""

    source: Source
    class_name: str
    # 0 with those to train on, 1 with those to validate with, 2 with those to test on.
    part: int


class Duplicates:
    """The images that equal another one, and the splits that they may go to.

    They are refused, dropped or kept as `duplicates` of `load_folder` says, with a
    warning that counts them. `dropped` are those in no split, each with its `source`
    and `part`; `later` are sources that equal an earlier one and are not dropped.
    """

    def __init__(
        self, listing: Listing, roles: ClassRoles, duplicates: str | None = None
    ) -> None:
        if duplicates is not None and duplicates not in CHOICES:
            raise ValueError(
                f"`duplicates` must be one of {', '.join(map(repr, CHOICES))}, or "
                f"None. Received: duplicates={duplicates!r}. Leave it out to keep "
                "copies of training images from judging."
            )
        self._roles, kept = roles, duplicates == "keep"
        parts = {part: getattr(listing, part) or {} for part in Listing._fields[:3]}
        groups = _groups(parts.values())
        mixed, leaks = [], []
        for group in groups:
            if len({roles.label(image.class_name) for image in group}) > 1:
                mixed.append(group)
            elif group[0].part != group[-1].part:
                leaks.append(group)
        self.dropped: list[_Image] = []
        if not kept:
            self.dropped += [i for group in mixed for i in group]
            self.dropped += [i for g in leaks for i in g if i.part != g[0].part]
        out = {image.source for image in self.dropped}
        left = [[i for i in group if i.source not in out] for group in groups]
        self.later = [image.source for group in left for image in group[1:]]
        _tell(mixed, leaks, self.later, duplicates)
        # The others of a group go to the split that its first one goes to.
        self._others: dict[Source, list[_Image]] = {}
        if not kept:
            self._others = {group[0].source: group[1:] for group in left if group}
            out |= set(self.later)
        left_in = {
            part: {name: [s for s in x if s not in out] for name, x in by_class.items()}
            for part, by_class in parts.items()
            if by_class
        }
        self._single = listing._replace(**left_in)

    @property
    def n_later(self) -> int:
        """Number of images that equal an earlier one and are not dropped."""
        return len(self.later)

    def divide(
        self, rules: SplitRules, *, is_usable: Callable[[Source], bool] = lambda s: True
    ) -> Division[Source]:
        """Divide the images as `Listing.divide` does, with copies on one side.

        Where the rules reduce the minority, a copy is no further image of it.
        """
        division = self._single.divide(self._roles, rules, is_usable)
        alone = self._roles.minority if rules.reduces_minority else ()
        return division._replace(
            train=self._with_others(division.train, alone),
            validation=self._with_others(division.validation),
            test=self._with_others(division.test),
        )

    def _with_others(
        self, split: Sequence[tuple[Source, str]], alone: Sequence[str] = ()
    ) -> list[tuple[Source, str]]:
        """Return a split with copies beside the first ones, but of some classes."""
        both = []
        for source, name in split:
            others = () if name in alone else self._others.get(source, ())
            both += [(source, name), *((i.source, i.class_name) for i in others)]
        return both


def _groups(parts: Iterable[ByClass]) -> list[list[_Image]]:
    """Return the images of each content that occurs several times, in their order."""
    images = [
        _Image(source, name, part)
        for part, by_class in enumerate(parts)
        for name, found in by_class.items()
        for source in found
    ]
    suspects = [i for group in _repeated(images, map(_size, images)) for i in group]
    files = [i.source for i in suspects if not isinstance(i.source, EncodedImage)]
    of_files = iter(content_hashes(files))
    hashes = [
        hashlib.blake2b(i.source.data).digest()
        if isinstance(i.source, EncodedImage)
        else next(of_files)
        for i in suspects
    ]
    # Two empty or torn files are two torn files.
    groups = [list(filter(_is_readable, g)) for g in _repeated(suspects, hashes)]
    return [group for group in groups if len(group) > 1]


def _repeated(images: Iterable[_Image], marks: Iterable[Any]) -> list[list[_Image]]:
    """Return the images of each mark that several have; None is no mark."""
    by_mark: dict[Any, list[_Image]] = {}
    for image, mark in zip(images, marks, strict=True):
        if mark is not None:
            by_mark.setdefault(mark, []).append(image)
    return [group for group in by_mark.values() if len(group) > 1]


def _size(image: _Image) -> int | None:
    try:
        source = image.source
        is_here = isinstance(source, EncodedImage)
        return len(source.data) if is_here else os.stat(source).st_size
    except OSError:
        return None


def _is_readable(image: _Image) -> bool:
    try:
        return bool(read_header(image.source))
    except UnreadableError:
        return False


def _tell(
    mixed: Sequence[list[_Image]],
    leaks: Sequence[list[_Image]],
    later: Sequence[Source],
    choice: str | None,
) -> None:
    """Warn of copies, with what becomes of them, or refuse them."""
    if mixed and choice in (None, "refuse"):
        raise ValueError(
            "The same image is majority and minority both; expected one label for each "
            f"content. Received: {_counted(mixed)}. Remove the wrong ones, or choose "
            "duplicates='drop' (--duplicates drop), which leaves them out, or 'keep'."
        )
    if leaks and choice == "refuse":
        raise ValueError(
            "The same image is there to train on and to validate or test on; expected "
            f"none, by duplicates='refuse'. Received: {_counted(leaks)}. Remove it "
            "from one side, or choose duplicates='drop' (--duplicates drop), which "
            "leaves it to the side named first."
        )
    kept = choice == "keep"
    told = []
    if mixed:
        fate = "used as both" if kept else "left out"
        told.append(f"majority and minority both, {fate}: {_counted(mixed)}")
    if leaks:
        told.append(
            "images to train or validate on among those to validate or test on, "
            f"{'used all the same' if kept else 'left out there'}: {_counted(leaks)}"
        )
    if later:
        fate = "split like others" if kept else "kept on one side of every split"
        named = first_few(later, _NAMED)
        told.append(f"further copies, {fate}: {len(later)} ({named})")
    if told:
        warnings.warn(
            f"Some images have equal contents: {'; '.join(told)}.", stacklevel=5
        )


def _counted(groups: Sequence[list[_Image]]) -> str:
    """Return how many contents there are, and where the first ones are."""
    alike = [" = ".join(str(i.source) for i in group[:_NAMED]) for group in groups]
    return f"{len(groups)} ({first_few(alike, _NAMED)})"
