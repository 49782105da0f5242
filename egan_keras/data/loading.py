"""From a listing of images to splits of them, decoded now or when they are read."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from egan_keras.data.decoding import (
    GrayRange,
    Size,
    Source,
    check_depths,
    check_gray_range,
)
from egan_keras.data.duplicates import Duplicates, near_duplicates, warn_of_near
from egan_keras.data.images import (
    ImageFiles,
    ImageSize,
    LabelledImages,
    Rows,
    Splits,
    check_headers,
    check_image_size,
    decodable,
    decode_batch,
)
from egan_keras.data.splits import (
    MINORITY,
    ClassRoles,
    Division,
    Listing,
    Split,
    SplitRules,
)
from egan_keras.text import first_few


class Reading(NamedTuple):
    """How images become pixels, as `load_folder` is told."""

    image_size: Size | None = None
    gray_range: GrayRange | None = None
    skip_unreadable: bool = False
    lazy: bool = False

    @classmethod
    def checked(
        cls,
        image_size: ImageSize | None = None,
        gray_range: Sequence[float] | None = None,
        skip_unreadable: bool = False,
        lazy: bool = False,
    ) -> "Reading":
        """Return how to read images, or refuse what cannot be."""
        size, grays = check_image_size(image_size), check_gray_range(gray_range)
        return cls(size, grays, skip_unreadable, lazy)


def load_listing(
    listing: Listing,
    roles: ClassRoles,
    rules: SplitRules,
    reading: Reading,
    duplicates: str | None,
) -> Splits:
    """Split the images of a listing as `load_folder` says, and read them."""
    listing.warn(roles)
    equal = Duplicates(listing, roles, duplicates)

    def is_usable(source: Source) -> bool:
        if not reading.skip_unreadable:
            return True
        return bool(decodable([source], reading.gray_range)[0])

    division = equal.divide(rules, is_usable=is_usable)
    divided = division[:3]
    near = near_duplicates([[source for source, _ in split] for split in divided])
    warn_of_near(near)
    later = set(equal.later)
    group_of = {str(source): x for source, x in (listing.groups or {}).items()}
    splits: list[LabelledImages] = []
    read = read_splits(division, roles, reading)
    for number, part in enumerate(listing.parts):
        images, own = read[number], set(read[number].paths)
        copies = [source for source, _ in divided[number] if source in later]
        dropped = [image.source for image in equal.dropped if image.part == number]
        splits.append(
            replace(
                images,
                passed_over=dict(listing.passed_over_in(part)),
                duplicates=tuple(map(str, copies)),
                dropped_duplicates=tuple(map(str, dropped)),
                groups=tuple(group_of[path] for path in images.paths if group_of),
                near_duplicates=tuple(pair for pair in near if pair[0] in own),
            )
        )
    return Splits(*splits)


def read_splits(division: Division, roles: ClassRoles, reading: Reading) -> Splits:
    """Decode the images of all splits to one size; if lazy, when they are read."""
    *divided, unusable = division
    gray_range, skip = reading.gray_range, reading.skip_unreadable
    headers = check_headers(
        [source for split in divided for source, _ in split],
        image_size=reading.image_size,
        skip_unreadable=skip,
        # Test images have no say in the size that others are trained at.
        without_say=[source for source, _ in division.test],
    )
    readable, deep = set(headers.readable), set(headers.deep)
    # Each class and purpose on its own: a few would hide among many of another kind.
    alike: dict[str, list[Source]] = {}
    for split, purpose in zip(divided, ("training", "training", "test"), strict=True):
        for source, name in split:
            if source in deep:
                alike.setdefault(f"{purpose} class {name!r}", []).append(source)
    check_depths(alike, gray_range)

    def read(split: Split, unusable: list[Source]) -> LabelledImages:
        class_of = dict(split)
        kept = [source for source in class_of if source in readable]
        skipped = [source for source in class_of if source not in readable]
        damaged: list[Source] = []
        images: Rows
        if reading.lazy:
            if skip:
                kept, damaged = decodable(kept, gray_range)
            files = [source for source in kept if isinstance(source, Path)]
            images = ImageFiles(files, headers.size, gray_range)
            images.depths_are_checked = True
        else:
            images, kept, damaged = decode_batch(
                kept, headers.size, gray_range, skip_unreadable=skip, in_threads=True
            )
        names = [class_of[source] for source in kept]
        return LabelledImages(
            images,
            np.array([roles.label(name) for name in names], np.int32),
            paths=tuple(str(source) for source in kept if isinstance(source, Path)),
            class_names=tuple(names),
            skipped=tuple(map(str, skipped + damaged + unusable)),
        )

    splits = Splits(*map(read, divided, (unusable, [], [])))
    train = splits.train
    expected = {roles.label(name) for _, name in division.train}
    if not train.majority_count or (MINORITY in expected and not train.minority_count):
        raise ValueError(
            "No training image of one class can be read; expected images of both. "
            f"Received: {train.majority_count} majority and {train.minority_count} "
            f"minority images, skipped {first_few(train.skipped)}. Repair these files."
        )
    return splits
