"""What images and labels must be, whatever holds them."""

import hashlib
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from egan_keras.data.images import Rows
from egan_keras.data.lazy import LazyRows, as_lazy, in_batches, work_ahead
from egan_keras.data.splits import MAJORITY, MINORITY
from egan_keras.text import first_few

# None is a side that is not known.
Shape = tuple[int | None, ...]

_ROWS_CHECKED_AT_ONCE = 1024
_ROWS_LOOKED_AT = 64
# What the shades of 12-bit images become where they are divided as if they had 16.
_VERY_DARK = 16
# Of Python, NumPy and pandas.
_MISSING_LABELS = {"None", "nan", "<NA>", "NaT"}
_HARDLY_A_DOUBT = 1e-3
_ROWS_HASHED_AT_ONCE = 256
# Hashing lets other threads work, but to start these takes as long as a megabyte.
_BYTES_FOR_THREADS = 4_000_000
_ROWS_OF_A_THREAD = 16


def as_array(images: Any) -> np.ndarray:
    """Return images as one array, or say what to do with what is none."""
    images = _on_host(images)
    is_array = hasattr(images, "__array__") and not hasattr(images, "columns")
    if not is_array and not isinstance(images, list | tuple):
        raise _no_image(images, named(images))
    try:
        array = np.asarray(images)
    except ValueError:  # images of different shapes
        array = None
    if array is not None and array.dtype.kind not in "OUS":
        return array
    items = [images] if array is not None and not array.ndim else list(images)
    for item in items:
        if isinstance(item, str | os.PathLike | bytes) or not _shape(item):
            raise _no_image(item, f"a list of {len(items)}, in it {named(item)}")
    shapes = sorted({_shape(item) for item in items}, key=str)
    if len(shapes) == 1:
        return np.stack([np.asarray(item) for item in items])
    advice = "Resize them to one size; `load_folder` does with `image_size`."
    if len(items) == 2 and len(_shape(items[1])) == 1:
        advice = "Pass images and labels apart: model.fit(images, labels)."
    raise ValueError(
        "Images must all have the same shape. Received: images of shapes "
        f"{first_few(shapes)}. {advice}"
    )


def check_images(images: Any, *, image_shape: Shape | None = None) -> Rows:
    """Check images and return them as an array, uncopied if they are one.

    Those that are read when asked for stay so: `ImageFiles`, and arrays mapped from a
    file (`numpy.load(file, mmap_mode="r")`), whose numbers are checked part by part.
    A warning tells of pixels that all lie in 0..1, or far below 255.

    Args:
        images: RGB pixels in 0..255, of shape (n, height, width, 3): an array, a
            tensor of any backend, or a list of images.
        image_shape: the (height, width, 3) expected; None, as a whole or for a side,
            accepts any. With (d,), rows of d finite features are expected in place of
            images, and returned as float32 (n, d).

    Raises:
        ValueError: if the images are none, of another shape than expected or than each
            other, not numbers, NaN or infinite, or outside 0..255.

    >>> check_images(np.zeros((2, 8, 8, 3), np.uint8)).shape
    (2, 8, 8, 3)
    """
    return PixelCheck(image_shape).whole(images)


