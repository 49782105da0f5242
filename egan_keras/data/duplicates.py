"""Images that occur twice: kept from judging what was trained on them, and counted."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from egan_keras.data.contents import content_hashes
from egan_keras.data.decoding import EncodedImage, UnreadableError, read_header
from egan_keras.data.images import Source
from egan_keras.data.labelled import Splits
from egan_keras.data.layouts import Listing
from egan_keras.data.roles import ClassRoles
from egan_keras.data.splits import Division, SplitRules, divide
from egan_keras.text import first_few

CHOICES = ("drop", "refuse", "keep")

_NAMED = 3

ByClass = Mapping[str, Sequence[Source]]


class Image(NamedTuple):
    """An image whose contents another one has, too.

    Attributes:
        source: its file.
        class_name: its class.
        part: where it lies: 0 with those to train on, 1 with those to validate with,
            2 with those to test on.
    """

    source: Source
    class_name: str
    part: int


class Duplicates:
    """The images that equal another one, and the splits that they may go to.

    Args:
        listing: all images.
        roles: their classes.
        duplicates: as for `load_folder`.

    Attributes:
        dropped: the images that are in no split.

    Raises:
        ValueError: for an unknown choice, or for copies that are refused.

    Warns:
        UserWarning: counting and naming the copies.
    """

    def __init__(
        self, listing: Listing, roles: ClassRoles, duplicates: str | None = None
    ) -> None:
        _check_choice(duplicates)
        self._roles = roles
        parts = [listing.pool, listing.validation, listing.test]
        groups = _groups(parts)
        mixed, alike = _parted(groups, lambda group: _has_both_labels(group, roles))
        leaks, _ = _parted(alike, lambda group: group[0].part != group[-1].part)
        _refuse(mixed, leaks, duplicates)
        self.dropped: list[Image] = []
        if duplicates != "keep":
            self.dropped += [i for group in mixed for i in group]
            self.dropped += [i for g in leaks for i in g if i.part != g[0].part]
        out = {image.source for image in self.dropped}
        left = [[i for i in group if i.source not in out] for group in groups]
        self._later = [image for group in left for image in group[1:]]
        # The others of a group go to the split that its first one goes to.
        self._others: dict[Source, list[Image]] = {}
        if duplicates != "keep":
            self._others = {group[0].source: group[1:] for group in left if group}
            out |= {image.source for image in self._later}
        self._single = listing._replace(
            pool=_without(listing.pool, out),
            validation=_without(listing.validation, out),
            test=_without(listing.test, out),
        )
        _tell(mixed, leaks, self._later, duplicates)

    @property
    def n_later(self) -> int:
        """Number of images that equal an earlier one and are not dropped."""
        return len(self._later)

    def divide(
        self, rules: SplitRules, *, is_usable: Callable[[Source], bool] | None = None
    ) -> Division[Source]:
        """Divide the images as `divide` does, with copies on one side of every split.

        Where the rules reduce the minority, a copy is no further image of it.

        Raises:
            ValueError: as `divide` does.
        """
        division = divide(
            *self._single.sides(self._roles, rules.seed),
            self._roles,
            rules,
            validation=self._single.validation,
            **{"is_usable": is_usable} if is_usable else {},
        )
        return division._replace(
            train=self._with_others(
                division.train, self._roles.minority if rules.reduces_minority else ()
            ),
            validation=self._with_others(division.validation),
            test=self._with_others(division.test),
        )

    def counted(self, splits: Splits, division: Division[Source]) -> Splits:
        """Return splits that name the copies in them, and those left out of them."""
        later = {image.source for image in self._later}
        return Splits(
            *(
                replace(
                    images,
                    duplicates=tuple(str(each) for each, _ in split if each in later),
                    dropped_duplicates=tuple(
                        str(image.source)
                        for image in self.dropped
                        if image.part == part
                    ),
                )
                for part, (images, split) in enumerate(
                    zip(splits, division[:3], strict=True)
                )
            )
        )

    def _with_others(
        self, split: Sequence[tuple[Source, str]], alone: Sequence[str] = ()
    ) -> list[tuple[Source, str]]:
        """Return a split with copies beside the first ones, but of some classes."""
        return [
            pair
            for source, name in split
            for pair in (
                (source, name),
                *(
                    (other.source, other.class_name)
                    for other in self._others.get(source, ())
                    if name not in alone
                ),
            )
        ]


def _check_choice(duplicates: Any) -> None:
    if duplicates is not None and duplicates not in CHOICES:
        raise ValueError(
            f"`duplicates` must be one of {', '.join(map(repr, CHOICES))}, or None. "
            f"Received: duplicates={duplicates!r}. Leave it out to keep copies of "
            "training images from judging."
        )


def _groups(parts: Sequence[ByClass | None]) -> list[list[Image]]:
    """Return the images of each content that occurs several times, in their order."""
    sources, places = [], []
    for part, by_class in enumerate(parts):
        for name, found in (by_class or {}).items():
            sources += found
            places += [(name, part)] * len(found)
    rows = _repeated(range(len(sources)), map(_size, sources))
    suspects = [row for group in rows for row in group]
    hashes = _hashes([sources[row] for row in suspects])
    groups = (
        # Two empty or torn files are two torn files.
        [Image(sources[r], *places[r]) for r in rows if _is_readable(sources[r])]
        for rows in _repeated(suspects, hashes)
    )
    return [group for group in groups if len(group) > 1]


def _repeated(rows: Iterable[int], marks: Iterable[Any]) -> list[list[int]]:
    """Return the rows of each mark that several have, in their order; None is none."""
    by_mark: dict[Any, list[int]] = {}
    for row, mark in zip(rows, marks, strict=True):
        if mark is not None:
            by_mark.setdefault(mark, []).append(row)
    return [sorted(group) for group in by_mark.values() if len(group) > 1]


def _size(source: Source) -> int | None:
    if isinstance(source, EncodedImage):
        return len(source.data)
    try:
        return os.stat(source).st_size
    except OSError:
        return None


def _hashes(sources: Sequence[Source]) -> list[Any]:
    files = [each for each in sources if not isinstance(each, EncodedImage)]
    of_files = iter(content_hashes(files))
    return [
        hashlib.blake2b(each.data).digest()
        if isinstance(each, EncodedImage)
        else next(of_files)
        for each in sources
    ]


def _is_readable(source: Source) -> bool:
    try:
        return bool(read_header(source))
    except UnreadableError:
        return False


def _has_both_labels(group: Sequence[Image], roles: ClassRoles) -> bool:
    return len({roles.label(image.class_name) for image in group}) > 1


def _parted(
    groups: Sequence[list[Image]], condition: Callable[[list[Image]], bool]
) -> tuple[list[list[Image]], list[list[Image]]]:
    """Return the groups that meet a condition, and the others."""
    parted: tuple[list, list] = [], []
    for group in groups:
        parted[not condition(group)].append(group)
    return parted


def _without(by_class: ByClass | None, out: set[Source]) -> ByClass | None:
    if by_class is None:
        return None
    return {
        name: [source for source in sources if source not in out]
        for name, sources in by_class.items()
    }


def _refuse(
    mixed: Sequence[Sequence[Image]],
    leaks: Sequence[Sequence[Image]],
    duplicates: str | None,
) -> None:
    """Refuse copies that the choice does not deal with."""
    if mixed and duplicates in (None, "refuse"):
        raise ValueError(
            "The same image is majority and minority both; expected one label for each "
            f"content. Received: {_counted(mixed)}. Remove the wrong ones, or choose "
            "duplicates='drop' (--duplicates drop), which leaves them out, or 'keep'."
        )
    if leaks and duplicates == "refuse":
        raise ValueError(
            "The same image is there to train on and to validate or test on; expected "
            f"none, by duplicates='refuse'. Received: {_counted(leaks)}. Remove it "
            "from one side, or choose duplicates='drop' (--duplicates drop), which "
            "leaves it to the side named first."
        )


def _tell(
    mixed: Sequence[Sequence[Image]],
    leaks: Sequence[Sequence[Image]],
    later: Sequence[Image],
    duplicates: str | None,
) -> None:
    """Warn of copies, with what becomes of them."""
    kept = duplicates == "keep"
    told = []
    if mixed:
        fate = "used as both" if kept else "left out"
        told.append(f"majority and minority both, {fate}: {_counted(mixed)}")
    if leaks:
        fate = "used all the same" if kept else "left out there"
        told.append(
            "images to train or validate on among those to validate or test on, "
            f"{fate}: {_counted(leaks)}"
        )
    if later:
        named = first_few([image.source for image in later], _NAMED)
        fate = "split like others" if kept else "kept on one side of every split"
        told.append(f"further copies, {fate}: {len(later)} ({named})")
    if told:
        warnings.warn(
            f"Some images have equal contents: {'; '.join(told)}.", stacklevel=4
        )


def _counted(groups: Sequence[Sequence[Image]]) -> str:
    """Return how many contents there are, and where the first ones are."""
    alike = [" = ".join(str(i.source) for i in group[:_NAMED]) for group in groups]
    return f"{len(groups)} ({first_few(alike, _NAMED)})"
