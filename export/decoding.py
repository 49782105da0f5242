"""One encoded image to RGB pixels: which formats, which limits, which conversion."""

import contextlib
import io
import math
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
MAX_FILE_BYTES = 256 * 1024**2
MAX_PIXELS = 80_000_000

GrayRange = tuple[float, float]

_BITS_PER_SAMPLE = 258
_SAMPLE_FORMAT = 339
_SIGNED = 2
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_THEIR_SIDE = (5, 6, 7, 8)
# Where Pillow keeps what tells an orientation, unless it is a TIFF's own tag.
_METADATA = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")


class UnreadableError(ValueError):
    """A file that cannot be read as an image; the message says why."""


class EncodedImage(NamedTuple):
    """An image file's bytes held in memory, with a name for messages."""

    name: str
    data: bytes

    def __str__(self) -> str:
        """Return the name, as `str(path)` does for a file."""
        return self.name


class Header(NamedTuple):
    """What an image's header tells.

    Attributes:
        size: (height, width), as it is to be shown.
        is_deep: whether it holds more than 8 bits for each pixel and channel.
    """

    size: tuple[int, int]
    is_deep: bool


class Decoded(NamedTuple):
    """An image's pixels, and what is odd about them.

    Attributes:
        pixels: RGB, uint8 (height, width, 3) in 0..255.
        is_constant: whether all its pixels are of one colour.
        is_clipped: whether it holds values outside the range of grays given.
    """

    pixels: np.ndarray
    is_constant: bool
    is_clipped: bool


class ValueRange(NamedTuple):
    """The values that the pixels of an image of more than 8 bits have.

    Attributes:
        low: the smallest one.
        high: the largest one.
        largest: the largest one that its type can hold; 1 for floats.
        is_colour: whether it has several channels, of which Pillow reads 8 bits.
    """

    low: float
    high: float
    largest: float
    is_colour: bool


def read_header(source: Path | EncodedImage) -> Header:
    """Return what an image's header tells.

    Args:
        source: the image file, or its bytes.

    Raises:
        UnreadableError: if the file is over the limits, damaged, or no image in one
            of `FORMATS`.
    """
    with _telling_unreadable(), _open(source) as image:
        height, width = image.height, image.width
        # Only where the header holds it: asking for it makes Pillow decode a PNG.
        # Pillow turns a TIFF's size by itself.
        if image.format != "TIFF" and any(key in image.info for key in _METADATA):
            if _orientation(image) in _ON_THEIR_SIDE:
                height, width = width, height
        return Header((height, width), _is_deep(image))


def decode_image(
    source: Path | EncodedImage,
    size: tuple[int, int] | None = None,
    gray_range: GrayRange | None = None,
) -> np.ndarray:
    """Return an image as RGB pixels, uint8 (height, width, 3) in 0..255.

    The conversion, in this order:

    1. The first frame of an animation, the first page of a TIFF.
    2. The EXIF orientation is applied; a damaged one is ignored.
    3. Grayscale of 9 to 32 bits is scaled to 0..255: `gray_range` names the values
       that become black and white, and what lies outside is clipped. Without it, 0
       and the largest value that the type can hold are taken (16 bits: divided by
       257), and for floats 0 and 1, outside which nothing may lie. Pixels are
       rounded. Pillow itself reduces colour images of 16 bits to their upper 8.
    4. Palettes, CMYK and YCbCr become RGB; grayscale becomes three equal channels;
       transparent pixels are laid on white.
    5. With `size`, the image is stretched to it: bilinear, antialiased.

    Args:
        source: the image file, or its bytes.
        size: the (height, width) wanted; None keeps the image's own.
        gray_range: the values (black, white) of grayscale of more than 8 bits.

    Raises:
        UnreadableError: if the file is damaged, over the limits, or without
            `gray_range` holds negative integers or floats outside 0..1.
    """
    return decode(source, size, gray_range).pixels


def decode(
    source: Path | EncodedImage,
    size: tuple[int, int] | None = None,
    gray_range: GrayRange | None = None,
) -> Decoded:
    """Return an image as `decode_image` does, and what is odd about it."""
    with _telling_unreadable(), _open(source) as opened:
        largest = _largest_value(opened)
        image, is_clipped = _to_rgb(_load_turned(opened), largest, gray_range)
        original = image
        if size is not None and image.size != (size[1], size[0]):
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        pixels = np.array(image)
        # A few pixels answer for nearly all images, at no cost.
        is_constant = bool((pixels[::8, ::8] == pixels[0, 0]).all()) and all(
            low == high for low, high in original.getextrema()
        )
        return Decoded(pixels, is_constant, is_clipped)


def read_values(source: Path | EncodedImage) -> ValueRange:
    """Return the values in an image of more than 8 bits, by decoding it.

    Raises:
        UnreadableError: as `decode_image` does.
    """
    with _telling_unreadable(), _open(source) as image:
        largest = _largest_value(image)
        image.load()
        if _is_gray(image):
            pixels = _gray_values(image, largest)
            low, high = float(pixels.min()), float(pixels.max())
            return ValueRange(low, high, largest, is_colour=False)
        # Each step of the 8 bits that Pillow leaves is 257 of 16.
        extrema = image.convert("RGB").getextrema()
        low, high = min(low for low, _ in extrema), max(high for _, high in extrema)
        return ValueRange(low * 257, high * 257, 2**16 - 1, is_colour=True)


