"""Image files to RGB pixels, bit for bit as egan_keras reads them.

`decoding.py`, `finding.py` and `text.py` are copies of what it uses.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from decoding import Decoded, GrayRange, UnreadableError, check_gray_range, decode

_MOST_WORKERS = 8


class UnreadableImageError(ValueError):
    """A file that cannot be read as an image; the message says why."""


def decode_ahead(
    paths: Iterable[Path],
    size: tuple[int, int],
    gray_range: GrayRange | None = None,
) -> Iterator[tuple[Path, Decoded | UnreadableImageError]]:
    """Yield each path with its image, or with what is wrong with the file.

    While one is used, threads decode the next ones; only a few are in memory.

    Args:
        paths: the image files.
        size: the (height, width) to which every image is stretched.
        gray_range: as for `decode_image`.
    """
    workers = min(os.cpu_count() or 1, _MOST_WORKERS)
    pool = ThreadPoolExecutor(workers)
    waiting: deque[tuple[Path, Future]] = deque()
    try:
        for path in paths:
            waiting.append((path, pool.submit(_decode_or_tell, path, size, gray_range)))
            if len(waiting) > 4 * workers:
                path, answer = waiting.popleft()
                yield path, answer.result()
        for path, answer in waiting:
            yield path, answer.result()
    finally:
        pool.shutdown(cancel_futures=True)


def decode_image(
    path: Path,
    size: tuple[int, int] | None = None,
    gray_range: Sequence[float] | None = None,
) -> np.ndarray:
    """Return an image as RGB pixels, uint8 (height, width, 3) in 0..255.

    The first frame is taken, the EXIF orientation applied, grayscale of more than 8
    bits scaled by `gray_range`, palettes and grayscale made RGB, transparency laid on
    white, and the image stretched to `size` (bilinear, antialiased).

    Args:
        path: the image file.
        size: the (height, width) wanted; None keeps the image's own.
        gray_range: the values that are black and white in grayscale of more than 8
            bits, `model.description.gray_range`; None takes 0 and the largest value
            that its type can hold (for floats, which must lie in 0..1, 1).

    Raises:
        UnreadableImageError: if the file is damaged, over the limits or no image.
    """
    answer = _decode_or_tell(path, size, check_gray_range(gray_range))
    if isinstance(answer, UnreadableImageError):
        raise answer
    return answer.pixels


def _decode_or_tell(
    path: Path, size: tuple[int, int] | None, gray_range: GrayRange | None
) -> Decoded | UnreadableImageError:
    """Decode an image, or return the error."""
    try:
        return decode(path, size, gray_range)
    except UnreadableError as error:
        return UnreadableImageError(
            f"The file cannot be read as an image: {error}. Received: "
            f"path={str(path)!r}. Replace it, or leave out such files with "
            "--skip-unreadable."
        )
