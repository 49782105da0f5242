"""Which class is the rare one and which image goes where: seeded splits, imbalance."""

import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from sklearn.model_selection import train_test_split

MAJORITY, MINORITY = 0, 1

_LISTED_NAMES = 20

Item = TypeVar("Item")
ByClass = Mapping[str, Sequence[Item]]


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
        """Build the roles from one class name or several for each, or refuse them."""
        roles = cls(_as_names(majority), _as_names(minority))
        for role, names in vars(roles).items():
            if not names or not all(isinstance(name, str) and name for name in names):
                raise ValueError(
                    f"`{role}` must be a class name or several. Received: "
                    f"{role}={names!r}. Name at least one class."
                )
        repeated = sorted({name for name in roles.names if roles.names.count(name) > 1})
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
        """Refuse roles with a class that `where` does not hold.

        Args:
            available: the classes there are.
            where: what holds them, for the message.
            advice: what to do, in a sentence; None names the most similar class.
            names: the classes looked for; None is all.
        """
        available = sorted(available)
        unknown = [name for name in names or self.names if name not in available]
        if not unknown:
            return
        listed = ", ".join(available[:_LISTED_NAMES]) or "none"
        if len(available) > _LISTED_NAMES:
            listed += f" and {len(available) - _LISTED_NAMES} more"
        advice = advice or _did_you_mean(unknown[0], available)
        raise ValueError(
            f"Unknown class {', '.join(map(repr, unknown))}; {where} holds these: "
            f"{listed}. Received: {self}. {advice or 'Name one of these.'}"
        )

    def warn_if_swapped(self, by_class: ByClass) -> None:
        """Warn as `warn_if_swapped` does, with how to name the classes instead."""
        warn_if_swapped(
            sum(len(by_class[name]) for name in self.majority),
            sum(len(by_class[name]) for name in self.minority),
            f"Pass {ClassRoles(self.minority, self.majority)} (--majority "
            f"{','.join(self.minority)} --minority {','.join(self.majority)}).",
        )


@dataclass(frozen=True)
class SplitRules:
    """How images are split and how rare the minority is made.

    Attributes:
        minority_count: minority images to keep in training; None keeps all.
        ratio: the same as majority images per minority image in training.
        seed: what is held out and kept depends on it alone.
        validation_fraction: part of each class that goes to validation, in [0, 1).
        test_fraction: part of each class that goes to test, in [0, 1).
    """

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
        if count is not None and not (is_int and count > 0):
            raise ValueError(
                "`minority_count` must be a positive int. Received: "
                f"minority_count={count!r}. Pass at least 1."
            )
        if ratio is not None and not 0 < ratio < float("inf"):
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
        wanted = self.minority_count or round(n_majority / self.ratio)
        if wanted < 1:
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
    what lies beside the classes, by reason.
    """

    pool: ByClass
    validation: ByClass | None
    test: ByClass | None
    passed_over: Counter[str]

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
                stacklevel=3,
            )
        roles.warn_if_swapped(self._sides(roles, 0)[0])

    def divide(
        self,
        roles: ClassRoles,
        rules: SplitRules,
        is_usable: Callable[[Item], bool] = lambda item: True,
    ) -> "Division":
        """Divide the items of each class into training, validation and test.

        What does not lie apart is held out of the pool by the rules' fractions. Where
        they reduce the minority, its other items are in no split, not even to validate
        with; an item about to be kept that is not usable gives its place to the next.
        """
        splits = Division([], [], [], [])
        minority = []
        pool, test = self._sides(roles, rules.seed)
        # One class at a time: so the majority's part does not depend on the minority,
        # and a class of two images can be split too.
        for name in roles.names:
            n_items, kept = len(pool[name]), pool[name]
            if test is None:
                kept, held = _hold_out(kept, rules.test_fraction * n_items, rules.seed)
            else:
                held = test[name]
            splits.test.extend((item, name) for item in held)
            if rules.reduces_minority and name in roles.minority:
                minority.extend((item, name) for item in kept)
                continue
            if self.validation is None:
                wanted = rules.validation_fraction * n_items
                kept, held = _hold_out(kept, wanted, rules.seed)
            else:
                held = self.validation.get(name, ())
            splits.train.extend((item, name) for item in kept)
            splits.validation.extend((item, name) for item in held)
        if rules.reduces_minority:
            kept, unusable = rules.reduce(
                minority, len(splits.train), lambda pair: is_usable(pair[0])
            )
            splits.train.extend(kept)
            splits.unusable.extend(item for item, _ in unusable)
        return splits

    def _sides(self, roles: ClassRoles, seed: int) -> tuple[ByClass, ByClass | None]:
        """Return what to train on, and what to test on if it lies apart."""
        pool, test = dict(self.pool), self.test
        for name in roles.names:
            if name not in pool:
                half = len(test[name]) / 2
                pool[name], held = _hold_out(test[name], half, seed)
                test = {**test, name: held}
        return pool, test


class Division(NamedTuple, Generic[Item]):
    """The items of each split with the names of their classes.

    In `unusable` are the minority items passed over for training.
    """

    train: list[tuple[Item, str]]
    validation: list[tuple[Item, str]]
    test: list[tuple[Item, str]]
    unusable: list[Item]


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
    items: Sequence[Item], wanted: float, seed: int
) -> tuple[list[Item], list[Item]]:
    """Part the items at random into kept and held out, each in its order.

    About `wanted` items are held out, though at least one if any are wanted at all,
    and at least one is kept.
    """
    n_held = min(max(1, round(wanted)), len(items) - 1) if wanted else 0
    if n_held < 1:
        return list(items), []
    kept, held = train_test_split(
        np.arange(len(items)), test_size=n_held, random_state=seed
    )
    return [items[i] for i in np.sort(kept)], [items[i] for i in np.sort(held)]


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
