"""Which class is rare and which image goes where: seeded splits, imbalance, copies."""

import hashlib
import itertools
import math
import os
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from egan_keras.data.decoding import Source, UnreadableError, read_header
from egan_keras.data.groups import (
    ByClass,
    GroupOf,
    check_one_side,
    hold_out_groups,
    joined,
)
from egan_keras.data.lazy import content_hashes
from egan_keras.text import first_few

MAJORITY, MINORITY = 0, 1

# What may be done with images that have equal contents.
_CHOICES = ("drop", "refuse", "keep")
_LISTED_NAMES = 20
_NAMED = 3

Item = TypeVar("Item")
Split = list[tuple[Source, str]]


@dataclass(frozen=True)
class ClassRoles:
    """The names of the source classes labelled 0, the majority, and 1, the minority."""

    majority: tuple[str, ...]
    minority: tuple[str, ...]

    def __str__(self) -> str:
        """Return both as arguments."""
        return f"majority={self.majority!r}, minority={self.minority!r}"

    @classmethod
    def from_names(
        cls, majority: str | Sequence[str], minority: str | Sequence[str]
    ) -> "ClassRoles":
        """Build the roles from one class name or several for each, or refuse them.

        There may be no minority.
        """
        roles = cls(_as_names(majority), _as_names(minority))
        for role, names in vars(roles).items():
            are_names = all(isinstance(name, str) and name for name in names)
            if not are_names or not (names or role == "minority"):
                raise ValueError(
                    f"`{role}` must be a class name or several. Received: "
                    f"{role}={names!r}. Name at least one class."
                )
        repeated = [n for n, count in Counter(roles.names).items() if count > 1]
        if repeated:
            raise ValueError(
                "A class may be named once only, as majority or as minority. Received: "
                f"{roles}. Leave {', '.join(repeated)} out of one of them."
            )
        return roles

    @property
    def names(self) -> tuple[str, ...]:
        """All class names, the majority's first."""
        return self.majority + self.minority

    def label(self, name: str) -> int:
        """Return the label of a class: 0 = majority, 1 = minority."""
        return MINORITY if name in self.minority else MAJORITY

    def check_known(
        self,
        available: Iterable[str],
        where: str,
        advice: str | None = None,
        *,
        names: Sequence[str] | None = None,
    ) -> None:
        """Refuse classes, all or those of `names`, that `where` does not hold.

        The advice is a sentence; None names the most similar class.
        """
        available = sorted(available)
        unknown = [name for name in names or self.names if name not in available]
        if not unknown:
            return
        listed = ", ".join(available[:_LISTED_NAMES]) or "none"
        if len(available) > _LISTED_NAMES:
            listed += f" and {len(available) - _LISTED_NAMES} more"
        advice = advice or _did_you_mean(unknown[0], available) or "Name one of these."
        raise ValueError(
            f"Unknown class {', '.join(map(repr, unknown))}; {where} holds these: "
            f"{listed}. Received: {self}. {advice}"
        )


