"""Images that occur twice: kept from judging what was trained on them, and counted."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from egan_keras.data.contents import content_hashes
from egan_keras.data.decoding import UNREADABLE, EncodedImage, read_size
from egan_keras.data.images import Source
from egan_keras.data.labelled import Splits
from egan_keras.data.roles import ClassRoles
from egan_keras.data.splits import Division, SplitRules, divide
from egan_keras.text import printable

CHOICES = ("drop", "refuse", "keep")

_NAMED = 3

ByClass = Mapping[str, Sequence[Source]]


class Image(NamedTuple):
    """An image whose contents another one has, too."""

    source: Source
    class_name: str
    is_test: bool


class Duplicates:
    """The images with the same contents as another, and the splits they may go to.

    Args:
        pool: the images of each class to divide.
        test: those of the test split; None where it is yet to be made.
        roles: the classes.
        duplicates: as for `load_folder`.

    Attributes:
        dropped: the images that are in no split.

    Raises:
        ValueError: for an unknown choice, or copies that are refused.

    Warns:
        UserWarning: counting and naming the copies.
    """

    def __init__(
        self,
        pool: ByClass,
        test: ByClass | None,
        roles: ClassRoles,
        duplicates: str | None = None,
    ) -> None:
        _check_choice(duplicates)
        groups = _groups(pool, test or {})
        mixed, alike = _parted(groups, lambda group: _has_both_labels(group, roles))
        leaks, _ = _parted(alike, lambda group: len({i.is_test for i in group}) > 1)
        _refuse(mixed, leaks, duplicates)
        self.dropped: list[Image] = []
        if duplicates != "keep":
            self.dropped += [image for group in mixed for image in group]
            self.dropped += [image for each in leaks for image in each if image.is_test]
        out = {image.source for image in self.dropped}
        left = [[i for i in group if i.source not in out] for group in groups]
        self._later = [image for group in left for image in group[1:]]
        # In the pool, the others go to the split that the first one goes to.
        self._others: dict[Source, list[Image]] = {}
        if duplicates != "keep":
            pooled = [group for group in left if group and not group[0].is_test]
            self._others = {group[0].source: group[1:] for group in pooled}
        out |= {image.source for each in self._others.values() for image in each}
        self._pool = _without(pool, out)
        self._test = None if test is None else _without(test, out)
        self._roles = roles
        _tell(mixed, leaks, self._later, duplicates)

    def divide(
        self, rules: SplitRules, *, is_usable: Callable[[Source], bool] | None = None
    ) -> Division[Source]:
        """Divide the images as `divide` does, with copies on one side of every split.

        Where the rules reduce the minority, a copy is no further image of it.

        Raises:
            ValueError: as `divide` does.
        """
        options = {"is_usable": is_usable} if is_usable else {}
        division = divide(self._pool, self._test, self._roles, rules, **options)
        if not self._others:
            return division
        single = self._roles.minority if rules.reduces_minority else ()

        def with_others(split: Sequence[tuple[Source, str]]) -> Iterator:
            for source, name in split:
                yield source, name
                for image in self._others.get(source, ()) if name not in single else ():
                    yield image.source, image.class_name

        names = ("train", "validation", "test")
        return division._replace(
            **{name: list(with_others(getattr(division, name))) for name in names}
        )

    def counted(self, splits: Splits, division: Division[Source]) -> Splits:
        """Return splits that name the copies in them, and those left out of them."""
        later = {image.source for image in self._later}
        out = {"train": [], "validation": [], "test": []}
        for image in self.dropped:
            out["test" if image.is_test else "train"].append(str(image.source))
        return Splits(
            **{
                name: replace(
                    images,
                    dropped_duplicates=tuple(out[name]),
                    duplicates=tuple(
                        str(source)
                        for source, _ in getattr(division, name)
                        if source in later
                    ),
                )
                for name, images in splits._asdict().items()
            }
        )


def _check_choice(duplicates: Any) -> None:
    if duplicates is not None and duplicates not in CHOICES:
        raise ValueError(
            f"`duplicates` must be one of {', '.join(map(repr, CHOICES))}, or None. "
            f"Received: duplicates={duplicates!r}. Leave it out to keep copies of "
            "training images from judging."
        )


def _groups(pool: ByClass, test: ByClass) -> list[list[Image]]:
    """Return the images of each content that occurs several times, in their order."""
    images = [
        Image(source, name, is_test)
        for by_class, is_test in ((pool, False), (test, True))
        for name, sources in by_class.items()
        for source in sources
    ]
    alike = _equal(images, [_size(image.source) for image in images])
    suspects = [image for group in alike for image in group]
    groups = _equal(suspects, _hashes([image.source for image in suspects]))
    # Two empty or torn files are two torn files.
    readable = ([i for i in group if _is_readable(i.source)] for group in groups)
    return [group for group in readable if len(group) > 1]


def _equal(images: Sequence[Image], marks: Sequence[Any]) -> list[list[Image]]:
    """Return those images of which several have the same mark; None is none."""
    groups: dict[Any, list[Image]] = {}
    for image, mark in zip(images, marks, strict=True):
        if mark is not None:
            groups.setdefault(mark, []).append(image)
    return [group for group in groups.values() if len(group) > 1]


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
        return bool(read_size(source))
    except UNREADABLE:
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


def _without(by_class: ByClass, out: set[Source]) -> dict[str, list[Source]]:
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
            "The same image is there to train on and to test on; expected none, by "
            f"duplicates='refuse'. Received: {_counted(leaks)}. Remove it from one "
            "side, or choose duplicates='drop' (--duplicates drop), which leaves it "
            "out of the test."
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
        fate = "judged all the same" if kept else "left out of the test"
        told.append(f"training images among the test images, {fate}: {_counted(leaks)}")
    if later:
        n, names = len(later), [printable(image.source) for image in later[:_NAMED]]
        fate = "split like others" if kept else "kept on one side of every split"
        more = ", ..." if n > _NAMED else ""
        told.append(f"further copies, {fate}: {n} ({', '.join(names)}{more})")
    if told:
        warnings.warn(
            f"Some images have equal contents: {'; '.join(told)}.", stacklevel=4
        )


def _counted(groups: Sequence[Sequence[Image]]) -> str:
    """Return how many contents there are, and where the first ones are."""
    shown = [
        " = ".join(printable(image.source) for image in group[:_NAMED])
        for group in groups[:_NAMED]
    ]
    more = ", ..." if len(groups) > _NAMED else ""
    return f"{len(groups)} ({', '.join(shown)}{more})"
