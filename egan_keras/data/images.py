"""Image files to arrays: finding them, checking all headers, decoding in parallel."""

import operator
import os
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import TypeVar

import numpy as np

from egan_keras.data.decoding import UNREADABLE, EncodedImage, decode_image, read_size

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
DEFAULT_SIZE = (224, 224)

_CHUNK = 32
_SECONDS_BEFORE_PROGRESS = 2.0
_NAMED_FILES = 5

Source = Path | EncodedImage
ImageSize = int | tuple[int, int]
Answer = TypeVar("Answer")


def find_images(
    paths: str | PathLike[str] | Iterable[str | PathLike[str]],
) -> list[Path]:
    """Return the image files among files and folders, sorted, each once.

    Folders are searched with all folders below them. In them, files with other
    suffixes than `SUFFIXES` and hidden files (names starting with a dot) are passed
    over.

    Args:
        paths: a file or folder, or several.

    Raises:
        FileNotFoundError: if a path does not exist or a folder holds no image.
        ValueError: if a file named itself has another suffix.
    """
    if isinstance(paths, str | PathLike):
        paths = [paths]
    found: set[Path] = set()
    for path in map(Path, paths):
        if path.is_dir():
            found.update(_images_below(path))
        elif not path.exists():
            raise FileNotFoundError(
                f"There is no such file or folder. Received: path={str(path)!r}. "
                "Check the path."
            )
        elif path.suffix.lower() not in SUFFIXES:
            raise ValueError(
                "The file is not of a supported image type; expected one of "
                f"{' '.join(SUFFIXES)}. Received: path={str(path)!r}. Convert it to "
                "one of these."
            )
        else:
            found.add(path)
    return sorted(found)


def read_images(
    paths: Sequence[str | PathLike[str]],
    *,
    image_size: ImageSize | None = None,
    skip_unreadable: bool = False,
) -> tuple[np.ndarray, list[Path], list[Path]]:
    """Read image files as RGB pixels of one size.

    How images of other kinds (grayscale, transparent, 16-bit, turned by EXIF) become
    RGB is told in `egan_keras.data.decoding.decode_image`. All headers are checked
    before the first image is decoded.

    Args:
        paths: the image files.
        image_size: the height and width, as one int or (height, width), to which
            every image is stretched (bilinear, antialiased). None keeps the images'
            own size if they all have the same, and takes 224 x 224 with a warning
            otherwise.
        skip_unreadable: leave out files that cannot be read instead of stopping.

    Returns:
        images, uint8 (n, height, width, 3) in 0..255; the n paths they come from;
        and the paths left out.

    Raises:
        FileNotFoundError: if a file does not exist.
        ValueError: if there are no paths, `image_size` is not one or two positive
            ints, or a file cannot be read: damaged, no image, or over the limits on
            bytes and pixels. With `skip_unreadable`, only if none can.
    """
    sources = [Path(path) for path in paths]
    for path in sources:
        if not path.exists():
            raise FileNotFoundError(
                f"There is no such image file. Received: path={str(path)!r}. Check "
                "the path."
            )
    size, readable, unreadable = check_headers(
        sources, image_size=image_size, skip_unreadable=skip_unreadable
    )
    images, kept, damaged = decode_images(
        readable, size, skip_unreadable=skip_unreadable
    )
    if not kept:
        raise ValueError(
            f"None of the {len(sources)} files can be read as an image. Received: "
            f"paths[0]={str(sources[0])!r}. Check the files."
        )
    return images, kept, unreadable + damaged


def check_headers(
    sources: Sequence[Source],
    *,
    image_size: ImageSize | None = None,
    skip_unreadable: bool = False,
    without_say: Sequence[Source] = (),
) -> tuple[tuple[int, int], list[Source], list[Source]]:
    """Read all headers and settle the size that the images get.

    Sources `without_say` are checked, but their own sizes settle nothing.

    Returns:
        The (height, width) for all images, the sources whose header can be read,
        and those whose cannot.

    Raises:
        ValueError: as `read_images` does.
    """
    if not sources:
        raise ValueError(
            "There are no images to read; expected at least one path. Received: "
            "paths=[]. Name the image files, or a folder through `find_images`."
        )
    wanted = check_image_size(image_size)
    sizes = list(_attempt_all(read_size, sources))
    readable, unreadable = _sort_out(sources, sizes, skip_unreadable)
    silent = set(without_say)
    own_sizes = {
        size
        for source, size in zip(sources, sizes, strict=True)
        if not isinstance(size, Exception) and source not in silent
    }
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
    return wanted, readable, unreadable


def decode_images(
    sources: Sequence[Source], size: tuple[int, int], *, skip_unreadable: bool = False
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
    for outcome in _attempt_all(lambda source: decode_image(source, size), sources):
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
    sources: Sequence[Source], size: tuple[int, int], *, skip_unreadable: bool = False
) -> tuple[np.ndarray, list[Source], list[Source]]:
    """Decode a few images in the calling thread; else as `decode_images`."""
    outcomes = [
        _attempt(lambda each: decode_image(each, size), source) for source in sources
    ]
    kept, damaged = _sort_out(sources, outcomes, skip_unreadable)
    images = np.empty((len(kept), *size, 3), np.uint8)
    decoded = (each for each in outcomes if not isinstance(each, Exception))
    for row, image in enumerate(decoded):
        images[row] = image
    return images, kept, damaged


def can_decode(source: Source) -> bool:
    """Tell whether an image can be decoded, by decoding it."""
    return not isinstance(_attempt(decode_image, source), Exception)


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


def decodable(sources: Sequence[Source]) -> tuple[list[Source], list[Source]]:
    """Part the sources into those that can be decoded and those that cannot."""
    # Of a decoded image the answer is all that is kept.
    outcomes = _attempt_all(lambda source: decode_image(source) is None, sources)
    return _sort_out(sources, list(outcomes), skip_unreadable=True)


def _images_below(folder: Path) -> list[Path]:
    """List the images in a folder and below it."""
    files = []
    # Several times as fast as `Path.rglob`.
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [os.path.join(place, n) for n in names if not n.startswith(".")]
    images = [
        Path(file)
        for file in files
        if file.lower().endswith(SUFFIXES) and os.path.isfile(file)
    ]
    if not images:
        raise FileNotFoundError(
            f"The folder holds no images; expected files with the suffixes "
            f"{' '.join(SUFFIXES)} in it or below it. Received: "
            f"path={str(folder)!r}, with {len(files)} other files. Put images there "
            "or name another folder."
        )
    return images


def _attempt(action: Callable[[Source], Answer], source: Source) -> Answer | Exception:
    """Return what `action` gives for a source, or why it cannot be read."""
    try:
        return action(source)
    except UNREADABLE as error:
        return error


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
            reasons.append(f"{source} ({outcome or type(outcome).__name__})")
        else:
            readable.append(source)
    if unreadable and not skip_unreadable:
        more = "" if len(reasons) <= _NAMED_FILES else ", ..."
        raise ValueError(
            f"{len(unreadable)} of {len(sources)} images cannot be read. Received: "
            f"{', '.join(reasons[:_NAMED_FILES])}{more}. Repair or remove them, or "
            "leave them out with skip_unreadable=True (--skip-unreadable)."
        )
    return readable, unreadable
