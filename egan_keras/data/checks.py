"""Checks of images: the one place that all pixels pass on their way in."""

import warnings
from typing import Any

import numpy as np

from egan_keras.data.arrays import as_array
from egan_keras.data.lazy import LazyRows, as_lazy, in_batches

_ROWS_CHECKED_AT_ONCE = 1024
_ROWS_LOOKED_AT = 64
# What the shades of 12-bit images become where they are divided as if they had 16.
_VERY_DARK = 16


class PixelCheck:
    """Checks images that come batch by batch, and tells of all of them once.

    Args:
        image_shape: as for `check_images`.

    Attributes:
        count: images seen so far.
        blank: how many of them are of one colour all over.
    """

    def __init__(self, image_shape: tuple[int | None, ...] | None = None) -> None:
        self._image_shape = image_shape
        self._is_warned = False
        self.count = self.blank = 0

    def __call__(self, images: Any) -> np.ndarray:
        """Returns a batch of images as `check_images` does.

        Raises:
            ValueError: as `check_images` does.

        Warns:
            UserWarning: for the first batch whose pixels all lie in 0..1, or far below
                255.
        """
        if self._image_shape is not None and len(self._image_shape) == 1:
            rows = check_rows(images, self._image_shape[0])
            self.count += len(rows)
            return rows
        images = as_array(images)
        check_shape(images.shape, self._image_shape)
        low, high = _pixel_range(images)
        if low < high <= _VERY_DARK or (0 < high <= 1 and images.dtype.kind == "f"):
            self._warn(low, high)
        if images.dtype.kind in "iu":
            images = images.astype(np.uint8, copy=False)
        self.count += len(images)
        self.blank += _count_blank(images)
        return images

    def whole(self, images: Any) -> np.ndarray | LazyRows:
        """Returns all images at once, of which lazy ones stay so."""
        images = as_lazy(images)
        if not isinstance(images, LazyRows):
            return self(images)
        if self._image_shape is not None and len(self._image_shape) == 1:
            check_rows(images[:1], self._image_shape[0])
            if images.dtype != np.float32:
                return check_rows(images, self._image_shape[0])
        else:
            check_shape(images.shape, self._image_shape)
        if images.dtype != np.uint8:
            for batch in in_batches(images, _ROWS_CHECKED_AT_ONCE):
                self(batch)
        return images

    def _warn(self, low: float, high: float) -> None:
        if self._is_warned:
            return
        self._is_warned = True
        advice = "multiply by 255" if high <= 1 else "look at how they were read"
        warnings.warn(
            f"All pixels lie in 0..{max(1, high):g}, expected 0..255; {advice}. "
            f"Received: images with minimum {low} and maximum {high}.",
            stacklevel=3,
        )

    def tell_of_blank(self, *, refuse: bool = True) -> None:
        """Tells of images of one colour, once all images have been seen.

        Args:
            refuse: whether it is an error if all of several images are; else that is
                all that is told of.

        Raises:
            ValueError: if they are.

        Warns:
            UserWarning: if some are, or all and that is no error.
        """
        if not self.blank or self.count == 1:
            return
        text = (
            f"{self.blank} of {self.count} images are of one colour all over; expected "
            "images that show something. Received: images whose pixels are all equal. "
            "Look at them, and at how they were read."
        )
        if refuse and self.blank == self.count:
            raise ValueError(text)
        if refuse or self.blank == self.count:
            warnings.warn(text, stacklevel=3)


def check_images(
    images: Any, *, image_shape: tuple[int | None, ...] | None = None
) -> np.ndarray | LazyRows:
    """Check images and return them as an array, uncopied if they are one.

    Those that are read when asked for stay so: `ImageFiles`, and arrays mapped from a
    file (`numpy.load(file, mmap_mode="r")`), whose numbers are checked part by part.

    Args:
        images: RGB pixels in 0..255, uint8 or float, of shape (n, height, width, 3):
            an array, a tensor of any backend, or a list of images.
            Other integer types are returned as uint8.
        image_shape: the (height, width, 3) expected; None, as a whole or for a side,
            accepts any. With (d,), rows of d features are expected in place of images,
            see `check_rows`.

    Returns:
        The images, uint8 or of their own float type, (n, height, width, 3).

    Raises:
        ValueError: if the images are none, of different shapes, of another shape
            than expected, not numbers, NaN or infinite, or outside 0..255.

    Warns:
        UserWarning: if the pixels all lie in 0..1, or far below 255.

    >>> check_images(np.zeros((2, 8, 8, 3), np.uint8)).shape
    (2, 8, 8, 3)
    """
    return PixelCheck(image_shape).whole(images)


