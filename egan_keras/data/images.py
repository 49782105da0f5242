"""Image files to arrays, labelled and split; or to rows that are decoded when read."""

import copy
import operator
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from egan_keras import logs
from egan_keras.data.decoding import (
    Decoded,
    GrayRange,
    Size,
    Source,
    UnreadableError,
    check_depths,
    check_gray_range,
    decode,
    deep_among,
    read_header,
)
from egan_keras.data.duplicates import Pair
from egan_keras.data.lazy import LazyRows, by_threads, content_hashes
from egan_keras.data.splits import MAJORITY, MINORITY
from egan_keras.text import first_few

if TYPE_CHECKING:
    import tensorflow as tf

_CHECKED_AT_ONCE = 32
_SECONDS_BEFORE_PROGRESS = 2.0

ImageSize = int | Size
Rows = np.ndarray | LazyRows
# What models take: an array, a tensor, `ImageFiles`, or a dataset of batches.
Images: TypeAlias = "ArrayLike | LazyRows | tf.data.Dataset"
Read = tuple[np.ndarray, list[Source], list[Source]]


class Headers(NamedTuple):
    """What the headers of images tell: the one size they get, and which are which."""

    size: Size
    readable: list[Source]
    unreadable: list[Source]
    deep: list[Source]


@dataclass
class Oddities:
    """Images that are used, though of one colour, or clipped by the range of grays."""

    constant: list[Source] = field(default_factory=list)
    clipped: list[Source] = field(default_factory=list)