@dataclass(frozen=True)
class SplitRules:
    """How images are split and how rare the minority is made, as of `load_folder`."""

    minority_count: int | None = None
    ratio: float | None = None
    seed: int = 0
    validation_fraction: float = 0.2
    test_fraction: float = 0.2

    def __post_init__(self) -> None:
        """Check the rules on their own, before any image is looked at."""
        count, ratio = self.minority_count, self.ratio
        if count is not None and ratio is not None:
            raise ValueError(
                "The imbalance is given twice; expected `minority_count` or `ratio`. "
                f"Received: minority_count={count!r}, ratio={ratio!r}. Leave one out."
            )
        is_int = isinstance(count, int | np.integer)
        if count is not None and not (is_int and count >= 0):
            raise ValueError(
                "`minority_count` must be an int, 0 or more. Received: "
                f"minority_count={count!r}. Pass at least 1, or 0 to know none."
            )
        if ratio is not None and not 0 < ratio < math.inf:
            raise ValueError(
                "`ratio` must be a positive number of majority images per minority "
                f"image. Received: ratio={ratio!r}. Pass 2500 for 1:2500."
            )
        fractions = (self.validation_fraction, self.test_fraction)
        if not all(0 <= part < 1 for part in fractions) or sum(fractions) >= 1:
            raise ValueError(
                "`validation_fraction` and `test_fraction` must lie in [0, 1) and "
                "leave something to training. Received: validation_fraction="
                "{!r}, test_fraction={!r}. Pass, for example, 0.2.".format(*fractions)
            )

    @property
    def reduces_minority(self) -> bool:
        """Whether only some of the minority images are kept."""
        return self.minority_count is not None or self.ratio is not None

    def reduce(
        self,
        minority: Sequence[Item],
        n_majority: int,
        is_usable: Callable[[Item], bool] = lambda item: True,
    ) -> tuple[list[Item], list[Item]]:
        """Return as many usable items as wanted, in their order, and unusable ones."""
        wanted = self.minority_count
        if wanted is None:
            wanted = round(n_majority / self.ratio)
        if wanted < 1 and self.ratio:
            raise ValueError(
                "The ratio leaves no minority image; expected at most twice the "
                f"{n_majority} majority training images. Received: "
                f"ratio={self.ratio!r}. Pass a smaller ratio or minority_count=1."
            )
        kept, unusable = [], []
        # The start of one permutation: smaller counts keep a part of larger ones.
        for index in np.random.default_rng(self.seed).permutation(len(minority)):
            if len(kept) == wanted:
                break
            (kept if is_usable(minority[index]) else unusable).append(index)
        if len(kept) < wanted:
            name = "minority_count" if self.ratio is None else "ratio"
            raise ValueError(
                f"There are fewer minority training images than asked for: {len(kept)}."
                f" Received: {name}={getattr(self, name)!r}, which asks for {wanted}. "
                f"Ask for at most {len(kept)} or add minority images."
            )
        return [minority[i] for i in sorted(kept)], [minority[i] for i in unusable]


class Listing(NamedTuple):
    """The images of a set by class, sorted, and where they lie.

    `validation` and `test` are None where they are to be split off the `pool`. Half of
    a minority class that is in `test` alone is to be trained on. `passed_over` counts
    what lies beside the classes, by reason. `groups` has the group of every image, or
    is None where each is on its own.
    """

    pool: ByClass
    validation: ByClass | None
    test: ByClass | None
    passed_over: Counter[str]
    groups: GroupOf | None = None

    @property
    def sources(self) -> list[Source]:
        """All images."""
        parts = [getattr(self, part) or {} for part in self._fields[:3]]
        return [s for by_class in parts for x in by_class.values() for s in x]

    @property
    def all_passed_over(self) -> Counter[str]:
        """Number of files and folders passed over anywhere, by reason."""
        return sum(map(self.passed_over_in, ("pool", "validation", "test")), Counter())

    def passed_over_in(self, part: str) -> Counter[str]:
        """Number of those passed over in one part, of which `pool` has the rest."""
        by_class = getattr(self, part) or {}
        counts = (getattr(each, "passed_over", Counter()) for each in by_class.values())
        return sum(counts, self.passed_over if part == "pool" else Counter())

    def warn(self, roles: ClassRoles) -> None:
        """Warn of what is unusual about the numbers of images to train on."""
        moved = [name for name in roles.names if name not in self.pool]
        if moved:
            warnings.warn(
                "There are minority images to test on, but none to train on. So half "
                f"of the {sum(len(self.test[name]) for name in moved):,} images of "
                f"{', '.join(map(repr, moved))} are there to train on, class by class "
                "as the seed has it, and are not tested on.",
                stacklevel=4,
            )
        sizes = {name: len(images) for name, images in self.sides(roles, 0)[0].items()}
        n_majority = sum(sizes[name] for name in roles.majority)
        advice = (
            f"Pass {ClassRoles(roles.minority, roles.majority)} (--majority "
            f"{','.join(roles.minority)} --minority {','.join(roles.majority)})."
        )
        warn_if_swapped(n_majority, sum(sizes.values()) - n_majority, advice)

    def sides(self, roles: ClassRoles, seed: int) -> tuple[ByClass, ByClass | None]:
        """Return what to train on, and what to test on if it lies apart."""
        pool, test = dict(self.pool), self.test
        moved = [name for name in roles.names if name not in pool]
        if not moved:
            return pool, test
        of_groups = self.groups or {}
        # A group of an image that stays in the test stays there as a whole.
        stays = {of_groups.get(s) for n, x in test.items() if n not in moved for s in x}
        movable = {
            name: [
                s for s in test[name] if s not in of_groups or of_groups[s] not in stays
            ]
            for name in moved
        }
        held = {n: max(0, len(movable[n]) - len(test[n]) / 2) for n in moved}
        kept, _ = self.hold_out(movable, held, seed)
        if not any(kept.values()):
            raise ValueError(
                "No minority image can be taken from those to test on to train with: "
                "expected groups of minority images alone. Received: "
                f"{', '.join(map(repr, moved))}, all of groups that majority test "
                "images are of. Put minority images of other groups among those to "
                "train on."
            )
        for name in moved:
            taken = set(kept[name])
            rest = [source for source in test[name] if source not in taken]
            pool[name], test = kept[name], {**test, name: rest}
        return pool, test

    def hold_out(
        self, by_class: ByClass, wanted: Mapping[str, float], seed: int
    ) -> tuple[ByClass, ByClass]:
        """Part images at random into kept and held out: class by class, or by groups.

        About as many as are wanted of each class are held out.
        """
        if self.groups is not None:
            return hold_out_groups(by_class, self.groups, wanted, seed)
        # One class at a time: so the majority's part does not depend on the minority,
        # and a class of two images can be split too.
        parts = {n: _hold_out(x, wanted[n], seed) for n, x in by_class.items()}
        return {n: x[0] for n, x in parts.items()}, {n: x[1] for n, x in parts.items()}


