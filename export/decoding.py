"""One encoded image to RGB pixels: which formats, which limits, which conversion.

Cameras of 10, 12 or 14 bits are often saved as 16 or 32 bits without scaling. Read by
the range of the type, such images are nearly black, and nothing else tells. So images
of more than 8 bits are looked at before they are decoded.
"""

import contextlib
import io
import logging
import math
import stat
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
MAX_FILE_BYTES = 256 * 1024**2
MAX_PIXELS = 80_000_000

Size = tuple[int, int]
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
# What 14 bits fill of 16, and half a stop less.
_SMALL_PART = 1 / 4
# Images of more than 8 bits are looked for among so many, and so many are decoded.
_OPENED, _DECODED = 64, 32

# What Pillow logs of damaged files, it raises, too.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class UnreadableError(ValueError):
    """A file that cannot be read as an image; the message says why."""


class EncodedImage(NamedTuple):
    """An image file's bytes held in memory, with a name for messages."""

    name: str
    data: bytes

    def __str__(self) -> str:
        """Return the name, as `str(path)` does for a file."""
        return self.name


Source = Path | EncodedImage


class Header(NamedTuple):
    """What a header tells.

    That is (height, width) as shown, whether a channel has more than 8 bits, and the
    format, as in `FORMATS`, whatever the file's name says.
    """

    size: Size
    is_deep: bool
    format: str


class Decoded(NamedTuple):
    """Pixels, uint8 RGB; whether all are of one colour; whether some were clipped."""

    pixels: np.ndarray
    is_constant: bool
    is_clipped: bool


class _ValueRange(NamedTuple):
    """The smallest and largest value of an image, and the largest of its type."""

    low: float
    high: float
    largest: float
    # Whether it has several channels, of which Pillow reads 8 bits.
    is_colour: bool


def read_header(source: Source) -> Header:
    """Return what a header tells; refuse what is damaged or over the limits."""
    with opened(source) as image:
        height, width = image.height, image.width
        # Only where the header holds it: asking for it makes Pillow decode a PNG.
        # Pillow turns a TIFF's size by itself.
        if image.format != "TIFF" and any(key in image.info for key in _METADATA):
            if _orientation(image) in _ON_THEIR_SIDE:
                height, width = width, height
        return Header((height, width), _is_deep(image), image.format)


def decode(
    source: Source, size: Size | None = None, gray_range: GrayRange | None = None
) -> Decoded:
    """Return an image as RGB pixels, uint8 in 0..255, and what is odd about it.

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
    5. With `size`, (height, width), the image is stretched: bilinear, antialiased.

    Raises:
        UnreadableError: if the file is damaged, over the limits, or without
            `gray_range` holds negative integers or floats outside 0..1.
    """
    with opened(source) as unread:
        largest = _largest_value(unread)
        image, is_clipped = _load_turned(unread), False
        if _is_gray(image):
            values = _gray_values(image, largest)
            image, is_clipped = _scale(values, largest, gray_range)
        elif image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        original = image = image.convert("RGB")
        if size is not None and image.size != (size[1], size[0]):
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        pixels = np.array(image)
        # A few pixels answer for nearly all images, at no cost.
        is_constant = bool((pixels[::8, ::8] == pixels[0, 0]).all()) and all(
            low == high for low, high in original.getextrema()
        )
        return Decoded(pixels, is_constant, is_clipped)