class PixelCheck:
    """Checks images that come batch by batch, and tells of all of them once.

    Counted are the images seen, and those `blank`: of one colour all over.
    """

    def __init__(self, image_shape: Shape | None = None) -> None:
        self._image_shape = image_shape
        self._are_features = image_shape is not None and len(image_shape) == 1
        self._is_warned = False
        self.count = self.blank = 0

    def __call__(self, images: Any) -> np.ndarray:
        """Returns a batch of images as `check_images` does, warning of the first."""
        images = np.asarray(images) if self._are_features else as_array(images)
        check_shape(images.shape, self._image_shape)
        self.count += len(images)
        if self._are_features:
            return _finite(images)
        low, high = _pixel_range(images)
        is_fraction = 0 < high <= 1 and images.dtype.kind == "f"
        if not self._is_warned and (low < high <= _VERY_DARK or is_fraction):
            self._is_warned = True
            advice = "multiply by 255" if high <= 1 else "look at how they were read"
            warnings.warn(
                f"All pixels lie in 0..{max(1, high):g}, expected 0..255; {advice}. "
                f"Received: images with minimum {low} and maximum {high}.",
                stacklevel=3,
            )
        if images.dtype.kind in "iu":
            images = images.astype(np.uint8, copy=False)
        self.blank += _count_blank(images)
        return images

    def whole(self, images: Any) -> Rows:
        """Returns all images at once, of which lazy ones stay so."""
        images = as_lazy(images)
        if not isinstance(images, LazyRows):
            return self(images)
        check_shape(images.shape, self._image_shape)
        if self._are_features and images.dtype != np.float32:
            return self(images)
        if images.dtype != np.uint8:
            for batch in in_batches(images, _ROWS_CHECKED_AT_ONCE):
                self(batch)
        return images

    def tell_of_blank(self, *, refuse: bool = True) -> None:
        """Tells of images of one colour, once all images have been seen.

        With `refuse`, several that all are blank are an error; else that is all that is
        warned of.
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


def check_shape(shape: Shape, expected: Shape | None) -> None:
    """Refuse a shape, None for what is unknown, that is none of images or another."""
    if expected is not None and len(expected) == 1:
        if len(shape) == 2 and 0 not in shape and shape[1] == expected[0]:
            return
        raise ValueError(
            f"Features must have the shape (n, {expected[0]}), one row for each image. "
            f"Received: features of shape {shape}. Compute them anew."
        )
    if 0 in shape:
        raise ValueError(
            "There are no images; expected at least one. Received: "
            f"images.shape={shape}. Check where they come from."
        )
    size, advice = "height, width, 3", _shape_advice(shape)
    if len(shape) == 4 and shape[3] in (3, None):
        pairs = zip(shape[1:], expected or shape[1:], strict=True)
        if all(None in pair or pair[0] == pair[1] for pair in pairs):
            return
        size = ", ".join(map(str, expected))
        advice = "Resize the images, or use a model built with their image_shape."
    raise ValueError(
        f"Images must have the shape (n, {size}). Received: images.shape={shape}. "
        f"{advice}"
    )


def check_labels(labels: Any, n_images: int) -> np.ndarray:
    """Check labels and return them as int32 (n,): 0 = majority, 1 = minority.

    They are integers, floats or booleans of shape (n,) or (n, 1): an array, a list, a
    tensor, or a column of a table. Anything else is a `ValueError`.
    """
    labels = as_column(labels)
    if len(labels) != n_images:
        raise ValueError(
            f"There must be one label for each of the {n_images} images. Received: "
            f"{len(labels)} labels. Pass labels and images of equal length."
        )
    if labels.dtype.kind in "biuf":
        valid = (labels == 0) | (labels == 1)
    else:
        numbers = (int, float, np.floating, np.integer, np.bool_)
        valid = np.array([isinstance(x, numbers) and x in (0, 1) for x in labels], bool)
    if not valid.all():
        wrong = sorted({str(label) for label in labels[~valid]})
        advice = "Translate the labels, for example np.where(labels == minority, 1, 0)."
        if not _MISSING_LABELS.isdisjoint(wrong):
            advice = "Leave out the images without a label."
        elif set(wrong) <= {"0", "1"}:
            advice = "They are text; make numbers: np.asarray(labels).astype(int)."
        raise ValueError(
            "Labels must be 0 (majority) or 1 (minority). Received: labels "
            f"containing {first_few(wrong)}. {advice}"
        )
    return labels.astype(np.int32, copy=False)


def as_column(labels: Any) -> np.ndarray:
    """Return labels as an array (n,), or say what to do with what is none."""
    try:
        array = np.asarray(_on_host(labels))
    except ValueError:  # lists of different lengths
        array = np.empty(())
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 1:
        return array
    what, received = "Labels must be an array or a list", f"labels={named(labels)}"
    advice = "Pass [0, 0, 1]; read what is in a file first, make a list of a generator."
    if labels is None:
        what, advice = "The images have no labels", "Pass the labels as well."
    elif array.ndim:
        what, received = "Labels have a wrong shape", f"labels.shape={array.shape}"
        advice = (
            'Take one column of one-hot labels, or load them with label_mode="int".'
        )
    raise ValueError(
        f"{what}; expected 0 (majority) or 1 (minority) for each image, of shape (n,) "
        f"or (n, 1). Received: {received}. {advice}"
    )


def check_both_classes(labels: np.ndarray) -> None:
    """Refuse labels (n,) in which one of the two classes, 0 and 1, does not occur."""
    n_minority = int(np.count_nonzero(labels))
    n_majority = len(labels) - n_minority
    if not (n_majority and n_minority):
        name, label = ("minority", 1) if n_majority else ("majority", 0)
        raise ValueError(
            f"There is no {name} image (label {label}); expected both classes. "
            f"Received: {n_majority} majority and {n_minority} minority images. Add "
            "the missing class or check the labels."
        )


def warn_if_reversed(scores: np.ndarray, labels: np.ndarray) -> None:
    """Warn if a rank test leaves hardly a doubt that label 1 has the higher scores."""
    minority, majority = scores[labels == MINORITY], scores[labels == MAJORITY]
    if not (len(minority) and len(majority) and np.isfinite(scores).all()):
        return
    from scipy.stats import mannwhitneyu  # slow to import, and rarely needed

    test = mannwhitneyu(minority, majority, alternative="greater", method="asymptotic")
    if test.pvalue < _HARDLY_A_DOUBT:
        auroc = 1 - test.statistic / (len(minority) * len(majority))
        warnings.warn(
            "The images labelled minority score higher than the others, the opposite "
            f"of what scores mean; expected low scores for label 1. Received: AUROC "
            f"{auroc:.3f}. Check that label 1 is the rare class, in training and here; "
            "1 - labels exchanges the two.",
            stacklevel=3,
        )


def row_hashes(rows: Rows) -> np.ndarray:
    """Returns a number for each row, uint64 (n,); only equal rows have the same.

    An image has one number whether its pixels come as bytes, as floats or from a file.
    Two different rows among 100,000 share one with a probability of 3e-10.

    >>> pixels = np.arange(24).reshape(2, 2, 2, 3)
    >>> first, second = row_hashes(pixels.astype("uint8"))
    >>> np.array_equal(row_hashes(pixels.astype("float64")), [first, second])
    True
    """
    digests = []
    for batch in in_batches(rows, _ROWS_HASHED_AT_ONCE):
        run = map if batch.nbytes < _BYTES_FOR_THREADS else work_ahead
        digests += run(_digests, in_batches(batch, _ROWS_OF_A_THREAD))
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def check_not_all_the_same(hashes: np.ndarray) -> None:
    """Refuse several images that are all one and the same, by their `row_hashes`."""
    if len(hashes) > 1 and (hashes == hashes[0]).all():
        raise ValueError(
            "All images are one and the same; expected different ones. Received: "
            f"{len(hashes)} images with the same pixels. Look at how they are read."
        )


def named(value: Any) -> str:
    """Return what a value is, in words short enough for a message."""
    if isinstance(value, str | os.PathLike):
        return f"the text or path {str(value)[:80]!r}"
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if hasattr(value, "columns"):
        return f"a table with the columns {', '.join(map(str, value.columns))[:200]}"
    if isinstance(value, dict):
        return f"a dict with the keys {', '.join(map(str, value))[:200]}"
    return f"an object of type {type(value).__name__}"


def _no_image(value: Any, received: str) -> ValueError:
    """Return the error that says what to do with what is no image."""
    advice = "Convert it to an array."
    if isinstance(value, str | os.PathLike | bytes):
        advice = (
            "Read the files: ek.read_images(paths), or ek.ImageFiles(paths, "
            "image_size=96), which decodes them when they are needed; ek.load_folder "
            "reads class folders."
        )
    elif hasattr(value, "columns"):
        advice = (
            "Pass its columns: the files as ek.ImageFiles(table['path'], "
            "image_size=96), the labels as table['label'] == 'the rare class'."
        )
    elif isinstance(value, dict):
        advice = "Pass the images alone: x['image']."
    elif hasattr(value, "images") and hasattr(value, "labels"):
        advice = "Pass what it holds: train.images, train.labels."
    elif isinstance(value, Iterator):
        advice = "Make an array of it, such as np.stack(list(images))."
    elif value is None:
        advice = "Look where the missing ones come from, and leave them out."
    return ValueError(
        f"Images must be an array or a tf.data.Dataset. Received: {received}. {advice}"
    )


def _on_host(tensor: Any) -> Any:
    """Return a tensor of PyTorch's as NumPy can read it, anything else as it is."""
    return tensor.detach().cpu() if hasattr(tensor, "detach") else tensor


