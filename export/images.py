"""Image files to RGB pixels, bit for bit as egan_keras reads them."""

import os
import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
MAX_FILE_BYTES = 256 * 1024**2
MAX_PIXELS = 80_000_000

# Pillow's readers answer damaged files with many types of exception.
_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    LookupError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
_BITS_PER_SAMPLE = 258
_SAMPLE_FORMAT = 339
_SIGNED = 2
_MOST_WORKERS = 8


class UnreadableImageError(ValueError):
    """A file that cannot be read as an image; the message says why."""


def find_images(paths: Iterable[str]) -> list[Path]:
    """Return image files, those of a folder sorted, each once.

    Folders are searched with all folders below them; in them hidden files and folders
    and files with other suffixes than `SUFFIXES` are passed over.

    Raises:
        FileNotFoundError: if a path does not exist or a folder holds no image.
        ValueError: if a file named itself has another suffix.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_dir():
            found.update(dict.fromkeys(_images_below(path)))
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
            found[path] = None
    return list(found)


def decode_ahead(
    paths: Iterable[Path], size: tuple[int, int]
) -> Iterator[tuple[Path, np.ndarray | UnreadableImageError]]:
    """Yield each path with its pixels, or with what is wrong with the file.

    While one is used, threads decode the next ones; only a few are in memory.

    Args:
        paths: the image files.
        size: the (height, width) to which every image is stretched.
    """
    workers = min(os.cpu_count() or 1, _MOST_WORKERS)
    pool = ThreadPoolExecutor(workers)
    waiting: deque[tuple[Path, Future]] = deque()
    try:
        for path in paths:
            waiting.append((path, pool.submit(_decode_or_tell, path, size)))
            if len(waiting) > 4 * workers:
                path, answer = waiting.popleft()
                yield path, answer.result()
        for path, answer in waiting:
            yield path, answer.result()
    finally:
        pool.shutdown(cancel_futures=True)


def decode_image(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Return an image as RGB pixels, uint8 (height, width, 3) in 0..255.

    The first frame is taken, the EXIF orientation applied, grayscale of more than 8
    bits scaled by the largest value its type can hold (floats must lie in 0..1),
    palettes and grayscale made RGB, transparency laid on white, and the image
    stretched to `size` (bilinear, antialiased).

    Args:
        path: the image file.
        size: the (height, width) wanted; None keeps the image's own.

    Raises:
        UnreadableImageError: if the file is damaged, over the limits or no image.
    """
    try:
        with _open(path) as opened:
            opened.load()
            image = _to_rgb(ImageOps.exif_transpose(opened), _largest_value(opened))
        if size is not None and image.size != (size[1], size[0]):
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return np.array(image)
    except _UNREADABLE as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImageError(
            f"The file cannot be read as an image: {said}. Received: "
            f"path={str(path)!r}. Replace it, or leave out such files with "
            "--skip-unreadable."
        ) from error


def _decode_or_tell(
    path: Path, size: tuple[int, int]
) -> np.ndarray | UnreadableImageError:
    """Decode an image, or return the error."""
    try:
        return decode_image(path, size)
    except UnreadableImageError as error:
        return error


def _images_below(folder: Path) -> list[Path]:
    """Return the image files in a folder and below it, sorted."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name)
            for name in files
            if not name.startswith(".")
            and name.lower().endswith(SUFFIXES)
            and Path(parent, name).is_file()
        ]
    if not found:
        raise FileNotFoundError(
            f"The folder holds no images; expected files ending in "
            f"{' '.join(SUFFIXES)} in it or below it. Received: "
            f"path={str(folder)!r}. Check the path."
        )
    return sorted(found)


def _open(path: Path) -> Image.Image:
    """Open an image lazily, refusing what is over the limits."""
    n_bytes = path.stat().st_size
    if n_bytes > MAX_FILE_BYTES:
        raise ValueError(f"{n_bytes} bytes, more than the {MAX_FILE_BYTES} allowed")
    try:
        image = Image.open(path, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ValueError(f"not an image of type {', '.join(FORMATS)}") from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise ValueError(
            f"{image.width} x {image.height} pixels, more than the {MAX_PIXELS} allowed"
        )
    return image


def _largest_value(image: Image.Image) -> int:
    """Return the largest value that a grayscale image's integer type can hold."""
    if image.format != "TIFF":
        return 2**16 - 1
    bits = image.tag_v2.get(_BITS_PER_SAMPLE, (1,))[0]
    signed = image.tag_v2.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED
    return 2 ** (bits - signed) - 1


def _to_rgb(image: Image.Image, largest: int) -> Image.Image:
    """Bring an image of any of Pillow's modes to mode RGB."""
    if image.mode == "F":
        return _scale(np.asarray(image), 1.0).convert("RGB")
    if image.mode.startswith("I"):
        pixels = np.asarray(image)
        # Pillow keeps unsigned 32-bit values in a signed type.
        if largest == 2**32 - 1:
            pixels = pixels.view(np.uint32)
        return _scale(pixels, largest).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _scale(pixels: np.ndarray, largest: float) -> Image.Image:
    """Scale grayscale pixels from 0..largest to 0..255."""
    # Written so that NaN is refused too.
    if not (pixels.min() >= 0 and pixels.max() <= largest):
        raise ValueError(
            f"grayscale values from {pixels.min()} to {pixels.max()}, outside "
            f"0..{largest:g}"
        )
    scaled = np.rint(pixels.astype(np.float64) * (255 / largest))
    return Image.fromarray(scaled.astype(np.uint8))
