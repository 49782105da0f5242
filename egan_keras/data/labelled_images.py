"""Labelled images: what a listing of files becomes, split and read."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from egan_keras.data.contents import Duplicates
from egan_keras.data.decoding import GrayRange, Source, check_depths
from egan_keras.data.images import (
    ImageFiles,
    ImageSize,
    Rows,
    check_headers,
    decodable,
    decode_batch,
)
from egan_keras.data.splits import (
    MAJORITY,
    MINORITY,
    ClassRoles,
    Division,
    Listing,
    SplitRules,
)
from egan_keras.text import first_few


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images and their labels.

    Attributes:
        images: RGB pixels 0..255, uint8 (n, height, width, 3): an array, or
            `ImageFiles` that are decoded when they are read.
        labels: 0 = majority, 1 = minority, int32 (n,).
        paths: the file of each image; empty where images do not come from files.
        class_names: the source class of each image; may be empty.
        skipped: the files left out because they cannot be read, or are of one colour.
        passed_over: number of other files and folders where the images lie, by reason;
            those of a folder that was split stand in the training images'.
        duplicates: the files among these that equal an earlier one.
        dropped_duplicates: the files left out because they equal another one.
    """

    images: Rows
    labels: np.ndarray
    paths: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)
    duplicates: tuple[str, ...] = ()
    dropped_duplicates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that everything told about each image has the same length."""
        for name in ("labels", "paths", "class_names"):
            length = len(getattr(self, name))
            if length != len(self.images) and (length or name == "labels"):
                raise ValueError(
                    f"`{name}` must hold one entry for each of the "
                    f"{len(self.images)} images. Received: len({name})={length}. "
                    "Pass as many as there are images."
                )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @property
    def majority_count(self) -> int:
        """Number of majority images."""
        return int(np.count_nonzero(self.labels == MAJORITY))

    @property
    def minority_count(self) -> int:
        """Number of minority images."""
        return int(np.count_nonzero(self.labels == MINORITY))


class Splits(NamedTuple):
    """Images to train on, to choose and calibrate with, and to judge by."""

    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages


def load_listing(
    listing: Listing,
    roles: ClassRoles,
    rules: SplitRules,
    *,
    image_size: ImageSize | None,
    gray_range: GrayRange | None = None,
    skip_unreadable: bool = False,
    lazy: bool = False,
    duplicates: str | None = None,
) -> Splits:
    """Split the images of a listing as `load_folder` says, and decode them."""
    equal = Duplicates(listing, roles, duplicates)

    def is_usable(source: Source) -> bool:
        return not skip_unreadable or bool(decodable([source], gray_range)[0])

    division = equal.divide(rules, is_usable=is_usable)
    splits = read_splits(
        division,
        roles,
        image_size=image_size,
        gray_range=gray_range,
        skip_unreadable=skip_unreadable,
        lazy=lazy,
    )
    later = set(equal.later)

    def told(part: int, images: LabelledImages) -> LabelledImages:
        copies = [source for source, _ in division[part] if source in later]
        dropped = [image.source for image in equal.dropped if image.part == part]
        return replace(
            images,
            passed_over=dict(listing.passed_over_in(Listing._fields[part])),
            duplicates=tuple(map(str, copies)),
            dropped_duplicates=tuple(map(str, dropped)),
        )

    return Splits(*(told(part, images) for part, images in enumerate(splits)))


def read_splits(
    division: Division[Source],
    roles: ClassRoles,
    *,
    image_size: ImageSize | None,
    gray_range: GrayRange | None = None,
    skip_unreadable: bool = False,
    lazy: bool = False,
) -> Splits:
    """Decode the images of all splits to one size; with `lazy`, when they are read."""
    *divided, unusable = division
    headers = check_headers(
        [source for split in divided for source, _ in split],
        image_size=image_size,
        skip_unreadable=skip_unreadable,
        # Test images have no say in the size that others are trained at.
        without_say=[source for source, _ in division.test],
    )
    readable, deep, size = set(headers.readable), set(headers.deep), headers.size
    # Each class and purpose on its own: a few would hide among many of another kind.
    groups: dict[str, list[Source]] = {}
    for split, purpose in zip(divided, ("training", "training", "test"), strict=True):
        for source, name in split:
            if source in deep:
                groups.setdefault(f"{purpose} class {name!r}", []).append(source)
    check_depths(groups, gray_range)

    def read(part: int) -> LabelledImages:
        class_of = dict(divided[part])
        kept = [source for source in class_of if source in readable]
        skipped = [source for source in class_of if source not in readable]
        if not lazy:
            images, kept, damaged = decode_batch(
                kept, size, gray_range, skip_unreadable=skip_unreadable, in_threads=True
            )
        else:
            damaged = []
            if skip_unreadable:
                kept, damaged = decodable(kept, gray_range)
            images = ImageFiles(kept, size, gray_range, _depths_are_checked=True)
        names = [class_of[source] for source in kept]
        skipped += damaged + (unusable if part == 0 else [])
        return LabelledImages(
            images,
            np.array([roles.label(name) for name in names], np.int32),
            paths=tuple(str(source) for source in kept if isinstance(source, Path)),
            class_names=tuple(names),
            skipped=tuple(map(str, skipped)),
        )

    splits = Splits(*map(read, range(3)))
    n_majority, n_minority = splits.train.majority_count, splits.train.minority_count
    if not (n_majority and n_minority):
        raise ValueError(
            "No training image of one class can be read; expected images of both. "
            f"Received: {n_majority} majority and {n_minority} minority images, "
            f"skipped {first_few(splits.train.skipped)}. Repair these files."
        )
    return splits
