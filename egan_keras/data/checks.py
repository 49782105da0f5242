"""Checks of images and labels that come as arrays."""

import warnings
from typing import Any

import numpy as np

from egan_keras.data.lazy import LazyRows, as_lazy, in_batches

_ROWS_CHECKED_AT_ONCE = 1024
_ONE_HOT_ADVICE = (
    "Take the column of the minority of one-hot labels, or load the images with "
    'label_mode="int" or "binary".'
)


def check_images(
    images: Any, *, image_shape: tuple[int | None, ...] | None = None
) -> np.ndarray | LazyRows:
    """Check images and return them as an array, uncopied if they are one.

    Those that are read when asked for stay so: `ImageFiles`, and arrays mapped from a
    file (`numpy.load(file, mmap_mode="r")`), whose numbers are checked part by part.

    Args:
        images: RGB pixels in 0..255, uint8 or float, of shape (n, height, width, 3).
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
        UserWarning: if float pixels all lie in 0..1.

    >>> check_images(np.zeros((2, 8, 8, 3), np.uint8)).shape
    (2, 8, 8, 3)
    """
    images = as_lazy(images)
    if isinstance(images, LazyRows):
        return _check_lazy(images, image_shape)
    if image_shape is not None and len(image_shape) == 1:
        return check_rows(images, image_shape[0])
    images = _as_array(images)
    _check_shape(images.shape, image_shape)
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind not in "iuf":
        raise ValueError(
            "Images must be uint8 or float pixels in 0..255. Received: "
            f"images.dtype={images.dtype}. Convert them to uint8."
        )
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
    if images.dtype.kind in "iu":
        return images.astype(np.uint8)
    if 0 < high <= 1:
        warnings.warn(
            "All pixels lie in 0..1, expected 0..255; multiply by 255. Received: "
            f"images with minimum {low} and maximum {high}.",
            stacklevel=2,
        )
    return images


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


def _check_lazy(
    images: LazyRows, image_shape: tuple[int | None, ...] | None
) -> LazyRows:
    """Check images or rows of features without having them all in memory."""
    if image_shape is not None and len(image_shape) == 1:
        check_rows(images[:1], image_shape[0])
        if images.dtype != np.float32:
            return check_rows(images, image_shape[0])
    else:
        _check_shape(images.shape, image_shape)
    if images.dtype != np.uint8:
        for batch in in_batches(images, _ROWS_CHECKED_AT_ONCE):
            check_images(batch, image_shape=image_shape)
    return images


def check_labels(labels: Any, n_images: int) -> np.ndarray:
    """Check labels and return them as int32 (n,): 0 = majority, 1 = minority.

    Args:
        labels: 0 or 1 as integers, floats or booleans, of shape (n,) or (n, 1).
        n_images: the number n of images that the labels belong to.

    Raises:
        ValueError: if a label is missing, NaN or neither 0 nor 1, or if their number
            or shape is another.

    >>> check_labels([[0.0], [1.0]], 2)
    array([0, 1], dtype=int32)
    """
    if labels is None:
        raise ValueError(
            "The images have no labels; expected 0 (majority) or 1 (minority) for "
            "each image. Received: labels=None. Pass the labels as well."
        )
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(
            "Labels must have the shape (n,) or (n, 1), one 0 or 1 for each image. "
            f"Received: labels.shape={labels.shape}. {_ONE_HOT_ADVICE}"
        )
    if len(labels) != n_images:
        raise ValueError(
            f"There must be one label for each of the {n_images} images. Received: "
            f"{len(labels)} labels. Pass labels and images of equal length."
        )
    valid = labels == 0
    if labels.dtype.kind in "biuf":
        valid = valid | (labels == 1)
    if not np.all(valid):
        wrong = sorted({str(value) for value in np.unique(labels[~valid])})
        raise ValueError(
            "Labels must be 0 (majority) or 1 (minority). Received: labels "
            f"containing {', '.join(wrong[:5])}{', ...' if len(wrong) > 5 else ''}. "
            "Translate the labels, for example np.where(labels == minority, 1, 0)."
        )
    return labels.astype(np.int32, copy=False)


def check_both_classes(labels: np.ndarray) -> None:
    """Refuse labels in which one of the two classes does not occur.

    Args:
        labels: 0 (majority) or 1 (minority), of shape (n,).

    Raises:
        ValueError: if only one class occurs.
    """
    n_minority = int(np.count_nonzero(labels))
    n_majority = len(labels) - n_minority
    if n_majority and n_minority:
        return
    missing = "majority image (label 0)" if n_minority else "minority image (label 1)"
    raise ValueError(
        f"There is no {missing}; expected images of both classes. Received: "
        f"{n_majority} majority and {n_minority} minority images. Add the missing "
        "class or check the labels."
    )


def _as_array(images: Any) -> np.ndarray:
    """Return images as one array; refuse those of different shapes."""
    try:
        array = np.asarray(images)
    except ValueError:
        array = None
    if array is None or array.dtype == object:
        shapes = sorted({np.shape(image) for image in images}, key=str)
        raise ValueError(
            "Images must all have the same shape. Received: images of shapes "
            f"{', '.join(map(str, shapes[:5]))}{', ...' if len(shapes) > 5 else ''}. "
            "Resize them to one size first; `read_images` and `load_folder` do with "
            "`image_size`."
        )
    return array


def _check_shape(
    shape: tuple[int, ...], expected: tuple[int | None, ...] | None
) -> None:
    """Refuse what is not (n, height, width, 3) or not of the expected shape."""
    if 0 in shape:
        raise ValueError(
            "There are no images; expected at least one. Received: "
            f"images.shape={shape}. Check where they come from."
        )
    if len(shape) != 4 or shape[3] != 3:
        raise ValueError(
            "Images must have the shape (n, height, width, 3). Received: "
            f"images.shape={shape}. {_shape_advice(shape)}"
        )
    if expected is None:
        return
    if any(
        side not in (None, own) for own, side in zip(shape[1:], expected, strict=True)
    ):
        raise ValueError(
            f"Images must have the shape (n, {', '.join(map(str, expected))}). "
            f"Received: images.shape={shape}. Resize the images, or use a model "
            f"built with image_shape={shape[1:]}."
        )


def _shape_advice(shape: tuple[int, ...]) -> str:
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
