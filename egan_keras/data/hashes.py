"""Rows recognised again by what they hold: images by their pixels."""

import hashlib
from collections.abc import Iterator

import numpy as np

from egan_keras.data.ahead import work_ahead
from egan_keras.data.lazy import LazyRows, in_batches

_ROWS_AT_ONCE = 256
# Hashing lets other threads work, but to start these takes as long as a megabyte.
_BYTES_FOR_THREADS = 4_000_000
_ROWS_OF_A_THREAD = 16


def row_hashes(rows: np.ndarray | LazyRows) -> np.ndarray:
    """Returns a number for each row; equal rows have the same, all others another.

    An image has one number whether its pixels come as bytes, as floats or from a file,
    as long as they are the same. Two different rows among 100,000 have the same number
    with a probability of 3e-10.

    Args:
        rows: images (n, h, w, 3) or features (n, d), an array or lazy.

    Returns:
        uint64 (n,).

    >>> pixels = np.arange(24).reshape(2, 2, 2, 3)
    >>> first, second = row_hashes(pixels.astype("uint8"))
    >>> np.array_equal(row_hashes(pixels.astype("float64")), [first, second])
    True
    """
    parts = [_hashes(batch) for batch in in_batches(rows, _ROWS_AT_ONCE)]
    return np.concatenate([np.empty(0, np.uint64), *parts])


def check_not_all_the_same(hashes: np.ndarray) -> None:
    """Refuse images that are all one and the same.

    Args:
        hashes: what `row_hashes` returned for them.

    Raises:
        ValueError: if there are several, and they are.
    """
    if len(hashes) > 1 and (hashes == hashes[0]).all():
        raise ValueError(
            "All images are one and the same; expected different ones. Received: "
            f"{len(hashes)} images with the same pixels. Look at how they are read."
        )


def _hashes(rows: np.ndarray) -> np.ndarray:
    if rows.nbytes < _BYTES_FOR_THREADS:
        digests = _digests(rows)
    else:
        starts = range(0, len(rows), _ROWS_OF_A_THREAD)
        parts = (rows[start : start + _ROWS_OF_A_THREAD] for start in starts)
        digests = b"".join(work_ahead(_digests, parts))
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def _digests(rows: np.ndarray) -> bytes:
    return b"".join(hashlib.sha256(row).digest()[:8] for row in _plain(rows))


def _plain(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yields each row in bytes if it holds whole numbers 0..255, else in float32."""
    if rows.dtype == np.uint8:
        yield from np.ascontiguousarray(rows)
        return
    floats = np.ascontiguousarray(rows, np.float32)
    with np.errstate(invalid="ignore"):
        pixels = floats.astype(np.uint8)
    are_whole = (pixels == floats).all(axis=tuple(range(1, rows.ndim)))
    for row, pixel, is_whole in zip(floats, pixels, are_whole, strict=True):
        yield pixel if is_whole else row
