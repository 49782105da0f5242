"""Groups: pictures of one object, which stay on one side of every split.

Why not scikit-learn's splitters: `GroupShuffleSplit` holds out a part of the groups,
however many images they have, and forgets the classes. `StratifiedGroupKFold` holds out
one k-th alone, and its first fold always has the largest group, whatever the seed.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from egan_keras.data.decoding import Source
from egan_keras.text import counted, first_few

ByClass = Mapping[str, Sequence[Source]]
GroupOf = Mapping[Source, str]
Namer = Callable[[str], str | None]
GroupRule = str | Namer | Mapping[str, str]

# So many orders of the groups are tried, until one meets the fraction of each class
# this nearly; else the best one is taken.
_ORDERS = 32
_NEAR_ENOUGH = 0.02


def group_namer(groups: GroupRule | None) -> Namer | None:
    r"""Return what names the group of a path below the root; None for None.

    `groups` is a regular expression with one group, which is searched for in the path,
    a function of the path, or a mapping from paths.

    >>> group_namer(r"_module(\d+)_")("train/good/mono_module07_cell3.jpg")
    '07'
    """
    if groups is None or callable(groups):
        return groups
    if isinstance(groups, Mapping):
        return groups.get
    try:
        pattern = re.compile(groups)
    except (TypeError, re.error) as error:
        raise ValueError(
            "`groups` (--groups) must be a regular expression, or a function or "
            f"mapping from paths to groups. Received: groups={groups!r} ({error}). "
            r"Pass, for example, r'_module(\d+)_'."
        ) from error
    if pattern.groups != 1:
        raise ValueError(
            "`groups` (--groups) must have one pair of parentheses, around what names "
            f"the group. Received: groups={groups!r}, with {pattern.groups}. Write "
            "(?:...) for the others."
        )

    def name(path: str) -> str | None:
        found = pattern.search(path)
        return found and found[1]

    return name


def name_groups(
    sources: Iterable[Source], root: Path, name: Namer
) -> dict[Source, str]:
    """Return the group of each file; one that none is named for has one of its own.

    Refused is what names a group for no file; a warning counts files without one.
    """
    told = {path: path.relative_to(root).as_posix() for path in sources}
    named = {path: name(below) for path, below in told.items()}
    wrong = [each for each in named.values() if not isinstance(each, str | None)]
    if wrong:
        raise ValueError(
            "A group must have a name that is a text, or None for a group of its own. "
            f"Received: {wrong[0]!r}. Let `groups` return str(...)."
        )
    alone = [told[path] for path, group in named.items() if not group]
    if told and len(alone) == len(told):
        raise ValueError(
            "`groups` (--groups) names a group for no image; expected one for most. "
            f"Received: paths such as {first_few(alone, 3)}. Match what stands in "
            "these paths."
        )
    warn_of_lone(alone)
    return {path: group or told[path] for path, group in named.items()}


def warn_of_lone(names: Sequence[str]) -> None:
    """Warn of images of which no group is told, if there are any."""
    if names:
        warnings.warn(
            f"{len(names)} images have no group, and each is one of its own: "
            f"{first_few(names, 3)}.",
            stacklevel=4,
        )


def joined(group_of: GroupOf, copies: Iterable[Sequence[Source]]) -> dict[Source, str]:
    """Return groups of which those that hold copies of one image are one.

    >>> joined({"a": "1", "b": "2", "c": "3"}, [["a", "c"]])
    {'a': '1', 'b': '2', 'c': '1'}
    """
    leads: dict[str, str] = {}

    def lead(group: str) -> str:
        while group in leads:
            group = leads[group]
        return group

    for same in copies:
        first, *others = dict.fromkeys(lead(group_of[source]) for source in same)
        for other in others:
            if lead(other) != lead(first):
                leads[lead(other)] = lead(first)
    return {source: lead(group) for source, group in group_of.items()}


def check_one_side(parts: Mapping[str, ByClass], group_of: GroupOf) -> None:
    """Refuse groups that are in several of the splits that are given."""
    sides: dict[str, dict[str, None]] = {}
    for part, by_class in parts.items():
        for sources in by_class.values():
            for source in sources:
                sides.setdefault(group_of[source], {})[part] = None
    torn = [f"{g} in {' and '.join(x)}" for g, x in sides.items() if len(x) > 1]
    if torn:
        raise ValueError(
            "Groups are on both sides of the splits that are given; expected all "
            "images of a group on one side, else the figures flatter. Received: "
            f"{counted(torn, f'of {len(sides)} groups')}. Move the images of each to "
            "one side; or give no splits (no train and test folders, no split column), "
            "and they are made by the groups."
        )


def hold_out_groups(
    by_class: ByClass, group_of: GroupOf, wanted: Mapping[str, float], seed: int
) -> tuple[ByClass, ByClass]:
    """Part groups into kept and held out, each class in its order.

    About `wanted` images of each class are held out, as nearly as whole groups allow,
    though at least one if any are wanted at all; and at least one is kept.

    >>> images = {"good": ["a1", "a2", "b1", "b2", "c1", "c2"]}
    >>> group_of = {name: name[0] for name in images["good"]}
    >>> hold_out_groups(images, group_of, {"good": 2}, seed=0)
    ({'good': ['a1', 'a2', 'b1', 'b2']}, {'good': ['c1', 'c2']})
    """
    every = [(group_of[s], row) for row, x in enumerate(by_class.values()) for s in x]
    # By name, so that the order of classes does not matter.
    index = {group: i for i, group in enumerate(sorted({group for group, _ in every}))}
    counts = np.zeros((len(index), len(by_class)), int)
    for group, row in every:
        counts[index[group], row] += 1
    totals = counts.sum(axis=0)
    goal = [max(1, round(wanted[name])) if wanted[name] else 0 for name in by_class]
    goal = np.minimum(goal, np.maximum(totals - 1, 0))
    is_held = _nearest(counts, totals, goal, np.random.default_rng(seed))
    lacking = (goal > 0) & (counts[is_held].sum(axis=0) == 0)
    if lacking.any():
        told = [repr(n) for n, lacks in zip(by_class, lacking, strict=True) if lacks]
        warnings.warn(
            f"No group of class {', '.join(told)} can be held out and leave one to "
            "train on: a split lacks the class. Name more, smaller groups.",
            stacklevel=5,
        )
    kept, held = (
        {
            name: [s for s in sources if is_held[index[group_of[s]]] == side]
            for name, sources in by_class.items()
        }
        for side in (False, True)
    )
    return kept, held


def _nearest(
    counts: np.ndarray,
    totals: np.ndarray,
    goal: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:
    """Return which groups, (g,) bool, hold about the goal of each class.

    One after the other is taken, in an order by chance, if that leads nearer to it.
    """
    most, size = totals - (totals > 0), np.maximum(totals, 1)

    def distance(held: np.ndarray) -> float:
        missing = (goal > 0) & (held == 0)
        return float((abs(held - goal) / size + missing).sum())

    best, is_best = np.inf, np.zeros(len(counts), bool)
    for _ in range(_ORDERS):
        held, taken = np.zeros_like(totals), np.zeros(len(counts), bool)
        now = distance(held)
        for group in random.permutation(len(counts)):
            more = held + counts[group]
            if now and (more <= most).all() and (then := distance(more)) < now:
                held, now = more, then
                taken[group] = True
        if now < best:
            best, is_best = now, taken
        if best <= _NEAR_ENOUGH * len(totals):
            break
    return is_best
