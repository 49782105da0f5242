"""Which class is rare and which image goes where: seeded splits, and imbalance."""

import math
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NamedTuple, TypeVar

import numpy as np

from egan_keras.data.decoding import Source
from egan_keras.data.groups import ByClass, GroupOf, hold_out_groups

MAJORITY, MINORITY = 0, 1

_LISTED_NAMES = 20

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

    def check_case(
        self, available: Iterable[str], what: str, where: str, advice: str
    ) -> None:
        """Refuse what one of these classes may be meant by, too, but for its case."""
        for other in sorted(set(available) - set(self.names)):
            for name in self.names:
                if other.casefold() == name.casefold():
                    raise ValueError(
                        f"{what} differ in upper and lower case alone, so that one "
                        f"class may be meant by both. Received: {name!r} and {other!r} "
                        f"in {where}. {advice}, or name both as one role: "
                        f"{name},{other}."
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
    def parts(self) -> dict[str, ByClass]:
        """The images of `pool`, `validation` and `test`, which may have none."""
        return {part: getattr(self, part) or {} for part in self._fields[:3]}

    @property
    def sources(self) -> list[Source]:
        """All images."""
        return [s for part in self.parts.values() for x in part.values() for s in x]

    @property
    def all_passed_over(self) -> Counter[str]:
        """Number of files and folders passed over anywhere, by reason."""
        return sum(map(self.passed_over_in, self.parts), Counter())

    def passed_over_in(self, part: str) -> Counter[str]:
        """Number of those passed over in one part, of which `pool` has the rest."""
        found = self.parts[part].values()
        counts = (getattr(each, "passed_over", Counter()) for each in found)
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
