"""Checked batches of images and labels, from arrays or from a tf.data.Dataset."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from egan_keras.data.checks import check_images, check_labels
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
    """Batches of a `tf.data.Dataset`; iterate over it as often as needed.

    Attributes:
        n_batches: number of batches, None if the dataset does not know.
        labels: None, since only the batches know them.
    """

    labels: np.ndarray | None = None

    def __init__(
        self, dataset: Any, image_shape: tuple[int, int, int] | None = None
    ) -> None:
        """Take a finite dataset of (images, labels) batches."""
        self._image_shape = image_shape
        self._dataset = dataset
        n_batches = int(dataset.cardinality())
        self.n_batches: int | None = n_batches if n_batches >= 0 else None

    def __iter__(self) -> Iterator[Batch]:
        """Yield images, (batch, height, width, 3), and int32 labels, (batch,).

        Raises:
            ValueError: if the dataset is empty or a batch is refused by
                `check_images` or `check_labels`.
        """
        n_batches = 0
        for images, labels in self._elements():
            if images.ndim == 4 and images.shape[-1] == 1:
                images = np.repeat(images, 3, axis=-1)
            images = check_images(images, image_shape=self._image_shape)
            yield images, check_labels(labels, len(images))
            n_batches += 1
        if n_batches == 0:
            raise ValueError(
                "The dataset is empty; expected batches of images and labels. "
                "Received: no batch. Check how the dataset is made."
            )

    def _elements(self) -> Iterator[Batch]:
        """Yield the dataset's elements as they are."""
        import tensorflow as tf

        try:
            yield from self._dataset.as_numpy_iterator()
        except tf.errors.InvalidArgumentError as error:
            if "different shapes" not in str(error):
                raise
            raise ValueError(
                "The dataset's images must all have the same shape. Received: "
                f"{error.message}. Resize them: "
                "dataset.map(lambda x, y: (tf.image.resize(x, (96, 96)), y))."
            ) from error


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

    >>> images, labels = np.zeros((5, 8, 8, 3), np.uint8), [0, 0, 0, 1, 1]
    >>> [len(batch) for batch, _ in labelled_batches(images, labels, batch_size=2)]
    [2, 2, 1]
    """
    if batch_size < 1:
        raise ValueError(
            "`batch_size` must be at least 1. Received: "
            f"batch_size={batch_size!r}. Pass, for example, 128."
        )
    # Lazy rows have it, too.
    if isinstance(x, list | tuple) or hasattr(x, "__array__"):
        images = check_images(x, image_shape=image_shape)
        return ArrayBatches(images, check_labels(y, len(images)), batch_size)

    import tensorflow as tf  # slow to import, and not needed for arrays

    if not isinstance(x, tf.data.Dataset):
        raise ValueError(
            "Images must be an array or a tf.data.Dataset. Received: x of type "
            f"{type(x).__name__}. Convert it to an array."
        )
    if y is not None:
        raise ValueError(
            "Labels are given twice: a dataset brings its own. Received: y of type "
            f"{type(y).__name__}. Leave `y` out."
        )
    return DatasetBatches(_batched(x, batch_size), image_shape)


def _batched(dataset: Any, batch_size: int) -> Any:
    """Return a dataset of (images, labels) batches, or refuse what is none."""
    import tensorflow as tf

    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "The dataset is infinite; expected one that ends, as one epoch. "
            "Received: a dataset of infinite cardinality. Leave out `.repeat()`, or "
            "end it with `.take(n)`."
        )
    spec = dataset.element_spec
    if not (
        isinstance(spec, tuple)
        and len(spec) == 2
        and all(isinstance(part, tf.TensorSpec) for part in spec)
    ):
        raise ValueError(
            "The dataset must have elements (images, labels). Received: "
            f"element_spec={spec!r}. {_structure_advice(spec)}"
        )
    images, labels = spec
    rank = images.shape.rank
    if rank not in (3, 4):
        raise ValueError(
            "The dataset's images must be of shape (height, width, channels) or "
            f"(batch, height, width, channels). Received: {images!r}. Give them that "
            "shape with `.map`."
        )
    if labels.shape.rank == rank - 2 and labels.shape[-1] not in (1, None):
        raise ValueError(
            "The dataset's labels must be 0 or 1, one for each image. Received: "
            f'one-hot labels, {labels!r}. Load it with label_mode="int" or '
            '"binary", or keep the minority\'s column with `.map`.'
        )
    if rank == 3:
        dataset = dataset.batch(batch_size)
    return dataset.prefetch(tf.data.AUTOTUNE)


def _structure_advice(spec: Any) -> str:
    """Say what to do with a dataset of another structure."""
    if isinstance(spec, dict):
        return "Load it with tfds.load(..., as_supervised=True)."
    if isinstance(spec, tuple | list) and len(spec) > 2:
        return "Leave out the sample weights: dataset.map(lambda x, y, w: (x, y))."
    return (
        "A dataset without labels cannot be used here: load it with labels, such as "
        'label_mode="int".'
    )
