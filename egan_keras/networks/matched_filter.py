"""The filter that tells places of minority images from those of the majority."""

import functools
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import scipy.linalg
import scipy.ndimage
from keras import ops

from egan_keras import logs

# Of each image so many places count, those most unlike the majority.
PLACES, _OF_MAJORITY = 3, 10
_RIDGE = 0.03
# Places that tell how channels go together, and images that tell what stands out.
_MOST_PLACES, MOST_IMAGES = 60_000, 300
_SMALL = 1e-6
# Of maps in 32 bits.
_BYTES_AT_ONCE, _MOST_AT_ONCE = 20_000_000, 256

Maps = Sequence[np.ndarray]


class MatchedFilter:
    """Filters what stands out in minority images from what does in majority images.

    Maps (n, h, w, c) of each depth are joined: averaged over 3 x 3 places and enlarged
    to the largest. The difference is whitened by the covariance of the majority's
    places. `unlike` is how unlike these each of them is, (n, places).
    """

    def __init__(self, majority: Maps, unlike: np.ndarray) -> None:
        self._channels = [maps.shape[-1] for maps in majority]
        standing_out: list[np.ndarray] = []
        places = _some_places(majority, unlike, standing_out)
        self._mean, spread = covariance(*moments(places))
        size = len(spread)
        ridge = _RIDGE * np.trace(spread) / size + _SMALL
        self._root = scipy.linalg.cholesky(spread + ridge * np.eye(size), lower=True)
        self._usual = self._whitened(standing_out)[:MOST_IMAGES].mean(axis=0)

    def prototypes(self, minority: Maps, unlike: np.ndarray) -> np.ndarray:
        """Returns what stands out in each minority image, whitened, of length 1.

        Arguments are those of the constructor, of m minority images; returned is
        (m, channels of all depths).
        """
        pairs = _joined(minority)
        most = [_most_unlike(maps, unlike[rows], PLACES) for rows, maps in pairs]
        found = self._whitened(most) - self._usual
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), _SMALL)

    def of(self, prototypes: np.ndarray) -> list[np.ndarray]:
        """Returns the filter of each depth's channels, (c,); their sum tells."""
        direction = prototypes.mean(axis=0)
        direction = direction / max(np.linalg.norm(direction), _SMALL)
        found = scipy.linalg.solve_triangular(
            self._root, direction, lower=True, trans="T"
        )
        return np.split(found, np.cumsum(self._channels)[:-1])

    def _whitened(self, places: list[np.ndarray]) -> np.ndarray:
        centred = np.concatenate(places).astype("float64") - self._mean
        return scipy.linalg.solve_triangular(self._root, centred.T, lower=True).T


def folds(n_images: int, views: int, most: int = 10) -> Iterator[tuple]:
    """Yields which rows to fit on and which to hold out, (n_images * views,) each.

    All images in one view stand before all in the next, and an image's views are held
    out together.
    """
    image = np.tile(np.arange(n_images), views)
    for number in range(min(most, n_images)):
        held_out = image % most == number
        yield ~held_out, held_out


def averaged(maps):
    """Returns maps (n, h, w, c) averaged over 3 x 3 places, 0 beyond the border."""
    padded = ops.pad(maps, [[0, 0], [1, 1], [1, 1], [0, 0]])
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]) / 9


def enlarged(maps, size: tuple[int, int]):
    """Returns maps (n, h, w, c) interpolated to (height, width)."""
    if tuple(maps.shape[1:3]) == size:
        return maps
    return ops.image.resize(maps, size, "bilinear", data_format="channels_last")


def in_batches(*maps: np.ndarray) -> Iterator[list]:
    """Yields tensors in 32 bits of each depth's maps, a few images at a time."""
    for rows in _batches_of(maps):
        yield [cast(own[rows], "float32") for own in maps]


def cast(array, dtype: str):
    """Returns a tensor of another type, as NumPy's `astype` in a third of the time."""
    _cast_once_in_silence()
    return ops.cast(ops.convert_to_tensor(array), dtype)


@functools.cache
def _cast_once_in_silence() -> None:
    """Has oneDNN say now, to nobody, that it leaves numbers of 16 bits to others."""
    with logs.without_stderr():
        ops.convert_to_numpy(ops.cast(ops.cast(ops.ones(1), "float16"), "float32"))


def _batches_of(maps: Maps) -> Iterator[slice]:
    """Yields which images of maps to take at once."""
    places = max(math.prod(own.shape[1:3]) for own in maps)
    size = 4 * places * sum(own.shape[-1] for own in maps)
    count = max(1, min(_MOST_AT_ONCE, _BYTES_AT_ONCE // size))
    for start in range(0, len(maps[0]), count):
        yield slice(start, start + count)


def _joined(maps: Maps) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields which images, a few at a time, and all depths' maps of them as one."""
    size = max(each.shape[1:3] for each in maps)
    for rows, batch in zip(_batches_of(maps), in_batches(*maps), strict=True):
        # As `averaged`, in a third of the time.
        smooth = (
            scipy.ndimage.uniform_filter(
                ops.convert_to_numpy(x), (1, 3, 3, 1), mode="constant"
            )
            for x in batch
        )
        large = [ops.convert_to_numpy(enlarged(x, size)) for x in smooth]
        yield rows, np.concatenate(large, axis=-1)


def moments(batches: Iterable[np.ndarray]) -> tuple[int, np.ndarray, np.ndarray]:
    """Returns number, sum and sum of outer products of places, batches of (rows, c)."""
    return sum_of(
        (len(places), places.sum(axis=0, dtype="float64"), places.T @ places)
        for places in batches
    )


def sum_of(found: Iterable[tuple]) -> tuple:
    """Returns the sums of numbers, sums and sums of outer products, in 64 bits."""
    # One by one: outer products of all batches would fill the memory.
    count, total, products = 0, 0.0, np.float64(0.0)
    for own in found:
        count, total, products = count + own[0], total + own[1], products + own[2]
    return count, total, products


def covariance(
    count: int, total: np.ndarray, products: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and covariance from what `moments` returns."""
    mean = total / count
    return mean, products / count - np.outer(mean, mean)


def _some_places(
    maps: Maps, unlike: np.ndarray, standing_out: list[np.ndarray]
) -> Iterator[np.ndarray]:
    """Yields places of the joined maps, (rows, c), evenly spread.

    What stands out in the first `MOST_IMAGES` images joins the list meanwhile.
    """
    height, width = max(each.shape[1:3] for each in maps)
    step = max(1, len(maps[0]) * height * width // _MOST_PLACES)
    # So that all columns are among them.
    while step > 1 and math.gcd(step, width) > 1:
        step += 1
    for rows, joined in _joined(maps):
        if rows.start < MOST_IMAGES:
            standing_out.append(_most_unlike(joined, unlike[rows], _OF_MAJORITY))
        yield joined.reshape(-1, joined.shape[-1])[::step]


def _most_unlike(joined: np.ndarray, unlike: np.ndarray, count: int) -> np.ndarray:
    """Returns the mean of each image's places most unlike the majority, (n, c)."""
    most = np.argsort(-unlike, axis=1)[:, :count, None]
    places = joined.reshape(len(joined), -1, joined.shape[-1])
    return np.take_along_axis(places, most, axis=1).mean(axis=1)
