"""The check of features and labels that all baselines on features share."""

import numpy as np

from egan_keras import data


def check_features(
    train_features: np.ndarray, train_labels: np.ndarray, test_features: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Checks what a baseline is given and returns it as arrays.

    Args:
        train_features: shape (n, d), finite real numbers, one row for each training
            image.
        train_labels: shape (n,) or (n, 1), 0 = majority, 1 = minority, both present.
        test_features: shape (m, d), finite real numbers.

    Returns:
        The training features, uncopied if they are an array; the labels, int64 (n,);
        and the test features.

    Raises:
        ValueError: if the shapes disagree, labels are refused by `data.check_labels`, a
            class is missing, or features are no finite real numbers.
    """
    train_features = np.asarray(train_features)
    test_features = np.asarray(test_features)
    train_labels = data.as_column(train_labels)
    if (
        train_features.ndim != 2
        or test_features.ndim != 2
        or train_features.shape[1] != test_features.shape[1]
        or len(train_features) != len(train_labels)
    ):
        raise ValueError(
            "Features and labels do not match: expected features of shapes (n, d) and "
            f"(m, d) and n labels. Received: train_features={train_features.shape}, "
            f"train_labels={train_labels.shape}, test_features={test_features.shape}. "
            "Flatten each image's features to one row."
        )
    train_labels = data.check_labels(train_labels, len(train_features))
    classes = np.unique(train_labels)
    if len(classes) < 2:
        raise ValueError(
            "A baseline needs both classes: expected labels 0 (majority) and "
            f"1 (minority). Received: train_labels with values {classes[:5].tolist()}. "
            "Add training images of the missing class."
        )
    _check_finite(train_features, "train_features")
    _check_finite(test_features, "test_features")
    return train_features, train_labels.astype(np.int64), test_features


def _check_finite(features: np.ndarray, name: str) -> None:
    numbers = features.dtype.kind in "biuf"
    if numbers and np.isfinite(features).all():
        return
    rows = np.count_nonzero(~np.isfinite(features).all(axis=1)) if numbers else 0
    what = f"{rows} rows with NaN or infinity" if numbers else f"dtype {features.dtype}"
    raise ValueError(
        f"Features must be finite real numbers. Received: {name} with {what}. Remove "
        "or repair these rows."
    )
