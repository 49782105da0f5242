"""Checked batches of images and labels, from arrays or from datasets."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from egan_keras.data import sources
from egan_keras.data.arrays import as_array, named
from egan_keras.data.checks import PixelCheck
from egan_keras.data.labels import check_labels
from egan_keras.data.lazy import LazyRows, in_batches

Batch = tuple[np.ndarray, np.ndarray]


class ArrayBatches:
    """Batches of arrays; iterate over it as often as needed.

    Attributes:
        n_batches: number of batches, the last one may be smaller.
        images: all images, (n, height, width, 3), an array or lazy.
        labels: all labels, int32 (n,).
    """

    def __init__(
        self, images: np.ndarray | LazyRows, labels: np.ndarray, batch_size: int
    ) -> None:
        """Take checked arrays."""
        self.images = images
        self.labels: np.ndarray | None = labels
        self._batch_size = batch_size
        self.n_batches: int | None = -(-len(images) // batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Yield images, (batch, height, width, 3), and int32 labels, (batch,)."""
        start = 0
        for images in in_batches(self.images, self._batch_size):
            yield images, self.labels[start : start + len(images)]
            start += len(images)


class DatasetBatches:
    """Batches of a dataset; iterate over it as often as needed.

    Attributes:
        n_batches: number of batches, None if the dataset does not know.
        labels: None, since only the batches know them.
    """

    labels: np.ndarray | None = None

    def __init__(
        self, dataset: Any, image_shape: tuple[int, int, int] | None = None
    ) -> None:
        """Take what `sources.labelled_batches` returns."""
        self._image_shape = image_shape
        self._dataset = dataset
        self.n_batches: int | None = sources.n_batches(dataset)

    def __iter__(self) -> Iterator[Batch]:
        """Yield images, (batch, height, width, 3), and int32 labels, (batch,).

        Raises:
            ValueError: if the dataset is empty or a batch is refused by
                `check_images` or `check_labels`, or if all images are of one colour.
        """
        check = PixelCheck(self._image_shape)
        for element in sources.elements(self._dataset):
            if not isinstance(element, tuple | list) or len(element) != 2:
                raise ValueError(
                    "The dataset must have elements (images, labels). Received: "
                    f"{named(element)}. {sources.structure_advice(element)}"
                )
            images = check(_in_colour(element[0]))
            yield images, check_labels(element[1], len(images))
        if not check.count:
            raise ValueError(
                "The dataset is empty; expected batches of images and labels. "
                "Received: no batch. Check how the dataset is made."
            )
        check.tell_of_blank()


class ImageBatches:
    """Checked batches of images alone, of a dataset or another iterable.

    Attributes:
        n_batches: number of batches, None if that is not known.
    """

    def __init__(
        self,
        source: Any,
        image_shape: tuple[int, int, int],
        *,
        batch_size: int,
        must_end: bool = True,
    ) -> None:
        """Take what `sources.image_batches` takes."""
        self._image_shape = image_shape
        self._source = sources.image_batches(source, batch_size, must_end=must_end)
        self.n_batches: int | None = sources.n_batches(self._source)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield images, (batch, height, width, 3).

        Raises:
            ValueError: if there are none, or they are refused by `check_images`.
        """
        check = PixelCheck(self._image_shape)
        for element in sources.elements(self._source):
            images = element[0] if isinstance(element, tuple) else element
            yield check(_in_colour(images))
        if not check.count:
            raise ValueError(
                "There are no images; expected one batch at least. Received: "
                f"{named(self._source)} that gives none. Check how it is made."
            )
        check.tell_of_blank(refuse=False)


def images_or_batches(
    x: Any,
    *,
    image_shape: tuple[int, int, int],
    batch_size: int = 32,
    must_end: bool = True,
) -> np.ndarray | LazyRows | ImageBatches:
    """Return images without labels, checked, or batches that are when they are read.

    Args:
        x: images, as `check_images` takes them; or a dataset or a generator of
            batches of them, whose labels are left aside.
        image_shape: the (height, width, 3) expected.
        batch_size: images in a batch, where a dataset gives single ones.
        must_end: whether to refuse an endless dataset.

    Raises:
        ValueError: if images are refused by `check_images`, or a dataset is endless.
    """
    if sources.is_dataset(x) or isinstance(x, Iterator):
        return ImageBatches(x, image_shape, batch_size=batch_size, must_end=must_end)
    check = PixelCheck(image_shape)
    images = check.whole(x)
    check.tell_of_blank(refuse=False)
    return images


def labelled_batches(
    x: Any,
    y: Any = None,
    *,
    batch_size: int = 128,
    image_shape: tuple[int, int, int] | None = None,
) -> ArrayBatches | DatasetBatches:
    """Return an iterable of checked batches of images and labels.

    Args:
        x: images, as `check_images` takes them, or a finite `tf.data.Dataset` of
            (images, labels) batches as `keras.utils.image_dataset_from_directory`
            gives them, or of single (image, label) pairs as
            `tfds.load(as_supervised=True)` does; single images must share one shape.
            So may a `keras.utils.PyDataset` or a `DataLoader` give batches.
            In a dataset, grayscale images of one channel are repeated to three.
        y: labels of the images in `x`, as `check_labels` takes them; None with a
            dataset.
        batch_size: images in a batch, where `x` is not batched already.
        image_shape: the (height, width, 3) expected; None accepts any.

    Returns:
        An iterable of pairs: images, uint8 or float (batch, height, width, 3) in
        0..255, and labels, int32 (batch,). It can be iterated over again and has
        `n_batches`, which is None where a dataset does not know its length.

    Raises:
        ValueError: if images or labels are missing or refused by `check_images` or
            `check_labels`, if a dataset is infinite or of another structure, or if
            labels are given twice. What only a dataset's elements show is raised
            while iterating.

    >>> images, labels = np.arange(5 * 192).reshape(5, 8, 8, 3) % 256, [0, 0, 0, 1, 1]
    >>> [len(batch) for batch, _ in labelled_batches(images, labels, batch_size=2)]
    [2, 2, 1]
    """
    if batch_size < 1:
        raise ValueError(
            "`batch_size` must be at least 1. Received: "
            f"batch_size={batch_size!r}. Pass, for example, 128."
        )
    if not sources.is_dataset(x):
        check = PixelCheck(image_shape)
        images = check.whole(x)
        labels = check_labels(y, len(images))
        check.tell_of_blank()
        return ArrayBatches(images, labels, batch_size)
    if y is not None:
        raise ValueError(
            "Labels are given twice: a dataset brings its own. Received: y of type "
            f"{type(y).__name__}. Leave `y` out."
        )
    return DatasetBatches(sources.labelled_batches(x, batch_size), image_shape)


def _in_colour(images: Any) -> np.ndarray:
    """Return images of one channel with three."""
    images = as_array(images)
    is_gray = images.ndim == 4 and images.shape[-1] == 1
    return np.repeat(images, 3, axis=-1) if is_gray else images
