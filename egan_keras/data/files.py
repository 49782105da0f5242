"""Image files as an array of images that are decoded when asked for."""

import os
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from egan_keras.data.contents import content_hashes
from egan_keras.data.decoding import check_gray_range
from egan_keras.data.depths import check_depths, deep_among
from egan_keras.data.images import ImageSize, check_image_size, decode_batch
from egan_keras.data.lazy import LazyRows

_CHUNK = 32


class ImageFiles(LazyRows):
    """Images in files, uint8 (n, height, width, 3), decoded when they are read.

    It stands where an array of images may stand, in `fit`, `calibrate`, `evaluate` and
    `predict` too, and keeps no image. How images become RGB pixels of one size is
    told in `read_images`.

    Args:
        paths: the image files.
        image_size: the height and width, as one int or (height, width), to which
            every image is stretched.
        gray_range: as for `read_images`.

    Raises:
        ValueError: if `image_size` is not one or two positive ints, or `paths` are no
            paths; on reading, for the files that `read_images` refuses.

    >>> images = ImageFiles(["a.png", "b.png"], 96)
    >>> images.shape
    (2, 96, 96, 3)
    """

    def __init__(
        self,
        paths: Sequence[str | PathLike[str]],
        image_size: ImageSize,
        gray_range: Sequence[float] | None = None,
        *,
        _depths_are_checked: bool = False,
    ) -> None:
        size = check_image_size(image_size)
        paths = _checked(paths)
        if size is None:
            raise ValueError(
                "Files that are not opened yet have no size of their own; expected "
                "`image_size`. Received: image_size=None. Pass, for example, 96."
            )
        # A str takes a third of the memory of a Path.
        self._paths = [os.fspath(path) for path in paths]
        self._size = size
        self._gray_range = check_gray_range(gray_range)
        self._depths_are_checked = _depths_are_checked
        self.shape = (len(self._paths), *size, 3)
        self.dtype = np.dtype(np.uint8)

    def select(self, rows: np.ndarray) -> "ImageFiles":
        """Return some of the images, unread."""
        return ImageFiles(
            [self._paths[row] for row in rows],
            self._size,
            self._gray_range,
            _depths_are_checked=self._depths_are_checked,
        )

    def check(self) -> None:
        """Decode every image once, keeping none.

        Raises:
            ValueError: if a file cannot be read.
        """
        for _ in self.batches(_CHUNK):
            pass

    def identity(self) -> Iterator[bytes]:
        """Yield a hash of each file's contents; its name and place do not count."""
        yield repr((self.shape, self._gray_range)).encode()
        for mark in content_hashes(self._paths):
            yield str(mark).encode()

    def _read(self, rows: np.ndarray) -> np.ndarray:
        if not self._depths_are_checked:
            check_depths({"": deep_among(self._paths)}, self._gray_range)
            self._depths_are_checked = True
        paths = [Path(self._paths[row]) for row in rows]
        return decode_batch(paths, self._size, self._gray_range)[0]


def _checked(paths: Sequence[str | PathLike[str]]) -> list[str | PathLike[str]]:
    """Refuse what is not several paths, such as one alone."""
    is_one = isinstance(paths, str | PathLike | bytes)
    several = [] if is_one or not isinstance(paths, Iterable) else list(paths)
    wrong = [path for path in several if not isinstance(path, str | PathLike)]
    if is_one or not isinstance(paths, Iterable) or wrong:
        raise ValueError(
            "The images must be a list of paths of files. Received: "
            f"paths={(wrong or [paths])[0]!r}. Pass [path] for one file, the column of "
            "a table, or ek.data.find_images(folder) for all files below a folder."
        )
    return several
