"""Images with their labels, and the three splits of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from egan_keras.data.decoding import GrayRange
from egan_keras.data.depths import check_depths
from egan_keras.data.files import ImageFiles
from egan_keras.data.images import (
    ImageSize,
    Source,
    check_headers,
    decodable,
    decode_images,
)
from egan_keras.data.lazy import LazyRows
from egan_keras.data.roles import MAJORITY, MINORITY, ClassRoles
from egan_keras.data.splits import Division


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
        passed_over: number of other files and folders where the images come from, by
            reason, such as hidden or of another suffix. Those of a folder that was
            split stand in the training images'.
        duplicates: the files among these that equal an earlier one.
        dropped_duplicates: the files left out because they equal another one.
    """

    images: np.ndarray | LazyRows
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


def read_splits(
    division: Division[Source],
    roles: ClassRoles,
    *,
    image_size: ImageSize | None,
    gray_range: GrayRange | None = None,
    skip_unreadable: bool = False,
    lazy: bool = False,
) -> Splits:
    """Decode the images of all splits to one size; with `lazy`, when they are read.

    Raises:
        ValueError: if an image cannot be read, or with `skip_unreadable` if no
            training image of a class can; or if images need a `gray_range`.
    """
    every = [*division.train, *division.validation, *division.test]
    headers = check_headers(
        [source for source, _ in every],
        image_size=image_size,
        skip_unreadable=skip_unreadable,
        # Test images have no say in the size that others are trained at.
        without_say=[source for source, _ in division.test],
    )
    _check_depths(division, set(headers.deep), gray_range)
    unreadable = set(headers.unreadable)

    def read(split: Sequence[tuple[Source, str]]) -> LabelledImages:
        class_of = dict(split)
        readable = [source for source in class_of if source not in unreadable]
        if lazy:
            kept, damaged = readable, []
            if skip_unreadable:
                kept, damaged = decodable(readable, gray_range)
            images = ImageFiles(
                kept, headers.size, gray_range, _depths_are_checked=True
            )
        else:
            images, kept, damaged = decode_images(
                readable, headers.size, gray_range, skip_unreadable=skip_unreadable
            )
        left_out = [source for source in class_of if source in unreadable] + damaged
        return _label(images, kept, left_out, class_of, roles)

    train, validation, test = map(
        read, (division.train, division.validation, division.test)
    )
    passed_over = tuple(map(str, division.unusable))
    train = replace(train, skipped=train.skipped + passed_over)
    splits = Splits(train, validation, test)
    if not (splits.train.majority_count and splits.train.minority_count):
        raise ValueError(
            "No training image of one class can be read; expected images of both. "
            f"Received: {splits.train.majority_count} majority and "
            f"{splits.train.minority_count} minority images, skipped "
            f"{', '.join(splits.train.skipped[:5])}. Repair these files."
        )
    return splits


def _check_depths(
    division: Division[Source], deep: set[Source], gray_range: GrayRange | None
) -> None:
    """Check images of more than 8 bits, those of each class and purpose on their own.

    Else a few of them would hide among many of another kind.
    """
    groups: dict[str, list[Source]] = {}
    for split, purpose in (
        (division.train + division.validation, "training"),
        (division.test, "test"),
    ):
        for source, name in split:
            if source in deep:
                groups.setdefault(f"{purpose} class {name!r}", []).append(source)
    check_depths(groups, gray_range)


def _label(
    images: np.ndarray | LazyRows,
    kept: Sequence[Source],
    left_out: Sequence[Source],
    class_of: Mapping[Source, str],
    roles: ClassRoles,
) -> LabelledImages:
    class_names = tuple(class_of[source] for source in kept)
    return LabelledImages(
        images=images,
        labels=np.array([roles.label(name) for name in class_names], np.int32),
        paths=tuple(str(source) for source in kept if isinstance(source, Path)),
        class_names=class_names,
        skipped=tuple(map(str, left_out)),
    )
