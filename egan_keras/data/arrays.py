"""Images as one array, whatever holds them; and what to do with what is none."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from egan_keras.text import first_few

_FILES_ADVICE = (
    "Read the files: ek.read_images(paths), or ek.ImageFiles(paths, image_size=96), "
    "which decodes them when they are needed; ek.load_folder reads class folders."
)


def as_array(images: Any) -> np.ndarray:
    """Return images as one array, or say what to do with what is none.

    Args:
        images: an array, a tensor of any backend, or a list of images.

    Raises:
        ValueError: if they are something else, or of different shapes.
    """
    images = on_host(images)
    is_array = hasattr(images, "__array__") and not hasattr(images, "columns")
    if not is_array and not isinstance(images, list | tuple):
        raise ValueError(
            f"Images must be an array or a tf.data.Dataset. Received: {named(images)}. "
            f"{_advice(images)}"
        )
    try:
        array = np.asarray(images)
    except ValueError:  # images of different shapes
        array = None
    if array is not None and array.dtype.kind not in "OUS":
        return array
    items = [images] if array is not None and not array.ndim else list(images)
    _refuse_what_is_no_image(items)
    shapes = sorted({_shape(item) for item in items}, key=str)
    if len(shapes) == 1:
        return np.stack([np.asarray(item) for item in items])
    are_images_and_labels = len(items) == 2 and len(_shape(items[1])) == 1
    raise ValueError(
        "Images must all have the same shape. Received: images of shapes "
        f"{first_few(shapes)}. "
        + (
            "Pass images and labels apart: model.fit(images, labels)."
            if are_images_and_labels
            else "Resize them to one size first; `read_images` and `load_folder` do "
            "with `image_size`."
        )
    )


def on_host(tensor: Any) -> Any:
    """Return a tensor of PyTorch's as NumPy can read it, anything else as it is."""
    return tensor.detach().cpu() if hasattr(tensor, "detach") else tensor


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


def _refuse_what_is_no_image(items: list) -> None:
    for item in items:
        if isinstance(item, str | os.PathLike | bytes) or not _shape(item):
            raise ValueError(
                "Images must be an array or a tf.data.Dataset. Received: a list of "
                f"{len(items)}, in it {named(item)}. {_advice(item)}"
            )


def _shape(item: Any) -> tuple[int, ...]:
    try:
        return np.shape(item)
    except ValueError:  # lists of different lengths
        return (len(item),)


def _advice(value: Any) -> str:
    """Say what to do with what is no image."""
    if isinstance(value, str | os.PathLike | bytes):
        return _FILES_ADVICE
    if hasattr(value, "columns"):
        return (
            "Pass its columns: the files as ek.ImageFiles(table['path'], "
            "image_size=96), the labels as table['label'] == 'the rare class'."
        )
    if isinstance(value, dict):
        return "Pass the images alone: x['image']."
    if hasattr(value, "images") and hasattr(value, "labels"):
        return "Pass what it holds: train.images, train.labels."
    if isinstance(value, Iterator):
        return "Make an array of it, such as np.stack(list(images))."
    if value is None:
        return "Look where the missing ones come from, and leave them out."
    return "Convert it to an array."
