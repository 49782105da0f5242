"""What gives images batch by batch: tf.data, Keras's and PyTorch's own, generators."""

import itertools
from collections.abc import Iterator
from typing import Any


def is_dataset(x: Any) -> bool:
    """Whether images and labels come from it together, batch by batch.

    So they do from a `tf.data.Dataset`, a `keras.utils.PyDataset` and a `DataLoader`
    of PyTorch.
    """
    if isinstance(x, list | tuple) or hasattr(x, "__array__"):
        return False

    import tensorflow as tf  # slow to import, and not needed for arrays
    from keras.utils import PyDataset

    is_loader = hasattr(x, "dataset") and hasattr(x, "__len__")
    return isinstance(x, tf.data.Dataset | PyDataset) or is_loader


def n_batches(source: Any) -> int | None:
    """Return how many batches a source gives, None if it does not know."""
    if hasattr(source, "cardinality"):
        count = int(source.cardinality())
        return count if count >= 0 else None
    if hasattr(source, "num_batches"):
        return source.num_batches
    try:
        return len(source)
    except TypeError:
        return None


def elements(source: Any) -> Iterator[Any]:
    """Yield the elements of a dataset or a generator as they are.

    Raises:
        ValueError: if single images are to be batched and have different shapes.
    """
    import tensorflow as tf
    from keras.utils import PyDataset

    if isinstance(source, PyDataset):  # it has no end of its own
        count = source.num_batches
        numbers = itertools.count() if count is None else range(count)
        yield from (source[number] for number in numbers)
        return
    if not isinstance(source, tf.data.Dataset):
        yield from source
        return
    try:
        yield from source.as_numpy_iterator()
    except tf.errors.InvalidArgumentError as error:
        if "different shapes" not in str(error):
            raise
        raise ValueError(
            "The dataset's images must all have the same shape. Received: "
            f"{error.message}. Resize them: "
            "dataset.map(lambda x, y: (tf.image.resize(x, (96, 96)), y))."
        ) from error


def image_batches(source: Any, batch_size: int, *, must_end: bool) -> Any:
    """Return what gives batches of images, with or without labels.

    Args:
        source: a dataset or a generator of batches, or a `tf.data.Dataset` of single
            images.
        batch_size: images in a batch where the source gives single ones.
        must_end: whether to refuse what is known to have no end.

    Raises:
        ValueError: if it must end, and has no end.
    """
    import tensorflow as tf

    if must_end:
        _refuse_endless(source)
    if not isinstance(source, tf.data.Dataset):
        return source
    first = next(iter(tf.nest.flatten(source.element_spec)))
    is_single = getattr(getattr(first, "shape", None), "rank", None) == 3
    return source.batch(batch_size) if is_single else source


def labelled_batches(dataset: Any, batch_size: int) -> Any:
    """Return a dataset of (images, labels) batches, or refuse what is none."""
    import tensorflow as tf

    _refuse_endless(dataset)
    if not isinstance(dataset, tf.data.Dataset):
        return dataset
    spec = dataset.element_spec
    if not (
        isinstance(spec, tuple)
        and len(spec) == 2
        and all(isinstance(part, tf.TensorSpec) for part in spec)
    ):
        raise ValueError(
            "The dataset must have elements (images, labels). Received: "
            f"element_spec={spec!r}. {structure_advice(spec)}"
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


def _refuse_endless(source: Any) -> None:
    infinite = hasattr(source, "cardinality") and int(source.cardinality()) == -1
    if infinite or getattr(source, "num_batches", 0) is None:
        raise ValueError(
            "The dataset is infinite; expected one that ends, as one epoch. "
            "Received: a dataset of infinite cardinality. Leave out `.repeat()`, or "
            "end it with `.take(n)`."
        )


def structure_advice(spec: Any) -> str:
    """Say what to do with a dataset of another structure."""
    if isinstance(spec, dict):
        return "Load it with tfds.load(..., as_supervised=True)."
    if isinstance(spec, tuple | list) and len(spec) > 2:
        return "Leave out the sample weights: dataset.map(lambda x, y, w: (x, y))."
    return (
        "A dataset without labels cannot be used here: load it with labels, such as "
        'label_mode="int".'
    )
