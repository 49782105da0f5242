"""Checked batches of images and labels, from arrays or from datasets."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from egan_keras.data.images import Rows
from egan_keras.data.input_checks import (
    PixelCheck,
    Shape,
    as_array,
    check_both_classes,
    check_images,
    check_labels,
    named,
)
from egan_keras.data.lazy import LazyRows, in_batches
from egan_keras.data.splits import MAJORITY, MINORITY, SplitRules

Batch = tuple[np.ndarray, np.ndarray]


def labelled_batches(
    x: Any, y: Any = None, *, batch_size: int = 128, image_shape: Shape | None = None
) -> "ArrayBatches | DatasetBatches":
    """Return an iterable of checked batches of images and labels.

    Args:
        x: images, as `check_images` takes them, or a finite dataset of (images,
            labels) batches: a `tf.data.Dataset` (also of single pairs of one shape), a
            `keras.utils.PyDataset` or a `DataLoader`. In a dataset, grayscale images
            of one channel are repeated to three.
        y: labels, as `check_labels` takes them; None with a dataset.
        batch_size: images in a batch, where `x` is not batched already.
        image_shape: as of `check_images`.

    Raises:
        ValueError: if images or labels are missing or refused, if a dataset is endless
            or of another structure, or if labels are given twice. What only a
            dataset's elements show is raised while iterating.

    >>> images, labels = np.arange(5 * 192).reshape(5, 8, 8, 3) % 256, [0, 0, 0, 1, 1]
    >>> [len(batch) for batch, _ in labelled_batches(images, labels, batch_size=2)]
    [2, 2, 1]
    """
    if batch_size < 1:
        received = f"Received: batch_size={batch_size!r}"
        raise ValueError(f"`batch_size` must be at least 1. {received}. Pass 128.")
    if not is_dataset(x):
        check = PixelCheck(image_shape)
        images = check.whole(x)
        labels = check_labels(y, len(images))
        check.tell_of_blank()
        return ArrayBatches(images, labels, batch_size)
    if y is not None:
        raise ValueError(
            "Labels are given twice: a dataset brings its own. Received: y="
            f"{named(y)}. Leave `y` out."
        )
    return DatasetBatches(x, image_shape, batch_size=batch_size)


def images_or_batches(
    x: Any, *, image_shape: Shape, batch_size: int = 32, must_end: bool = True
) -> "Rows | ImageBatches":
    """Return images without labels, checked, or batches that are when they are read.

    As of `labelled_batches`, but `x` may be a generator of batches, too, and labels are
    left aside; `must_end` tells whether to refuse an endless dataset.
    """
    if is_dataset(x) or isinstance(x, Iterator):
        return ImageBatches(x, image_shape, batch_size=batch_size, must_end=must_end)
    check = PixelCheck(image_shape)
    images = check.whole(x)
    check.tell_of_blank(refuse=False)
    return images


def subsample_minority(
    images: Any,
    labels: Any,
    *,
    minority_count: int | None = None,
    ratio: float | None = None,
    seed: int = 0,
) -> tuple[Rows, np.ndarray]:
    """Drop minority images until as few are left as wanted.

    With one seed, the images kept for a smaller count are among those kept for a
    larger one. With neither `minority_count` nor `ratio`, all are kept.

    Args:
        images: array of shape (n, ...), or `ImageFiles`, which stay unread.
        labels: 0 (majority) or 1 (minority), of shape (n,) or (n, 1).
        minority_count: number of minority images to keep.
        ratio: majority images per minority image to keep, in place of a count.
        seed: decides which minority images are kept.

    Returns:
        The images left and their labels, int32 (m,), in their order.

    Raises:
        ValueError: if there are fewer minority images than asked for, if a class is
            missing, or for images, labels or arguments that cannot be used.

    >>> images, labels = np.zeros((100, 8, 8, 3), np.uint8), np.repeat([0, 1], 50)
    >>> images, labels = subsample_minority(images, labels, ratio=10)
    >>> np.bincount(labels)
    array([50,  5])
    """
    rules = SplitRules(minority_count=minority_count, ratio=ratio, seed=seed)
    if not isinstance(images, LazyRows):
        images = as_array(images)
        # Other arrays may be features, or wait for a third channel.
        if images.ndim == 4 and images.shape[-1] == 3:
            images = check_images(images)
    labels = check_labels(labels, len(images))
    check_both_classes(labels)
    if not rules.reduces_minority:
        return images, labels
    majority, minority = (np.flatnonzero(labels == x) for x in (MAJORITY, MINORITY))
    kept, _ = rules.reduce(minority.tolist(), len(majority))
    rows = np.sort(np.concatenate([majority, np.array(kept, np.int64)]))
    if isinstance(images, LazyRows):
        return images.select(rows), labels[rows]
    return images[rows], labels[rows]


def is_dataset(x: Any) -> bool:
    """Whether it gives batches of images with labels, as of tf.data, Keras, PyTorch."""
    if isinstance(x, list | tuple) or hasattr(x, "__array__"):
        return False

    import tensorflow as tf  # slow to import, and not needed for arrays
    from keras.utils import PyDataset

    is_loader = hasattr(x, "dataset") and hasattr(x, "__len__")
    return isinstance(x, tf.data.Dataset | PyDataset) or is_loader


class ArrayBatches:
    """Batches of checked `images` and `labels`, arrays; the last one may be smaller."""

    def __init__(self, images: Rows, labels: np.ndarray, batch_size: int) -> None:
        self.images, self.labels = images, labels
        self._batch_size = batch_size
        self.count = len(images)
        self.n_batches = -(-len(images) // batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Yield images, (batch, height, width, 3), and int32 labels, (batch,)."""
        images = in_batches(self.images, self._batch_size)
        yield from zip(images, in_batches(self.labels, self._batch_size), strict=True)