def check_gray_range(gray_range: Sequence[float] | None) -> GrayRange | None:
    """Return a range of grays as (black, white), None for None, or refuse it.

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
            f"smaller first. Received: gray_range={gray_range!r}. Pass, say, (0, 4095)."
        )
    return black, white


def check_depths(
    groups: Mapping[str, Sequence[Source]], gray_range: GrayRange | None
) -> None:
    """Refuse images of more than 8 bits that would be read as nearly one gray.

    A dark image among others is as it should be. So each group, by its name, is judged
    as a whole: it is refused if more than half of its images, or of 32 of them, use
    less than a quarter of what their type can hold. A warning counts images with values
    outside `gray_range`.
    """
    black, white = gray_range or (-math.inf, math.inf)
    scaled = []
    for name, sources in groups.items():
        values = _values(sources)
        # Those that are read by the whole range of their type, unasked.
        whole = [
            v for v in values if not gray_range or v.is_colour and white < v.largest
        ]
        if told := _tell_narrow(whole, f" of {name}" if name else "", gray_range):
            raise ValueError(told)
        scaled += [each for each in values if not each.is_colour]
    clipped = [each for each in scaled if each.low < black or each.high > white]
    if clipped:
        low, high = _extremes(clipped)
        warnings.warn(
            f"{len(clipped)} of {len(scaled)} images looked at have values outside "
            f"gray_range=({black:.10g}, {white:.10g}), from {low:.10g} to {high:.10g}; "
            "they are clipped to black and white.",
            stacklevel=3,
        )


def warn_of_depths(sources: Sequence[Source]) -> None:
    """Warn of what `check_depths` refuses: for images to score, of any number."""
    if told := _tell_narrow(_values(sources), "", None):
        warnings.warn(told, stacklevel=3)


def deep_among(paths: Sequence[str]) -> list[Path]:
    """Return the images of more than 8 bits among 64, evenly chosen, of the files."""
    deep = []
    for path in map(Path, _some(paths, _OPENED)):
        # Whoever decodes an unreadable one says so.
        with contextlib.suppress(UnreadableError):
            deep += [path] * read_header(path).is_deep
    return deep


@contextlib.contextmanager
def opened(source: Source) -> Iterator[Image.Image]:
    """Open an image lazily; whatever is raised becomes an `UnreadableError`.

    Pillow's readers answer damaged files with nearly any type of exception.
    """
    try:
        with Image.open(_checked(source), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width} x {image.height} pixels"
                raise UnreadableError(f"{size}, more than the {MAX_PIXELS} allowed")
            yield image
    except UnreadableError:
        raise
    except UnidentifiedImageError as error:
        kinds = ", ".join(FORMATS)
        raise UnreadableError(f"not an image of type {kinds}") from error
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableError(said) from error


def _checked(source: Source) -> Path | io.BytesIO:
    """Return what Pillow opens, unless its bytes are none or too many."""
    if isinstance(source, EncodedImage):
        file, n_bytes = io.BytesIO(source.data), len(source.data)
    else:
        file, state = source, source.stat()
        n_bytes = state.st_size
        # Opening a pipe would wait for its other end.
        if not stat.S_ISREG(state.st_mode):
            raise UnreadableError("not a regular file")
    if not n_bytes:
        raise UnreadableError("an empty file")
    if n_bytes > MAX_FILE_BYTES:
        said = f"{n_bytes} bytes, more than the {MAX_FILE_BYTES} allowed"
        raise UnreadableError(said)
    return file


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
    return image.mode.startswith(("F", "I"))


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
    return Image.fromarray(scaled), is_outside


def _values(sources: Sequence[Source]) -> list[_ValueRange]:
    """Return the values of some of the images, but of those of a single value."""
    found = []
    for source in _some(sources, _DECODED):
        # Whoever decodes an unreadable one says so.
        with contextlib.suppress(UnreadableError), opened(source) as image:
            largest = _largest_value(image)
            image.load()
            if is_colour := not _is_gray(image):
                # Each step of the 8 bits that Pillow leaves is 257 of 16.
                pixels, step, largest = np.asarray(image.convert("RGB")), 257, 2**16 - 1
            else:
                pixels, step = _gray_values(image, largest), 1
            low, high = step * float(pixels.min()), step * float(pixels.max())
            found.append(_ValueRange(low, high, largest, is_colour))
    return [values for values in found if values.low < values.high]


def _some(sources: Sequence[Any], count: int) -> Sequence[Any]:
    """Return so many of the sources, evenly chosen."""
    if len(sources) <= count:
        return sources
    return [sources[i * len(sources) // count] for i in range(count)]


def _tell_narrow(
    found: Sequence[_ValueRange], where: str, gray_range: GrayRange | None
) -> str | None:
    """Say what to do if most images fill a small part of their type; else None."""
    narrow = [v for v in found if v.high - v.low < v.largest * _SMALL_PART]
    if 2 * len(narrow) <= len(found):
        return None
    low, high = black, white = _extremes(narrow)
    largest = narrow[0].largest
    if 0 <= black < white / 4:
        black = 0
        if largest > 1:
            # What a camera of so many bits gives.
            white = 2 ** math.ceil(math.log2(white + 1)) - 1
    advice = f"Say which values are black and white, such as {_option(black, white)}."
    if any(each.is_colour for each in narrow):
        advice = (
            "Colour of 16 bits is read by its upper 8 alone: save such images with 8 "
            "bits a channel, scaled to 0..255."
        )
    return (
        "Images of more than 8 bits use a small part of their range, and so are read "
        f"as a few nearly equal grays: {len(narrow)} of {len(found)} looked at{where} "
        f"have values from {low:.10g} to {high:.10g}; expected up to {largest:.10g}. "
        f"Received: gray_range={gray_range}. {advice} {_option(0, largest)} takes "
        "them as they are."
    )


def _extremes(values: Sequence[_ValueRange]) -> tuple[float, float]:
    return min(each.low for each in values), max(each.high for each in values)


def _option(black: float, white: float) -> str:
    # The largest 32-bit integer has ten digits.
    black, white = f"{black:.10g}", f"{white:.10g}"
    return f"gray_range=({black}, {white}) (--gray-range={black},{white})"