def check_rows(rows: Any, size: int) -> np.ndarray:
    """Check rows of features and return them as float32 (n, size).

    Args:
        rows: finite numbers of shape (n, size).
        size: the number of features expected.

    Raises:
        ValueError: if they are none, of another shape, not numbers, or not finite.

    >>> check_rows([[1, 2], [3, 4]], 2).dtype
    dtype('float32')
    """
    rows = np.asarray(rows)
    if rows.ndim != 2 or rows.shape[1] != size or not len(rows):
        raise ValueError(
            f"Features must have the shape (n, {size}), one row for each image. "
            f"Received: features of shape {rows.shape}. Compute them with the network "
            "that the model was built for."
        )
    if rows.dtype.kind not in "iuf" or not np.isfinite(rows).all():
        raise ValueError(
            "Features must be finite numbers. Received: features of dtype "
            f"{rows.dtype}{'' if rows.dtype.kind not in 'iuf' else ', some not finite'}"
            ". Remove or repair these rows."
        )
    return rows.astype(np.float32, copy=False)


def _pixel_range(images: np.ndarray) -> tuple[float, float]:
    """Return the smallest and largest pixel; refuse what pixels cannot be.

    Of bytes it may be (0, 255), where a look at some tells that they are not dark.
    """
    if images.dtype.kind not in "iuf":
        raise ValueError(
            "Images must be uint8 or float pixels in 0..255. Received: "
            f"images.dtype={images.dtype}. Convert them to uint8."
        )
    if images.dtype == np.uint8 and images[:_ROWS_LOOKED_AT].max() > _VERY_DARK:
        return 0, 255
    low, high = images.min(), images.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(
            "Images hold NaN or infinite pixels; expected RGB pixels in 0..255. "
            f"Received: images with minimum {low} and maximum {high}. Remove or "
            "repair these images."
        )
    if low < 0 or high > 255:
        raise ValueError(
            f"Images hold {'negative pixels' if low < 0 else 'pixels above 255'}; "
            f"expected RGB pixels in 0..255. Received: images with minimum {low} and "
            f"maximum {high}. Undo any normalisation: the network scales by itself."
        )
    return low, high


def _count_blank(images: np.ndarray) -> int:
    """Return how many images are of one colour all over."""
    first = images[:, :1, :1]
    steps = (max(1, side // 4) for side in images.shape[1:3])
    some = images[:, *(slice(None, None, step) for step in steps)]
    suspects = np.flatnonzero((some == first).all(axis=(1, 2, 3)))
    return sum(bool((images[i] == first[i]).all()) for i in suspects)


def check_shape(
    shape: tuple[int | None, ...], expected: tuple[int | None, ...] | None
) -> None:
    """Refuse what is not (n, height, width, 3) or not of the expected shape.

    Args:
        shape: of the images; None for what is not known.
        expected: the (height, width, 3) expected, as for `check_images`, or None.

    Raises:
        ValueError: if it is another.
    """
    if 0 in shape:
        raise ValueError(
            "There are no images; expected at least one. Received: "
            f"images.shape={shape}. Check where they come from."
        )
    if len(shape) != 4 or shape[3] not in (3, None):
        raise ValueError(
            "Images must have the shape (n, height, width, 3). Received: "
            f"images.shape={shape}. {_shape_advice(shape)}"
        )
    if expected is None:
        return
    if any(
        None not in (side, own) and side != own
        for own, side in zip(shape[1:], expected, strict=True)
    ):
        raise ValueError(
            f"Images must have the shape (n, {', '.join(map(str, expected))}). "
            f"Received: images.shape={shape}. Resize the images, or use a model "
            f"built with image_shape={shape[1:]}."
        )


def _shape_advice(shape: tuple[int | None, ...]) -> str:
    """Say what to do with images of a wrong shape."""
    if len(shape) == 4 and shape[3] == 1:
        return "Repeat the gray channel: np.repeat(images, 3, axis=-1)."
    if len(shape) == 4 and shape[3] == 4:
        return "Leave out the alpha channel: images[..., :3]."
    if len(shape) == 4 and shape[1] == 3:
        return "Move the channels last: np.moveaxis(images, 1, -1)."
    if len(shape) == 3 and shape[2] == 3:
        return "Pass a single image as a batch of one: images[None]."
    if len(shape) == 3:
        return "Make grayscale images RGB: np.repeat(images[..., None], 3, axis=-1)."
    return "Stack RGB images: np.stack(list_of_images)."
