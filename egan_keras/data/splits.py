"""Which image goes where: seeded splits, and the imbalance wanted."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from sklearn.model_selection import train_test_split

from egan_keras.data.checks import check_both_classes, check_labels
from egan_keras.data.lazy import LazyRows
from egan_keras.data.roles import MAJORITY, MINORITY, ClassRoles

Item = TypeVar("Item")


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
        _check_imbalance(self.minority_count, self.ratio)
        fractions = (self.validation_fraction, self.test_fraction)
        if not all(0 <= part < 1 for part in fractions) or sum(fractions) >= 1:
            raise ValueError(
                "`validation_fraction` and `test_fraction` must lie in [0, 1) and "
                "leave something to training. Received: "
                f"validation_fraction={fractions[0]!r}, "
                f"test_fraction={fractions[1]!r}. Pass, for example, 0.2 for both."
            )

    @property
    def reduces_minority(self) -> bool:
        """Whether only some of the minority images are kept."""
        return self.minority_count is not None or self.ratio is not None


class Division(NamedTuple, Generic[Item]):
    """The items of each split, each with the name of its class.

    Attributes:
        train: the items to train on.
        validation: the items held out of training.
        test: the items to judge by.
        unusable: the minority items passed over for training.
    """

    train: list[tuple[Item, str]]
    validation: list[tuple[Item, str]]
    test: list[tuple[Item, str]]
    unusable: list[Item]


def divide(
    pool: Mapping[str, Sequence[Item]],
    test: Mapping[str, Sequence[Item]] | None,
    roles: ClassRoles,
    rules: SplitRules,
    *,
    validation: Mapping[str, Sequence[Item]] | None = None,
    is_usable: Callable[[Item], bool] = lambda item: True,
) -> Division:
    """Divide the items of each class into training, validation and test.

    Args:
        pool: the items of each class to divide.
        test: the items of each class that are the test split; None holds
            `rules.test_fraction` of each class out of `pool` instead.
        roles: which classes are read, and as what.
        rules: fractions, imbalance and seed. Where they reduce the minority, its
            other training items are in no split, and neither are those to validate
            with.
        validation: the items of each class that are the validation split, some
            classes may be missing; None holds `rules.validation_fraction` of each
            class out of `pool` instead.
        is_usable: asked only about minority items about to be kept, where the rules
            reduce the minority; the next one takes the place of an unusable one.

    Raises:
        ValueError: if there are fewer minority items than asked for.
    """
    splits = Division([], [], [], [])
    minority = []
    # One class at a time: so the majority's part does not depend on the minority,
    # and a class of two images can be split too.
    for name in roles.names:
        items = pool[name]
        if test is None:
            kept, held = hold_out(items, rules.test_fraction * len(items), rules.seed)
        else:
            kept, held = list(items), test[name]
        splits.test.extend((item, name) for item in held)
        if rules.reduces_minority and name in roles.minority:
            minority.extend((item, name) for item in kept)
            continue
        if validation is None:
            wanted = rules.validation_fraction * len(items)
            kept, held = hold_out(kept, wanted, rules.seed)
        else:
            held = validation.get(name, ())
        splits.train.extend((item, name) for item in kept)
        splits.validation.extend((item, name) for item in held)
    if rules.reduces_minority:
        kept, passed_over = _reduce(
            minority, len(splits.train), rules, lambda pair: is_usable(pair[0])
        )
        splits.train.extend(kept)
        splits.unusable.extend(item for item, _ in passed_over)
    return splits


def subsample_minority(
    images: Any,
    labels: Any,
    *,
    minority_count: int | None = None,
    ratio: float | None = None,
    seed: int = 0,
) -> tuple[np.ndarray | LazyRows, np.ndarray]:
    """Drop minority images until as few are left as wanted.

    With one seed, the images kept for a smaller count are among those kept for a
    larger one. With neither `minority_count` nor `ratio`, all are kept.

    Args:
        images: array of shape (n, ...), or `ImageFiles`, which stay unread.
        labels: 0 (majority) or 1 (minority), of shape (n,) or (n, 1).
        minority_count: number of minority images to keep.
        ratio: majority images per minority image to keep, in place of a count.
        seed: decides which minority images are kept.

    Returns:
        The images left and their labels, int32 (m,), in their order.

    Raises:
        ValueError: if both ways to say how many are used, if there are fewer minority
            images than asked for, if a class is missing, or for labels that
            `check_labels` refuses.

    >>> images, labels = np.zeros((100, 8, 8, 3), np.uint8), np.repeat([0, 1], 50)
    >>> images, labels = subsample_minority(images, labels, ratio=10)
    >>> np.bincount(labels)
    array([50,  5])
    """
    rules = SplitRules(minority_count=minority_count, ratio=ratio, seed=seed)
    if not isinstance(images, LazyRows):
        images = np.asarray(images)
    labels = check_labels(labels, len(images))
    check_both_classes(labels)
    if not rules.reduces_minority:
        return images, labels
    minority = np.flatnonzero(labels == MINORITY)
    majority = np.flatnonzero(labels == MAJORITY)
    kept, _ = _reduce(minority, len(majority), rules, lambda index: True)
    rows = np.sort(np.concatenate([majority, kept]))
    if isinstance(images, LazyRows):
        return images.select(rows), labels[rows]
    return images[rows], labels[rows]


def _check_imbalance(minority_count: int | None, ratio: float | None) -> None:
    """Refuse an imbalance given twice, or not positive."""
    if minority_count is not None and ratio is not None:
        raise ValueError(
            "The imbalance is given twice; expected `minority_count` or `ratio`. "
            f"Received: minority_count={minority_count!r}, ratio={ratio!r}. Leave "
            "one out."
        )
    try:
        valid = minority_count is None or operator.index(minority_count) > 0
    except TypeError:
        valid = False
    if not valid:
        raise ValueError(
            "`minority_count` must be a positive int. Received: "
            f"minority_count={minority_count!r}. Pass at least 1."
        )
    if ratio is not None and not 0 < ratio < float("inf"):
        raise ValueError(
            "`ratio` must be a positive number of majority images per minority "
            f"image. Received: ratio={ratio!r}. Pass 2500 for 1:2500."
        )


def hold_out(
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


def _reduce(
    minority: Sequence[Item],
    n_majority: int,
    rules: SplitRules,
    is_usable: Callable[[Item], bool],
) -> tuple[list[Item], list[Item]]:
    """Keep as many usable minority items as the rules say, in their order.

    Returns:
        The items kept, and those passed over as unusable.
    """
    wanted = rules.minority_count
    if wanted is None:
        wanted = round(n_majority / rules.ratio)
    if wanted < 1:
        raise ValueError(
            "The ratio leaves no minority image; expected at most twice the "
            f"{n_majority} majority training images. Received: ratio={rules.ratio!r}. "
            "Pass a smaller ratio or minority_count=1."
        )
    kept, passed_over = [], []
    # The start of one permutation, so that smaller counts keep a part of larger ones.
    for index in np.random.default_rng(rules.seed).permutation(len(minority)):
        if len(kept) == wanted:
            break
        usable = is_usable(minority[index])
        (kept if usable else passed_over).append(index)
    if len(kept) < wanted:
        raise ValueError(
            f"There are fewer minority training images than asked for: {len(kept)}. "
            f"Received: {_imbalance(rules)}, which asks for {wanted}. Ask for at most "
            f"{len(kept)} or add minority images."
        )
    return (
        [minority[index] for index in sorted(kept)],
        [minority[index] for index in passed_over],
    )


def _imbalance(rules: SplitRules) -> str:
    """Write the imbalance as the argument that was given."""
    if rules.ratio is None:
        return f"minority_count={rules.minority_count!r}"
    return f"ratio={rules.ratio!r}"