def check_gray_range(gray_range: Sequence[float] | None) -> GrayRange | None:
    """Return a range of grays as (black, white), or None for None.

    Raises:
        ValueError: if it is not two finite numbers, the smaller one first.

    >>> check_gray_range([0, 4095])
    (0.0, 4095.0)
    """
    if gray_range is None:
        return None
    try:
        black, white = map(float, gray_range)
    except (TypeError, ValueError):
        black = white = math.nan
    if not (math.isfinite(black) and math.isfinite(white) and black < white):
        raise ValueError(
            "`gray_range` must be two numbers, the values that are black and white, "
            f"the smaller one first. Received: gray_range={gray_range!r}. Pass, for "
            "example, (0, 4095) for cameras of 12 bits."
        )
    return black, white


@contextlib.contextmanager
def _telling_unreadable() -> Iterator[None]:
    """Make whatever is raised in reading an image an `UnreadableError`.

    Pillow's readers answer damaged files with nearly any type of exception.
    """
    try:
        yield
    except UnreadableError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableError(said) from error


def _open(source: Path | EncodedImage) -> Image.Image:
    """Open an image lazily, refusing what is over the limits."""
    encoded = isinstance(source, EncodedImage)
    if encoded:
        n_bytes = len(source.data)
    else:
        state = source.stat()
        n_bytes = state.st_size
        # Opening a pipe would wait for its other end.
        if not stat.S_ISREG(state.st_mode):
            raise UnreadableError("not a regular file")
    if not n_bytes:
        raise UnreadableError("an empty file")
    if n_bytes > MAX_FILE_BYTES:
        raise UnreadableError(
            f"{n_bytes} bytes, more than the {MAX_FILE_BYTES} allowed"
        )
    try:
        image = Image.open(
            io.BytesIO(source.data) if encoded else source, formats=FORMATS
        )
    except UnidentifiedImageError as error:
        raise UnreadableError(f"not an image of type {', '.join(FORMATS)}") from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise UnreadableError(
            f"{image.width} x {image.height} pixels, more than the {MAX_PIXELS} allowed"
        )
    return image


def _load_turned(image: Image.Image) -> Image.Image:
    """Decode an opened image and apply its orientation.

    Pillow's own way writes the EXIF block anew, which fails where one of its other
    entries is wrong.
    """
    if image.format == "TIFF":
        orientation = image.tag_v2.get(ExifTags.Base.Orientation)
        # Else Pillow reads all of it while decoding, and turns the image itself.
        image.getexif = Image.Exif
        image.load()
    else:
        image.load()
        orientation = _orientation(image)
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> Any:
    """Return what EXIF or XMP give as the orientation; None if they are damaged."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
        return found if isinstance(found, int) else None
    except Exception:
        return None


def _is_gray(image: Image.Image) -> bool:
    """Tell whether an image is grayscale of more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I")


def _is_deep(image: Image.Image) -> bool:
    """Tell whether an image that is not decoded yet has more than 8 bits a channel."""
    if _is_gray(image):
        return True
    if image.format == "TIFF":
        return max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))) > 8
    return image.format == "PNG" and ";16" in str(image.tile)


def _largest_value(image: Image.Image) -> int:
    """Return the largest value that a grayscale image's type can hold."""
    if image.mode == "F":
        return 1
    if image.format != "TIFF":
        return 2**16 - 1
    bits = image.tag_v2.get(_BITS_PER_SAMPLE, (1,))[0]
    signed = image.tag_v2.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED
    return 2 ** (bits - signed) - 1


def _gray_values(image: Image.Image, largest: int) -> np.ndarray:
    """Return the values of grayscale of more than 8 bits, (height, width)."""
    pixels = np.asarray(image)
    # Pillow keeps unsigned 32-bit values in a signed type.
    return pixels.view(np.uint32) if largest == 2**32 - 1 else pixels


def _to_rgb(
    image: Image.Image, largest: int, gray_range: GrayRange | None
) -> tuple[Image.Image, bool]:
    """Bring an image of any mode to mode RGB; tell whether values were clipped."""
    if _is_gray(image):
        return _scale(_gray_values(image, largest), largest, gray_range)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB"), False


def _scale(
    pixels: np.ndarray, largest: float, gray_range: GrayRange | None
) -> tuple[Image.Image, bool]:
    """Scale grayscale pixels to 0..255; tell whether values were clipped."""
    black, white = gray_range or (0, largest)
    low, high = pixels.min(), pixels.max()
    # Written so that NaN is outside, too.
    is_outside = not (low >= black and high <= white)
    if is_outside and (gray_range is None or np.isnan(low)):
        raise UnreadableError(
            f"grayscale values from {low} to {high}, outside {black:g}..{white:g}; "
            "say which values are black and white with gray_range (--gray-range)"
        )
    values = pixels.astype(np.float64)
    if is_outside:
        values = np.clip(values, black, white)
    scaled = np.rint((values - black) * (255 / (white - black))).astype(np.uint8)
    return Image.fromarray(scaled).convert("RGB"), is_outside
