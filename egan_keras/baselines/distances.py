"""Distances from both classes: class means and nearest neighbours."""

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from egan_keras.baselines.checks import check_features

_NEIGHBOURS = 5


def class_mean_scores(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    *,
    seed: int = 0,
) -> np.ndarray:
    """Asks which class's mean is nearer, in features standardised by the majority.

    This is the nearest centroid with one variance a feature, the majority's: the few
    minority rows say nothing of a variance, so scikit-learn's `NearestCentroid`, which
    pools both classes, is not taken.

    Args:
        train_features: shape (n, d), real numbers, one row for each training image.
        train_labels: shape (n,), 0 = majority, 1 = minority, both present.
        test_features: shape (m, d), real numbers.
        seed: taken as all baselines take it; nothing here is random.

    Returns:
        Shape (m,), float64: half the squared distance to the minority's mean minus
        half that to the majority's, so high = majority and low = minority.

    Raises:
        ValueError: if the shapes disagree, a class is missing, or features are not
            finite.
    """
    features, labels, test = check_features(train_features, train_labels, test_features)
    scaler = StandardScaler().fit(features[labels == 0])
    minority = scaler.transform(features[labels == 1]).mean(axis=0, dtype=np.float64)
    return minority @ minority / 2 - scaler.transform(test) @ minority


def nearest_neighbour_scores(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    *,
    seed: int = 0,
) -> np.ndarray:
    """Compares distances to the nearest rows of each class, in standardised features.

    Five rows of each class, or all where there are fewer: of the five nearest of all
    rows, as a vote would count them, hardly one would be of a rare class.

    Args:
        train_features: shape (n, d), real numbers, one row for each training image.
        train_labels: shape (n,), 0 = majority, 1 = minority, both present.
        test_features: shape (m, d), real numbers.
        seed: taken as all baselines take it; nothing here is random.

    Returns:
        Shape (m,), float64: the logarithm of the mean distance to the nearest minority
        rows minus that of the mean distance to the nearest majority rows, so
        high = majority and low = minority.

    Raises:
        ValueError: if the shapes disagree, a class is missing, or features are not
            finite.
    """
    features, labels, test = check_features(train_features, train_labels, test_features)
    scaler = StandardScaler().fit(features)
    features, test = scaler.transform(features), scaler.transform(test)
    to_majority = _mean_distances(features[labels == 0], test)
    to_minority = _mean_distances(features[labels == 1], test)
    return np.log(to_minority) - np.log(to_majority)


def _mean_distances(rows: np.ndarray, test: np.ndarray) -> np.ndarray:
    neighbours = NearestNeighbors(n_neighbors=min(_NEIGHBOURS, len(rows))).fit(rows)
    distances = neighbours.kneighbors(test)[0].mean(axis=1, dtype=np.float64)
    # A test image that is also a training image has a logarithm all the same.
    return np.maximum(distances, np.finfo(np.float64).tiny)