def _shape(item: Any) -> tuple[int, ...]:
    try:
        return np.shape(item)
    except ValueError:  # lists of different lengths
        return (len(item),)


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
    if low >= 0 and high <= 255:
        return low, high
    what = "negative pixels" if low < 0 else "pixels above 255"
    advice = "Undo any normalisation: the network scales by itself."
    if not np.isfinite([low, high]).all():
        what, advice = "NaN or infinite pixels", "Remove or repair these images."
    raise ValueError(
        f"Images hold {what}; expected RGB pixels in 0..255. Received: images with "
        f"minimum {low} and maximum {high}. {advice}"
    )


def _count_blank(images: np.ndarray) -> int:
    """Return how many images are of one colour all over."""
    first = images[:, :1, :1]
    steps = (max(1, side // 4) for side in images.shape[1:3])
    some = images[:, *(slice(None, None, step) for step in steps)]
    suspects = np.flatnonzero((some == first).all(axis=(1, 2, 3)))
    return sum(bool((images[i] == first[i]).all()) for i in suspects)


def _finite(features: np.ndarray) -> np.ndarray:
    """Return features as float32, or refuse them."""
    if features.dtype.kind not in "iuf" or not np.isfinite(features).all():
        raise ValueError(
            f"Features must be finite numbers. Received: dtype {features.dtype}, or "
            "some not finite. Remove or repair these rows."
        )
    return features.astype(np.float32, copy=False)


def _shape_advice(shape: Shape) -> str:
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


def _digests(rows: np.ndarray) -> bytes:
    """Hash each row in bytes if it holds whole numbers 0..255, else in float32."""
    if rows.dtype == np.uint8:
        plain = np.ascontiguousarray(rows)
    else:
        floats = np.ascontiguousarray(rows, np.float32)
        with np.errstate(invalid="ignore"):
            pixels = floats.astype(np.uint8)
        are_whole = (pixels == floats).all(axis=tuple(range(1, rows.ndim)))
        plain = (pixels[i] if are_whole[i] else floats[i] for i in range(len(rows)))
    return b"".join(hashlib.sha256(row).digest()[:8] for row in plain)
