"""Images of equal contents, and how the others are divided; nearly equal pictures.

Copies that were compressed, resized or brightened again have other bytes, and so are
no duplicates by their contents. Compared are the steps from pixel to pixel of small
grays, less the mean steps of all images: what a set has in common, such as a board's
layout or the bars of a solar cell, makes no two of its images alike. (A hash of 64 bits
was tried: of 1,340 crops of circuit boards, 973 pairs have equal ones.) Their mean
colours must be near, too.

Pictures that are moved by more than about a hundredth of their width are not found.
"""

import hashlib
import itertools
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from egan_keras.data.decoding import Source, UnreadableError, opened, read_header
from egan_keras.data.groups import ByClass, check_one_side, joined
from egan_keras.data.lazy import by_threads, content_hashes
from egan_keras.data.splits import ClassRoles, Division, Listing, Split, SplitRules
from egan_keras.text import counted

# What may be done with images that have equal contents.
_CHOICES = ("drop", "refuse", "keep")
MOST_IMAGES, MOST_BYTES = 5000, 10**9

# Correlation of the steps of two images that are named. Of what the sets of real images
# hold by chance, the most alike reach 0.96; compressed, halved or brightened copies
# have 0.98 or so.
_LEAST_LIKENESS = 0.97
_SIDE = 48
# What there must be to compare: a standard deviation of grays, of 255, and steps at
# more places than along one straight edge.
_LEAST_DEVIATION, _LEAST_PLACES = 5.0, 1.33 * _SIDE
# Between mean colours, of 255 in each channel: what a picture 15% brighter may have.
_MOST_COLOUR = 40.0
_ROWS_AT_ONCE = 1024

Pair = tuple[str, str]


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

    Where sources are no files, `contents` are marks of what is in those that may equal
    another.
    """

    def __init__(
        self,
        listing: Listing,
        roles: ClassRoles,
        duplicates: str | None = None,
        contents: Mapping[Any, Any] | None = None,
    ) -> None:
        if duplicates is not None and duplicates not in _CHOICES:
            raise ValueError(
                f"`duplicates` must be one of {', '.join(map(repr, _CHOICES))}, or "
                f"None. Received: duplicates={duplicates!r}. Leave it out."
            )
        self._roles = roles
        self.dropped: list[_Image] = []
        self.later: list[Source] = []
        # The others of a group go to the split that its first one goes to.
        self._others: dict[Source, Split] = {}
        mixed, leaks = [], []
        for group in _alike(listing, contents):
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
            for part, by_class in listing.parts.items()
        }
        groups = listing.groups
        if groups is not None:
            names = "train", "validation", "test"
            check_one_side(dict(zip(names, left_in.values(), strict=True)), groups)
            same = ([s, *(o for o, _ in x)] for s, x in self._others.items())
            groups = joined(groups, same)
        given = {part: by_class for part, by_class in left_in.items() if by_class}
        self._single = listing._replace(**given, groups=groups)

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


def _alike(listing: Listing, contents: Mapping[Any, Any] | None) -> list[list[_Image]]:
    """Return the images of each content that occurs several times, in their order."""
    images = [
        _Image(source, name, part)
        for part, by_class in enumerate(listing.parts.values())
        for name, found in by_class.items()
        for source in found
        if contents is None or source in contents
    ]
    if contents is not None:
        return _repeated(images, [contents[image.source] for image in images])
    sizes = [n_bytes(image.source) for image in images]
    suspects = list(itertools.chain(*_repeated(images, sizes)))
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


def n_bytes(source: Source) -> int | None:
    """Return the size of an image's file; None if it is not there."""
    try:
        return source.stat().st_size if isinstance(source, Path) else len(source.data)
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
            f"content. Received: {_named(mixed)}. Remove the wrong ones, or choose "
            "duplicates='drop' (--duplicates drop), which leaves them out, or 'keep'."
        )
    if leaks and choice == "refuse":
        raise ValueError(
            "The same image is there to train on and to validate or test on; expected "
            f"none, by duplicates='refuse'. Received: {_named(leaks)}. Remove it "
            "from one side, or choose duplicates='drop' (--duplicates drop), which "
            "leaves it to the side named first."
        )
    kept, told = choice == "keep", []
    if mixed:
        fate = "used as both" if kept else "left out"
        told.append(f"majority and minority both, {fate}: {_named(mixed)}")
    if leaks:
        fate = "used all the same" if kept else "left out there"
        what = "images to train or validate on among those to validate or test on"
        told.append(f"{what}, {fate}: {_named(leaks)}")
    if later:
        fate = "split like others" if kept else "kept on one side of every split"
        told.append(f"further copies, {fate}: {counted(later)}")
    if told:
        text = f"Some images have equal contents: {'; '.join(told)}."
        warnings.warn(text, stacklevel=5)


