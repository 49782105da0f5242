"""Images of more than 8 bits: whether their values fill the range they are read by.

Cameras of 10, 12 or 14 bits are often saved as 16 or 32 bits without scaling. Read by
the range of the type, such images are nearly black, and nothing else tells.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from decoding import (
    EncodedImage,
    GrayRange,
    UnreadableError,
    ValueRange,
    read_header,
    read_values,
)

Source = Path | EncodedImage

# What 14 bits fill of 16, and half a stop less.
_SMALL_PART = 1 / 4
_OPENED = 64
_DECODED = 32


def check_depths(
    groups: Mapping[str, Sequence[Source]], gray_range: GrayRange | None
) -> None:
    """Refuse images of more than 8 bits that would be read as nearly one gray.

    A dark image among others is as it should be. So each group is judged as a whole:
    it is refused if more than half of its images, or of 32 of them if it has more,
    use less than a quarter of what their type can hold.

    Args:
        groups: images of more than 8 bits, by a name for messages, such as the class.
        gray_range: as for `decode_image`. Where it is given, values outside it are
            clipped, and a warning counts the images that have some.

    Raises:
        ValueError: naming the values found, and the range to give.
    """
    clipped: list[ValueRange] = []
    n_values = 0
    for name, sources in groups.items():
        found = _values(sources)
        read_whole = [each for each in found if _is_read_whole(each, gray_range)]
        narrow = [each for each in read_whole if _is_narrow(each)]
        if 2 * len(narrow) > len(read_whole):
            raise ValueError(
                f"{_finding(name, narrow, read_whole, gray_range)} {_advice(narrow)}"
            )
        if gray_range is not None:
            scaled = [each for each in found if not each.is_colour]
            n_values += len(scaled)
            clipped += [
                each
                for each in scaled
                if each.low < gray_range[0] or each.high > gray_range[1]
            ]
    if clipped:
        low, high = _extremes(clipped)
        warnings.warn(
            f"{len(clipped)} of {n_values} images looked at have values outside "
            f"gray_range={_as_pair(*gray_range)}, from {_plain(low)} to "
            f"{_plain(high)}; they are clipped to black and white.",
            stacklevel=3,
        )


def warn_of_depths(sources: Sequence[Source]) -> None:
    """Warn of what `check_depths` refuses: for images to score, of any number."""
    found = _values(sources)
    narrow = [each for each in found if _is_narrow(each)]
    if 2 * len(narrow) > len(found):
        warnings.warn(
            f"{_finding('', narrow, found, None)} {_advice(narrow)}", stacklevel=3
        )


def deep_among(paths: Sequence[str]) -> list[Path]:
    """Return the images of more than 8 bits among 64, evenly chosen, of the files."""

    def is_deep(path: Path) -> bool:
        try:
            return read_header(path).is_deep
        # Whoever decodes it says so.
        except UnreadableError:
            return False

    return [path for path in map(Path, _some(paths, _OPENED)) if is_deep(path)]


def _values(sources: Sequence[Source]) -> list[ValueRange]:
    """Read the values of some of the images.

    Those that are unreadable or of one value are left to whoever decodes them.
    """
    found = []
    for source in _some(sources, _DECODED):
        try:
            values = read_values(source)
        except UnreadableError:
            continue
        if values.low < values.high:
            found.append(values)
    return found


def _some(sources: Sequence[Any], count: int) -> Sequence[Any]:
    """Return so many of the sources, evenly chosen."""
    if len(sources) <= count:
        return sources
    return [sources[i * len(sources) // count] for i in range(count)]


def _is_read_whole(values: ValueRange, gray_range: GrayRange | None) -> bool:
    """Tell whether an image is read by the whole range of its type, unasked."""
    if values.is_colour:
        return gray_range is None or gray_range[1] < values.largest
    return gray_range is None


def _is_narrow(values: ValueRange) -> bool:
    return values.high - values.low < values.largest * _SMALL_PART


def _finding(
    name: str,
    narrow: Sequence[ValueRange],
    found: Sequence[ValueRange],
    gray_range: GrayRange | None,
) -> str:
    """Say what the images hold."""
    low, high = _extremes(narrow)
    where = f" of {name}" if name else ""
    return (
        "Images of more than 8 bits use a small part of their range, and so are read "
        f"as a few nearly equal grays: {len(narrow)} of {len(found)} looked at{where} "
        f"have values from {_plain(low)} to {_plain(high)}; expected up to "
        f"{_plain(narrow[0].largest)}. Received: gray_range={gray_range}."
    )


def _advice(narrow: Sequence[ValueRange]) -> str:
    """Say which range to give."""
    largest = narrow[0].largest
    whole = f"{_options(0, largest)} takes them as they are."
    if any(each.is_colour for each in narrow):
        return (
            "Colour of 16 bits is read by its upper 8 alone: save such images with 8 "
            f"bits a channel, scaled to 0..255. {whole}"
        )
    black, white = _extremes(narrow)
    if 0 <= black < white / 4:
        black = 0
        if largest > 1:
            # What a camera of so many bits gives.
            white = 2 ** math.ceil(math.log2(white + 1)) - 1
    return (
        "Say which values are black and white, for example "
        f"{_options(black, white)}. {whole}"
    )


def _extremes(values: Sequence[ValueRange]) -> tuple[float, float]:
    return min(each.low for each in values), max(each.high for each in values)


def _options(black: float, white: float) -> str:
    """Write a range as an argument and as an option."""
    return (
        f"gray_range={_as_pair(black, white)} (--gray-range={_plain(black)},"
        f"{_plain(white)})"
    )


def _as_pair(black: float, white: float) -> str:
    return f"({_plain(black)}, {_plain(white)})"


def _plain(value: float) -> str:
    # The largest 32-bit integer has ten digits.
    return f"{value:.10g}"