class ImageFiles(LazyRows):
    """Images in files, uint8 (n, height, width, 3), decoded when they are read.

    It stands where an array of images may stand, in `fit`, `calibrate`, `evaluate` and
    `predict` too, and keeps no image.

    Args:
        paths: the image files.
        image_size: as for `read_images`, but for None.
        gray_range: as for `read_images`.

    Raises:
        ValueError: if `image_size` is not one or two positive ints, or `paths` are no
            paths; on reading, for the files that `read_images` refuses.

    >>> ImageFiles(["a.png", "b.png"], 96).shape
    (2, 96, 96, 3)
    """

    def __init__(
        self,
        paths: Sequence[str | PathLike[str]],
        image_size: ImageSize,
        gray_range: Sequence[float] | None = None,
    ) -> None:
        size = check_image_size(image_size)
        is_one = not isinstance(paths, Iterable) or isinstance(paths, str | bytes)
        several: list[Any] = [paths] if is_one else list(paths)
        wrong = [x for x in several if is_one or not isinstance(x, str | PathLike)]
        if wrong:
            raise ValueError(
                "The images must be a list of paths of files. Received: "
                f"paths={wrong[0]!r}. Pass [path] for one file, the "
                "column of a table, or ek.data.find_images(folder)."
            )
        if size is None:
            raise ValueError(
                "Files that are not opened yet have no size of their own; expected "
                "`image_size`. Received: image_size=None. Pass, for example, 96."
            )
        # A str takes a third of the memory of a Path.
        self._paths = [os.fspath(path) for path in several]
        self._gray_range = check_gray_range(gray_range)
        # Else they are when an image is read first.
        self.depths_are_checked = False
        self._size = size
        self.shape = (len(self._paths), *size, 3)
        self.dtype = np.dtype(np.uint8)

    def select(self, rows: np.ndarray) -> "ImageFiles":
        """Return some of the images, unread."""
        selected = copy.copy(self)
        selected._paths = [self._paths[row] for row in rows]
        selected.shape = (len(selected._paths), *self.shape[1:])
        return selected

    def check(self) -> None:
        """Decode every image once, keeping none; an error names a damaged file."""
        for _ in self.batches(_CHECKED_AT_ONCE):
            pass

    def identity(self) -> Iterator[bytes]:
        """Yield a hash of each file's contents; its name and place do not count."""
        yield repr((self.shape, self._gray_range)).encode()
        for mark in content_hashes(self._paths):
            yield str(mark).encode()

    def _read(self, rows: np.ndarray) -> np.ndarray:
        if not self.depths_are_checked:
            check_depths({"": deep_among(self._paths)}, self._gray_range)
            self.depths_are_checked = True
        paths = [Path(self._paths[row]) for row in rows]
        return decode_batch(paths, self._size, self._gray_range)[0]


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
        groups: the group of each image, as `load_folder` was told; may be empty.
        near_duplicates: pairs of a file among these and one that is nearly the same
            picture, in a split before this one.
    """

    images: Rows
    labels: np.ndarray
    paths: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)
    duplicates: tuple[str, ...] = ()
    dropped_duplicates: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    near_duplicates: tuple[Pair, ...] = ()

    def __post_init__(self) -> None:
        """Check that everything told about each image has the same length."""
        for name in ("labels", "paths", "class_names", "groups"):
            length = len(getattr(self, name))
            if length != len(self) and (length or name == "labels"):
                raise ValueError(
                    f"`{name}` must hold one entry for each of the {len(self)} images. "
                    f"Received: len({name})={length}. Pass as many as there are images."
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


def read_images(
    paths: Sequence[str | PathLike[str]],
    *,
    image_size: ImageSize | None = None,
    gray_range: Sequence[float] | None = None,
    skip_unreadable: bool = False,
) -> Read:
    """Read image files as RGB pixels of one size.

    How images of other kinds (grayscale, transparent, 16-bit, turned by EXIF) become
    RGB is told in `egan_keras.data.decoding.decode`. All headers are checked before
    the first image is decoded.

    Args:
        paths: the image files.
        image_size: the height and width, as one int or (height, width), to which
            every image is stretched (bilinear, antialiased). None keeps the images'
            own size if they all have the same, else takes 224 x 224 with a warning.
        gray_range: the values (black, white) of grayscale images of more than 8 bits;
            what lies outside is clipped. None takes all that their type can hold, and
            refuses them if they use but a small part of that, as the 12 bits of many
            cameras do in files of 16.
        skip_unreadable: leave out files that cannot be read instead of stopping.

    Returns:
        images, uint8 (n, height, width, 3) in 0..255; the n paths they come from;
        and the paths left out.

    Raises:
        FileNotFoundError: if a file does not exist.
        ValueError: for no paths, a wrong `image_size` or `gray_range`, or a file that
            cannot be read: damaged, no image, over the limits on bytes and pixels, or
            all of one colour. With `skip_unreadable`, only if none can be read.
    """
    gray_range = check_gray_range(gray_range)
    sources = [Path(path) for path in paths]
    if missing := [str(path) for path in sources if not path.exists()]:
        received = f"Received: path={missing[0]!r}"
        raise FileNotFoundError(f"There is no such image file. {received}. Check it.")
    skip: dict[str, Any] = {"skip_unreadable": skip_unreadable}
    headers = check_headers(sources, image_size=image_size, **skip)
    check_depths({"": headers.deep}, gray_range)
    images, kept, damaged = decode_batch(
        headers.readable, headers.size, gray_range, in_threads=True, **skip
    )
    if not kept:
        raise ValueError(
            f"None of the {len(sources)} files can be read as an image. Received: "
            f"paths[0]={str(sources[0])!r}. Check the files."
        )
    return images, kept, headers.unreadable + damaged


def check_headers(
    sources: Sequence[Source],
    *,
    image_size: ImageSize | None = None,
    skip_unreadable: bool = False,
    without_say: Sequence[Source] = (),
) -> Headers:
    """Read all headers and settle the size that the images get.

    Sources `without_say` are checked, but their own sizes settle nothing. What cannot
    be read or used is refused as by `read_images`.
    """
    if not sources:
        raise ValueError(
            "There are no images to read; expected at least one path. Received: "
            "paths=[]. Name the image files, or a folder through `find_images`."
        )
    size = check_image_size(image_size)
    headers, readable, unreadable = _attempt_all(
        lambda row: read_header(sources[row]), sources, skip_unreadable
    )
    found, silent = list(zip(readable, headers, strict=True)), set(without_say)
    own_sizes = {header.size for source, header in found if source not in silent}
    if size is None and len(own_sizes) == 1:
        size = own_sizes.pop()
    elif size is None:
        size = 224, 224
        warnings.warn(
            f"The {len(readable)} images have {len(own_sizes)} different sizes, so all "
            "are stretched to 224 x 224 pixels. Pass `image_size` to choose another.",
            stacklevel=3,
        )
    deep = [source for source, header in found if header.is_deep]
    return Headers(size, readable, unreadable, deep)


def decode_batch(
    sources: Sequence[Source],
    size: Size,
    gray_range: GrayRange | None = None,
    *,
    skip_unreadable: bool = False,
    odd: Oddities | None = None,
    in_threads: bool = False,
) -> Read:
    """Decode images, each stretched to `size`, (height, width).

    With `odd`, images of one colour are taken, too, and named in it. Returned are
    images, uint8 (n, height, width, 3), their n sources, and the sources left out;
    what is not to be left out is refused as by `read_images`.
    """
    images = np.empty((len(sources), *size, 3), np.uint8)

    def put(row: int) -> int:
        source = sources[row]
        decoded = _decode(source, size, gray_range, varied=odd is None)
        if odd is not None:
            odd.constant += [source] * decoded.is_constant
            odd.clipped += [source] * decoded.is_clipped
        images[row] = decoded.pixels
        return row

    rows, kept, damaged = _attempt_all(put, sources, skip_unreadable, in_threads)
    return images[rows] if damaged else images, kept, damaged


def decodable(
    sources: Sequence[Source], gray_range: GrayRange | None = None
) -> tuple[list[Source], list[Source]]:
    """Part sources into those that can be decoded, to several colours, and others."""
    # Pixels are not kept.
    attempt = _attempt_all(
        lambda row: _decode(sources[row], None, gray_range) is None, sources, True
    )
    return attempt[1:]


def check_image_size(image_size: ImageSize | None) -> Size | None:
    """Return an image size as (height, width), None for None, or refuse it."""
    if image_size is None:
        return None
    pair = image_size if isinstance(image_size, tuple | list) else (image_size,) * 2
    try:
        height, width = map(operator.index, pair)
    except (TypeError, ValueError):
        height = width = 0
    if height < 1 or width < 1 or any(isinstance(side, bool) for side in pair):
        raise ValueError(
            "`image_size` must be one positive int or (height, width). Received: "
            f"image_size={image_size!r}. Pass, for example, image_size=96."
        )
    return height, width


def _decode(
    source: Source, size: Size | None, gray_range: GrayRange | None, varied: bool = True
) -> Decoded:
    """Decode an image, and refuse one of a single colour if it is to be varied."""
    decoded = decode(source, size, gray_range)
    if varied and decoded.is_constant:
        colour = tuple(map(int, decoded.pixels[0, 0]))
        raise UnreadableError(f"all its pixels are of one colour, RGB {colour}")
    return decoded


def _attempt_all(
    action: Callable[[int], Any],
    sources: Sequence[Source],
    skip_unreadable: bool,
    in_threads: bool = True,
) -> tuple[list[Any], list[Source], list[Source]]:
    """Return what an action gives for the row of each readable source, and the others.

    The others are refused, unless they are to be skipped.
    """

    def attempt(row: int) -> Any:
        try:
            return action(row)
        except UnreadableError as error:
            # Without what it came from, which holds the pixels.
            return UnreadableError(str(error))

    every = range(len(sources))
    outcomes: Iterable[Any] = map(attempt, every)
    if in_threads:
        from tqdm import tqdm

        # On the command line, `by_threads` shows it.
        is_shown = isinstance(sys.stderr, logs.Printed)
        bar = {"unit": "image", "delay": _SECONDS_BEFORE_PROGRESS, "disable": is_shown}
        outcomes = tqdm(by_threads(attempt, every), total=len(sources), **bar)
    outcomes = list(outcomes)
    failed = {r: x for r, x in enumerate(outcomes) if isinstance(x, UnreadableError)}
    if failed and not skip_unreadable:
        named = first_few([f"{sources[row]} ({why})" for row, why in failed.items()])
        raise ValueError(
            f"{len(failed)} of {len(sources)} images cannot be read. Received: "
            f"{named}. Repair or remove them, or leave them out with "
            "skip_unreadable=True (--skip-unreadable)."
        )
    kept = [row for row in every if row not in failed]
    readable = [sources[row] for row in kept]
    return [outcomes[row] for row in kept], readable, [sources[row] for row in failed]
