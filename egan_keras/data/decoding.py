"""One encoded image to RGB pixels: which formats, which limits, which conversion."""

import io
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
MAX_FILE_BYTES = 256 * 1024**2
MAX_PIXELS = 80_000_000

# Pillow's readers answer damaged files with many types of exception.
UNREADABLE = (
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


class EncodedImage(NamedTuple):
    """An image file's bytes held in memory, with a name for messages."""

    name: str
    data: bytes

    def __str__(self) -> str:
        """Return the name, as `str(path)` does for a file."""
        return self.name


def read_size(source: Path | EncodedImage) -> tuple[int, int]:
    """Return an image's (height, width) from its header, as it is to be shown.

    Args:
        source: the image file, or its bytes.

    Raises:
        OSError, ValueError: if the file is over the limits, or no image in one of
            `FORMATS`, among other types that a damaged header may raise (see
            `UNREADABLE`).
    """
    with _open(source) as image:
        width, height = image.size
        # Only where the header holds it: asking for it makes Pillow decode a PNG.
        # Pillow turns a TIFF's size by itself.
        if image.format != "TIFF" and ("exif" in image.info or "xmp" in image.info):
            if image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8):
                return width, height
    return height, width


def decode_image(
    source: Path | EncodedImage, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Return an image as RGB pixels, uint8 (height, width, 3) in 0..255.

    The conversion, in this order:

    1. The first frame of an animation, the first page of a TIFF.
    2. The EXIF orientation is applied.
    3. Grayscale of 9 to 32 bits is scaled to 0..255 by the largest value its type
       can hold (16 bits: divided by 257); float grayscale must lie in 0..1 and is
       multiplied by 255. Both are rounded. Pillow itself reduces colour images of
       16 bits to their upper 8.
    4. Palettes, CMYK and YCbCr become RGB; grayscale becomes three equal channels;
       transparent pixels are laid on white.
    5. With `size`, the image is stretched to it: bilinear, antialiased.

    Args:
        source: the image file, or its bytes.
        size: the (height, width) wanted; None keeps the image's own.

    Raises:
        OSError, ValueError: if the file is damaged, over the limits, or holds
            negative integers or floats outside 0..1, among other types that a
            damaged file may raise (see `UNREADABLE`).
    """
    with _open(source) as opened:
        opened.load()
        image = _to_rgb(ImageOps.exif_transpose(opened), _largest_value(opened))
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.array(image)


def _open(source: Path | EncodedImage) -> Image.Image:
    """Open an image lazily, refusing what is over the limits."""
    encoded = isinstance(source, EncodedImage)
    n_bytes = len(source.data) if encoded else source.stat().st_size
    if n_bytes > MAX_FILE_BYTES:
        raise ValueError(f"{n_bytes} bytes, more than the {MAX_FILE_BYTES} allowed")
    try:
        image = Image.open(
            io.BytesIO(source.data) if encoded else source, formats=FORMATS
        )
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
        unsigned = largest == 2**32 - 1
        return _scale(pixels.view(np.uint32) if unsigned else pixels, largest).convert(
            "RGB"
        )
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
            f"0..{largest:g}; save it with 8 or 16 bits per pixel"
        )
    scaled = np.rint(pixels.astype(np.float64) * (255 / largest))
    return Image.fromarray(scaled.astype(np.uint8))