class Division(NamedTuple):
    """The images of each split, and minority images that cannot be trained on."""

    train: Split
    validation: Split
    test: Split
    unusable: list[Source]


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
        if duplicates is not None and duplicates not in _CHOICES:
            raise ValueError(
                f"`duplicates` must be one of {', '.join(map(repr, _CHOICES))}, or "
                f"None. Received: duplicates={duplicates!r}. Leave it out."
            )
        self._roles = roles
        parts = {part: getattr(listing, part) or {} for part in Listing._fields[:3]}
        self.dropped: list[_Image] = []
        self.later: list[Source] = []
        # The others of a group go to the split that its first one goes to.
        self._others: dict[Source, Split] = {}
        mixed, leaks = [], []
        for group in _groups(parts.values()):
            first, n_left = group[0], len(group)
            if len({roles.label(image.class_name) for image in group}) > 1:
                mixed.append(group)
                n_left = 0
            elif first.part != group[-1].part:
                leaks.append(group)
                n_left = sum(image.part == first.part for image in group)
            if duplicates == "keep":
                self.later += [image.source for image in group[1:]]
                continue
            self.dropped += group[n_left:]
            self.later += [image.source for image in group[1:n_left]]
            self._others[first.source] = [image[:2] for image in group[1:n_left]]
        _tell(mixed, leaks, self.later, duplicates)
        out = {image.source for image in self.dropped}
        out.update(source for same in self._others.values() for source, _ in same)
        left_in = {
            part: {name: [s for s in x if s not in out] for name, x in by_class.items()}
            for part, by_class in parts.items()
            if by_class
        }
        groups = listing.groups
        if groups is not None:
            check_one_side([left_in.get(part, {}) for part in parts], groups)
            same = ([s, *(o for o, _ in x)] for s, x in self._others.items())
            groups = joined(groups, same)
        self._single = listing._replace(**left_in, groups=groups)

    @property
    def n_later(self) -> int:
        """Number of images that equal an earlier one and are not dropped."""
        return len(self.later)

    def divide(
        self, rules: SplitRules, *, is_usable: Callable[[Source], bool] = lambda s: True
    ) -> Division:
        """Divide the images of each class into training, validation and test.

        What does not lie apart is held out of the pool by the rules' fractions, copies
        beside the first one. Where the rules reduce the minority, its other images and
        all copies are in no split, not even to validate with; an image about to be kept
        that is not usable gives its place to the next. Groups are divided whole, and
        alike whether the minority is reduced or not; minority images of a group that
        validation has majority images of are not trained on.
        """
        roles, single = self._roles, self._single
        pool, test = single.sides(roles, rules.seed)
        n_images = {name: len(pool[name]) for name in roles.names}

        def hold_out(fraction: float) -> tuple[ByClass, ByClass]:
            wanted = {name: fraction * count for name, count in n_images.items()}
            return single.hold_out({n: pool[n] for n in n_images}, wanted, rules.seed)

        if test is None:
            pool, test = hold_out(rules.test_fraction)
        train, validation = pool, single.validation
        if validation is None:
            train, validation = hold_out(rules.validation_fraction)
        splits, minority = Division([], [], [], []), []
        groups = single.groups or {}
        judged = {groups.get(s) for n in roles.majority for s in validation.get(n, ())}
        for name in roles.names:
            splits.test.extend(self._with_copies(test[name], name))
            if rules.reduces_minority and name in roles.minority:
                free = (s for s in pool[name] if not groups or groups[s] not in judged)
                minority += [(source, name) for source in free]
                continue
            splits.train.extend(self._with_copies(train[name], name))
            splits.validation.extend(self._with_copies(validation.get(name, ()), name))
        n_majority = sum(len(train[name]) for name in roles.majority)
        if rules.reduces_minority:
            kept, unusable = rules.reduce(
                minority, n_majority, lambda x: is_usable(x[0])
            )
            splits.train.extend(kept)
            splits.unusable.extend(source for source, _ in unusable)
        return splits

    def _with_copies(self, sources: Sequence[Source], name: str) -> Split:
        pairs = [((source, name), *self._others.get(source, ())) for source in sources]
        return list(itertools.chain(*pairs))


