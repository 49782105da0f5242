"""Checks of labels: 0 for the majority, 1 for the minority."""

from typing import Any

import numpy as np

from egan_keras.data.arrays import named, on_host
from egan_keras.text import first_few

_ONE_HOT_ADVICE = (
    "Take the column of the minority of one-hot labels, or load the images with "
    'label_mode="int" or "binary".'
)
# Of Python, NumPy and pandas.
_MISSING = {"None", "nan", "<NA>", "NaT"}


def check_labels(labels: Any, n_images: int) -> np.ndarray:
    """Check labels and return them as int32 (n,): 0 = majority, 1 = minority.

    Args:
        labels: 0 or 1 as integers, floats or booleans, of shape (n,) or (n, 1): an
            array, a list, a tensor, or a column of a table.
        n_images: the number n of images that the labels belong to.

    Raises:
        ValueError: if a label is missing, NaN or neither 0 nor 1, or if their number
            or shape is another.

    >>> check_labels([[0.0], [1.0]], 2)
    array([0, 1], dtype=int32)
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
        valid = np.array([_is_label(label) for label in labels], bool)
    if not valid.all():
        wrong = sorted({str(label) for label in labels[~valid]})
        raise ValueError(
            "Labels must be 0 (majority) or 1 (minority). Received: labels "
            f"containing {first_few(wrong)}. "
            f"{_advice(wrong)}"
        )
    return labels.astype(np.int32, copy=False)


def as_column(labels: Any) -> np.ndarray:
    """Return labels as an array (n,), or say what to do with what is none.

    Args:
        labels: an array, a list, a tensor, or a column of a table, (n,) or (n, 1).

    Raises:
        ValueError: if they are something else, or missing.
    """
    if labels is None:
        raise ValueError(
            "The images have no labels; expected 0 (majority) or 1 (minority) for "
            "each image. Received: labels=None. Pass the labels as well."
        )
    try:
        array = np.asarray(on_host(labels))
    except ValueError:  # lists of different lengths
        array = None
    if array is None or not array.ndim:
        raise ValueError(
            "Labels must be an array or a list with one 0 or 1 for each image. "
            f"Received: labels={named(labels)}. Pass, for example, [0, 0, 1]; read "
            "what is in a file first, and make a list of a generator."
        )
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 1:
        return array
    raise ValueError(
        "Labels must have the shape (n,) or (n, 1), one 0 or 1 for each image. "
        f"Received: labels.shape={array.shape}. {_ONE_HOT_ADVICE}"
    )


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


def _is_label(label: Any) -> bool:
    is_number = isinstance(label, int | float | np.floating | np.integer | np.bool_)
    return is_number and label in (0, 1)


def _advice(wrong: list[str]) -> str:
    """Say what to do with labels that are none."""
    if not _MISSING.isdisjoint(wrong):
        return "Leave out the images without a label."
    if set(wrong) <= {"0", "1"}:
        return "They are text; make numbers of it: np.asarray(labels).astype(int)."
    return "Translate the labels, for example np.where(labels == minority, 1, 0)."