def _named(groups: Sequence[list[_Image]]) -> str:
    """Return how many contents there are, and where the first ones are."""
    return counted([" = ".join(str(i.source) for i in group[:3]) for group in groups])


def near_duplicates(splits: Sequence[Sequence[Source]]) -> list[Pair]:
    """Return pairs of nearly equal images of two splits, the most alike first.

    Of each image, at most the pair with the most similar one of the splits before its
    own is named; of more than 5,000 images or 1 GB of files in all, none. Left aside
    are images that cannot be read and those of nearly one gray.
    """
    sources = [source for split in splits for source in split]
    if sum(map(bool, splits)) < 2 or are_too_many_to_compare(sources):
        return []
    small = {row: x for row, x in enumerate(by_threads(_small, sources)) if x}
    if not small:
        return []
    rows = list(small)
    part_of = np.repeat(np.arange(len(splits)), list(map(len, splits)))[rows]
    grays, colours = map(np.stack, zip(*small.values(), strict=True))
    steps, found = _steps(grays), []
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        here = slice(start, start + _ROWS_AT_ONCE)
        alike = steps[here] @ steps.T
        alike[part_of[None, :] >= part_of[here, None]] = -1
        for channel in range(3):
            far = abs(colours[here, None, channel] - colours[None, :, channel])
            alike[far > _MOST_COLOUR] = -1
        for row, other in enumerate(alike.argmax(axis=1), start):
            if (likeness := alike[row - start, other]) >= _LEAST_LIKENESS:
                found.append((likeness, str(sources[rows[row]]), rows[other]))
    found.sort(key=lambda each: (-each[0], each[1]))
    return [(path, str(sources[other])) for _, path, other in found]


def are_too_many_to_compare(sources: Sequence[Source]) -> bool:
    """Tell whether so many images are not compared."""
    # What is not there is refused by its reader.
    sizes = (n_bytes(source) or 0 for source in sources)
    return len(sources) > MOST_IMAGES or sum(sizes) > MOST_BYTES


def warn_of_near(pairs: Sequence[Pair]) -> None:
    """Warn of pairs, if there are any, and say what to do."""
    if pairs:
        named = counted([" ~ ".join(pair) for pair in pairs])
        warnings.warn(
            "Some images are nearly the same picture as one on another side of the "
            f"split, so that the figures may flatter: {named}. Look at them. "
            "With groups (--groups, or a column of --labels) pictures of one object "
            "stay on one side.",
            stacklevel=3,
        )


def _small(source: Source) -> tuple[np.ndarray, np.ndarray] | None:
    """Return grays, (side, side) in 0..255, and the mean colour; None if too plain.

    Of grays of more than 8 bits, which are stretched, the colour is not known: NaN.
    """
    try:
        with opened(source) as image:
            # A JPEG is decoded at a fraction of its size.
            image.draft(None, (2 * _SIDE, 2 * _SIDE))
            is_deep = image.mode.startswith(("F", "I"))
            image = image.convert("F" if is_deep else "RGB")
            image = image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
            if is_deep:
                values = np.asarray(image)
                gray = (values - values.min()) * (255 / max(np.ptp(values), 1e-9))
                colour = np.full(3, np.nan, np.float32)
            else:
                gray = np.asarray(image.convert("L"), np.float32)
                colour = np.asarray(image, np.float32).mean(axis=(0, 1))
    except UnreadableError:
        return None
    return (gray, colour) if gray.std() >= _LEAST_DEVIATION else None


def _steps(grays: np.ndarray) -> np.ndarray:
    """Return the steps between neighbours without the mean ones, each row's norm 1.

    The norm is 0 where there are too few steps to compare.
    """
    down = np.diff(grays, axis=1)[:, :, :-1]
    right = np.diff(grays, axis=2)[:, :-1]
    steps = np.concatenate([down, right], axis=1).reshape(len(grays), -1)
    energy = steps**2
    places = energy.sum(axis=1) ** 2 / np.maximum((energy**2).sum(axis=1), 1e-9)
    steps -= steps.mean(axis=0)
    norms = np.linalg.norm(steps, axis=1)
    norms[places < _LEAST_PLACES] = np.inf
    return steps / np.maximum(norms, 1e-6)[:, None]