def warn_if_swapped(n_majority: int, n_minority: int, advice: str) -> None:
    """Warn if there are more images of the minority than of the majority.

    Keras numbers classes by the alphabet, so that `bad` is 0 and `good` is 1; a model
    trained on that takes the rare class for the common one.
    """
    if n_minority > n_majority:
        warnings.warn(
            "There are more minority images than majority images; expected label 1 "
            "(minority) for the rare class. Received: "
            f"{n_majority:,} of label 0 and {n_minority:,} of label 1. If the labels "
            f"are swapped, every score means its opposite. {advice}",
            stacklevel=3,
        )


def _hold_out(
    items: Sequence[Source], wanted: float, seed: int
) -> tuple[list[Source], list[Source]]:
    """Part the items at random into kept and held out, each in its order.

    About `wanted` items are held out, though at least one if any are wanted at all,
    and at least one is kept.
    """
    n_held = min(max(1, round(wanted)), len(items) - 1) if wanted else 0
    if n_held < 1:
        return list(items), []
    from sklearn.model_selection import train_test_split  # slow to import

    parts = train_test_split(range(len(items)), test_size=n_held, random_state=seed)
    kept, held = ([items[i] for i in sorted(part)] for part in parts)
    return kept, held


def _as_names(names: str | Sequence[str]) -> tuple[str, ...]:
    is_one = isinstance(names, str) or not isinstance(names, Iterable)
    return (names,) if is_one else tuple(names)


def _did_you_mean(name: str, available: Sequence[str]) -> str | None:
    """Return a question that names the most similar name, or None."""
    text, folded = unicodedata.normalize("NFC", name), name.casefold()
    # Names in other characters that look the same.
    alike = [ascii(x) for x in available if unicodedata.normalize("NFC", x) == text]
    alike += [repr(x) for x in available if x.casefold() == folded]
    alike += map(repr, get_close_matches(name, available, n=1))
    return f"Did you mean {alike[0]}?" if alike else None


def _groups(parts: Iterable[ByClass]) -> list[list[_Image]]:
    """Return the images of each content that occurs several times, in their order."""
    images = [
        _Image(source, name, part)
        for part, by_class in enumerate(parts)
        for name, found in by_class.items()
        for source in found
    ]
    suspects = [i for group in _repeated(images, map(_size, images)) for i in group]
    paths = [i.source for i in suspects if isinstance(i.source, Path)]
    of_files = iter(content_hashes(paths))
    hashes = [
        next(of_files)
        if isinstance(i.source, Path)
        else hashlib.blake2b(i.source.data).digest()
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
        return os.stat(source).st_size if isinstance(source, Path) else len(source.data)
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
    kept, told = choice == "keep", []
    if mixed:
        fate = "used as both" if kept else "left out"
        told.append(f"majority and minority both, {fate}: {_counted(mixed)}")
    if leaks:
        fate = "used all the same" if kept else "left out there"
        what = "images to train or validate on among those to validate or test on"
        told.append(f"{what}, {fate}: {_counted(leaks)}")
    if later:
        fate = "split like others" if kept else "kept on one side of every split"
        named = first_few(later, _NAMED)
        told.append(f"further copies, {fate}: {len(later)} ({named})")
    if told:
        text = f"Some images have equal contents: {'; '.join(told)}."
        warnings.warn(text, stacklevel=5)


def _counted(groups: Sequence[list[_Image]]) -> str:
    """Return how many contents there are, and where the first ones are."""
    alike = [" = ".join(str(i.source) for i in group[:_NAMED]) for group in groups]
    return f"{len(groups)} ({first_few(alike, _NAMED)})"
