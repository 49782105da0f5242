"""Image files to arrays: checking all headers, decoding in parallel."""

import operator
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from egan_keras.data.decoding import (
    Decoded,
    EncodedImage,
    GrayRange,
    UnreadableError,
    check_gray_range,
    decode,
    read_header,
)
from egan_keras.data.depths import check_depths
from egan_keras.text import first_few

DEFAULT_SIZE = (224, 224)

_CHUNK = 32
_SECONDS_BEFORE_PROGRESS = 2.0

Source = Path | EncodedImage
ImageSize = int | tuple[int, int]
Answer = TypeVar("Answer")


@dataclass
class Oddities:
    """Images that are used, though something is odd about them.

    Attributes:
        constant: those whose pixels are all of one colour.
        clipped: those with values outside the range of grays.
    """

    constant: list[Source] = field(default_factory=list)
    clipped: list[Source] = field(default_factory=list)


class Headers(NamedTuple):
    """What the headers of images tell.

    Attributes:
        size: the (height, width) for all images.
        readable: the sources whose header can be read.
        unreadable: those whose cannot.
        deep: the readable ones of more than 8 bits.
    """

    size: tuple[int, int]
    readable: list[Source]
    unreadable: list[Source]
    deep: list[Source]


def read_images(
    paths: Sequence[str | PathLike[str]],
    *,
    image_size: ImageSize | None = None,
    gray_range: Sequence[float] | None = None,
    skip_unreadable: bool = False,
) -> tuple[np.ndarray, list[Path], list[Path]]:
    """Read image files as RGB pixels of one size.

    How images of other kinds (grayscale, transparent, 16-bit, turned by EXIF) become
    RGB is told in `egan_keras.data.decoding.decode_image`. All headers are checked
    before the first image is decoded.

    An image whose pixels are all of one colour counts as one that cannot be read.

    Args:
        paths: the image files.
        image_size: the height and width, as one int or (height, width), to which
            every image is stretched (bilinear, antialiased). None keeps the images'
            own size if they all have the same, and takes 224 x 224 with a warning
            otherwise.
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
        ValueError: if there are no paths, `image_size` is not one or two positive
            ints, `gray_range` is needed or not two numbers, or a file cannot be read:
            damaged, no image, over the limits on bytes and pixels, or all of one
            colour. With `skip_unreadable`, only if none can.
    """
    gray_range = check_gray_range(gray_range)
    sources = [Path(path) for path in paths]
    for path in sources:
        if not path.exists():
            raise FileNotFoundError(
                f"There is no such image file. Received: path={str(path)!r}. Check "
                "the path."
            )
    headers = check_headers(
        sources, image_size=image_size, skip_unreadable=skip_unreadable
    )
    check_depths({"": headers.deep}, gray_range)
    images, kept, damaged = decode_images(
        headers.readable, headers.size, gray_range, skip_unreadable=skip_unreadable
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

    Sources `without_say` are checked, but their own sizes settle nothing.

    Raises:
        ValueError: as `read_images` does.
    """
    if not sources:
        raise ValueError(
            "There are no images to read; expected at least one path. Received: "
            "paths=[]. Name the image files, or a folder through `find_images`."
        )
    wanted = check_image_size(image_size)
    headers = list(_attempt_all(read_header, sources))
    readable, unreadable = _sort_out(sources, headers, skip_unreadable)
    found = {
        source: header
        for source, header in zip(sources, headers, strict=True)
        if not isinstance(header, Exception)
    }
    silent = set(without_say)
    own_sizes = {h.size for source, h in found.items() if source not in silent}
    if wanted is None and len(own_sizes) == 1:
        wanted = own_sizes.pop()
    elif wanted is None:
        wanted = DEFAULT_SIZE
        warnings.warn(
            f"The {len(readable)} images have {len(own_sizes)} different sizes, so "
            f"all are stretched to {wanted[0]} x {wanted[1]} pixels. Pass "
            "`image_size` to choose another size.",
            stacklevel=3,
        )
    deep = [source for source, header in found.items() if header.is_deep]
    return Headers(wanted, readable, unreadable, deep)


def decode_images(
    sources: Sequence[Source],
    size: tuple[int, int],
    gray_range: GrayRange | None = None,
    *,
    skip_unreadable: bool = False,
) -> tuple[np.ndarray, list[Source], list[Source]]:
    """Decode images in parallel, each stretched to `size`, (height, width).

    Returns:
        images, uint8 (n, height, width, 3) in 0..255; the n sources they come from;
        and the sources left out.

    Raises:
        ValueError: as `read_images` does.
    """
    images = np.empty((len(sources), *size, 3), np.uint8)
    outcomes: list[Exception | None] = []
    progress, started = None, time.monotonic()
    for outcome in _attempt_all(
        lambda source: _decode_varied(source, size, gray_range).pixels, sources
    ):
        failed = isinstance(outcome, Exception)
        if not failed:
            images[len(outcomes)] = outcome
        outcomes.append(outcome if failed else None)
        if progress is None and time.monotonic() - started > _SECONDS_BEFORE_PROGRESS:
            from keras.utils import Progbar  # not before it is needed: seconds

            progress = Progbar(len(sources), unit_name="image")
        if progress is not None:
            progress.update(len(outcomes))
    kept, damaged = _sort_out(sources, outcomes, skip_unreadable)
    if damaged:
        images = images[[outcome is None for outcome in outcomes]]
    return images, kept, damaged


def decode_batch(
    sources: Sequence[Source],
    size: tuple[int, int],
    gray_range: GrayRange | None = None,
    *,
    skip_unreadable: bool = False,
    odd: Oddities | None = None,
) -> tuple[np.ndarray, list[Source], list[Source]]:
    """Decode a few images in the calling thread; else as `decode_images`.

    With `odd`, images of one colour are taken, too, and named in it.
    """
    decode_one = _decode_varied if odd is None else decode
    outcomes = [
        _attempt(lambda each: decode_one(each, size, gray_range), source)
        for source in sources
    ]
    kept, damaged = _sort_out(sources, outcomes, skip_unreadable)
    images = np.empty((len(kept), *size, 3), np.uint8)
    decoded = [each for each in outcomes if not isinstance(each, Exception)]
    for row, image in enumerate(decoded):
        images[row] = image.pixels
    if odd is not None:
        for source, image in zip(kept, decoded, strict=True):
            odd.constant += [source] * image.is_constant
            odd.clipped += [source] * image.is_clipped
    return images, kept, damaged


def can_decode(source: Source, gray_range: GrayRange | None = None) -> bool:
    """Tell whether an image can be decoded and is not of one colour."""
    outcome = _attempt(lambda each: _decode_varied(each, None, gray_range), source)
    return not isinstance(outcome, Exception)


def check_image_size(image_size: ImageSize | None) -> tuple[int, int] | None:
    """Return an image size as (height, width), or None for None.

    Raises:
        ValueError: if it is not one or two positive ints.

    >>> check_image_size(96)
    (96, 96)
    """
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


def decodable(
    sources: Sequence[Source], gray_range: GrayRange | None = None
) -> tuple[list[Source], list[Source]]:
    """Part the sources into those of which `can_decode` is true and the others."""

    def attempt(source: Source) -> None:
        # Of a decoded image nothing is kept.
        _decode_varied(source, None, gray_range)

    return _sort_out(
        sources, list(_attempt_all(attempt, sources)), skip_unreadable=True
    )


def _decode_varied(
    source: Source, size: tuple[int, int] | None, gray_range: GrayRange | None
) -> Decoded:
    """Decode an image, and refuse one of a single colour."""
    decoded = decode(source, size, gray_range)
    if decoded.is_constant:
        colour = tuple(map(int, decoded.pixels[0, 0]))
        raise UnreadableError(f"all its pixels are of one colour, RGB {colour}")
    return decoded


def _attempt(action: Callable[[Source], Answer], source: Source) -> Answer | Exception:
    """Return what `action` gives for a source, or why it cannot be read."""
    try:
        return action(source)
    except UnreadableError as error:
        # Without what it came from, which holds the pixels.
        return UnreadableError(str(error))


def _attempt_all(
    action: Callable[[Source], Answer], sources: Sequence[Source]
) -> Iterable[Answer | Exception]:
    """Yield `_attempt` of every source in order, several at a time."""
    # In chunks, because small images take no longer than handing them to a thread.
    chunks = [sources[i : i + _CHUNK] for i in range(0, len(sources), _CHUNK)]
    with ThreadPoolExecutor() as pool:
        for answers in pool.map(
            lambda chunk: [_attempt(action, source) for source in chunk], chunks
        ):
            yield from answers


def _sort_out(
    sources: Sequence[Source], outcomes: Sequence[object], skip_unreadable: bool
) -> tuple[list[Source], list[Source]]:
    """Part the sources into readable and not; refuse the latter unless skipped."""
    readable, unreadable, reasons = [], [], []
    for source, outcome in zip(sources, outcomes, strict=True):
        if isinstance(outcome, Exception):
            unreadable.append(source)
            reasons.append(outcome)
        else:
            readable.append(source)
    if unreadable and not skip_unreadable:
        pairs = zip(unreadable, reasons, strict=True)
        named = first_few([f"{source} ({reason})" for source, reason in pairs])
        raise ValueError(
            f"{len(unreadable)} of {len(sources)} images cannot be read. Received: "
            f"{named}. Repair or remove them, or leave them out with "
            "skip_unreadable=True (--skip-unreadable)."
        )
    return readable, unreadable