class DatasetBatches:
    """Checked batches of a dataset; iterate over it as often as needed.

    `n_batches` is None if the dataset does not know it.
    """

    # Only the batches know them, and how many images there are.
    labels: np.ndarray | None = None
    count: int | None = None
    _refuses_blank = True

    def __init__(
        self,
        dataset: Any,
        image_shape: Shape | None = None,
        *,
        batch_size: int,
        must_end: bool = True,
    ) -> None:
        import tensorflow as tf

        infinite = hasattr(dataset, "cardinality") and int(dataset.cardinality()) == -1
        if must_end and (infinite or getattr(dataset, "num_batches", 0) is None):
            raise ValueError(
                "The dataset is infinite; expected one epoch. Received: infinite "
                "cardinality. Leave out `.repeat()`, or end it with `.take(n)`."
            )
        is_tf = isinstance(dataset, tf.data.Dataset)
        self._dataset = self._batched(dataset, batch_size) if is_tf else dataset
        self._image_shape = image_shape
        self.n_batches = _n_batches(self._dataset)

    def __iter__(self) -> Iterator[Batch]:
        """Yield checked images and labels; refuse none, or all images of one colour."""
        check = PixelCheck(self._image_shape)
        for element in _elements(self._dataset):
            yield self._checked(element, check)
        if not check.count:
            raise ValueError(
                "The dataset is empty; expected batches of images. Received: "
                f"{named(self._dataset)} that gives none. Check how it is made."
            )
        check.tell_of_blank(refuse=self._refuses_blank)

    def _checked(self, element: Any, check: PixelCheck) -> Any:
        if not isinstance(element, tuple | list) or len(element) != 2:
            raise _no_pair(element, named(element))
        images = check(_in_colour(element[0]))
        return images, check_labels(element[1], len(images))

    def _batched(self, dataset: Any, batch_size: int) -> Any:
        import tensorflow as tf

        spec = dataset.element_spec
        is_pair = isinstance(spec, tuple) and len(spec) == 2
        if not is_pair or not all(isinstance(part, tf.TensorSpec) for part in spec):
            raise _no_pair(spec, f"element_spec={spec!r}")
        images, labels = spec
        rank = images.shape.rank
        if rank not in (3, 4):
            raise ValueError(
                "The dataset's images must be of shape (height, width, channels), or "
                f"batches of such. Received: {images!r}. Use `.map`."
            )
        if labels.shape.rank == rank - 2 and labels.shape[-1] not in (1, None):
            raise ValueError(
                "The dataset's labels must be 0 or 1, one for each image. Received: "
                f'one-hot labels, {labels!r}. Load it with label_mode="int".'
            )
        batched = dataset.batch(batch_size) if rank == 3 else dataset
        return batched.prefetch(tf.data.AUTOTUNE)


class ImageBatches(DatasetBatches):
    """Checked batches of images alone, of a dataset or another iterable."""

    _refuses_blank = False

    def _checked(self, element: Any, check: PixelCheck) -> Any:
        return check(_in_colour(element[0] if isinstance(element, tuple) else element))

    def _batched(self, dataset: Any, batch_size: int) -> Any:
        import tensorflow as tf

        first = tf.nest.flatten(dataset.element_spec)[0]
        is_single = getattr(getattr(first, "shape", None), "rank", None) == 3
        return dataset.batch(batch_size) if is_single else dataset


def _n_batches(dataset: Any) -> int | None:
    if hasattr(dataset, "num_batches"):
        return dataset.num_batches
    if hasattr(dataset, "cardinality"):
        count = int(dataset.cardinality())
        return count if count >= 0 else None
    try:
        return len(dataset)
    except TypeError:  # as a DataLoader of an iterable
        return None


def _elements(dataset: Any) -> Iterator[Any]:
    import tensorflow as tf
    from keras.utils import PyDataset

    if isinstance(dataset, PyDataset):  # it has no end of its own
        numbers = itertools.islice(itertools.count(), dataset.num_batches)
        yield from map(dataset.__getitem__, numbers)
        return
    is_tf = isinstance(dataset, tf.data.Dataset)
    try:
        yield from dataset.as_numpy_iterator() if is_tf else dataset
    except tf.errors.InvalidArgumentError as error:
        if "different shapes" not in str(error):
            raise
        raise ValueError(
            "The dataset's images must all have the same shape. Received: "
            f"{error.message}. Resize them: "
            "dataset.map(lambda x, y: (tf.image.resize(x, (96, 96)), y))."
        ) from error


def _no_pair(element: Any, received: str) -> ValueError:
    """Return the error that says what to do with a dataset of another structure."""
    advice = "A dataset without labels cannot be used: load it with label_mode='int'."
    if isinstance(element, dict):
        advice = "Load it with tfds.load(..., as_supervised=True)."
    elif isinstance(element, tuple | list) and len(element) > 2:
        advice = "Leave out the sample weights: dataset.map(lambda x, y, w: (x, y))."
    return ValueError(
        "The dataset must have elements (images, labels). Received: "
        f"{received}. {advice}"
    )


def _in_colour(images: Any) -> np.ndarray:
    images = as_array(images)
    is_gray = images.ndim == 4 and images.shape[-1] == 1
    return np.repeat(images, 3, axis=-1) if is_gray else images
