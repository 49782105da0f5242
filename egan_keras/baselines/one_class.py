"""One-class methods: how unlike the majority a row is, whatever the minority is."""

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.ensemble import IsolationForest
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from egan_keras.baselines.checks import check_features

_MOST_SUPPORT_ROWS = 5000
_OUTLIERS = 0.1


def mahalanobis_scores(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    *,
    seed: int = 0,
) -> np.ndarray:
    """Measures Mahalanobis distances from the majority.

    The covariance is shrunk as far as Ledoit and Wolf (2004) found best, since there
    are often fewer rows than features.

    Args:
        train_features: shape (n, d), real numbers, one row for each training image.
        train_labels: shape (n,), 0 = majority, 1 = minority, both present.
        test_features: shape (m, d), real numbers.
        seed: taken as all baselines take it; nothing here is random.

    Returns:
        Shape (m,), float64: the negative distance, so high = majority and
        low = minority, and no score is above 0.

    Raises:
        ValueError: if the shapes disagree, a class is missing, or features are not
            finite.
    """
    majority, test = _standardised(train_features, train_labels, test_features)
    squares = LedoitWolf().fit(majority).mahalanobis(test).astype(np.float64)
    return -np.sqrt(np.maximum(squares, 0))


def one_class_svm_scores(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    *,
    seed: int = 0,
) -> np.ndarray:
    """Fits a one-class support vector machine to the majority.

    With a radial basis of scikit-learn's own width, and a tenth of the majority at
    most outside. A majority above 5,000 rows is subsampled to as many: the time grows
    with their square.

    Args:
        train_features: shape (n, d), real numbers, one row for each training image.
        train_labels: shape (n,), 0 = majority, 1 = minority, both present.
        test_features: shape (m, d), real numbers.
        seed: of the subsample.

    Returns:
        Shape (m,), float64: scikit-learn's decision function, so high = majority and
        low = minority.

    Raises:
        ValueError: if the shapes disagree, a class is missing, or features are not
            finite.
    """
    majority, test = _standardised(train_features, train_labels, test_features)
    if len(majority) > _MOST_SUPPORT_ROWS:
        random = np.random.default_rng(seed)
        majority = majority[random.choice(len(majority), _MOST_SUPPORT_ROWS, False)]
    return OneClassSVM(nu=_OUTLIERS).fit(majority).decision_function(test)


def isolation_forest_scores(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    *,
    seed: int = 0,
) -> np.ndarray:
    """Fits an isolation forest to the majority.

    Args:
        train_features: shape (n, d), real numbers, one row for each training image.
        train_labels: shape (n,), 0 = majority, 1 = minority, both present.
        test_features: shape (m, d), real numbers.
        seed: of the trees.

    Returns:
        Shape (m,), float64: scikit-learn's decision function, so high = majority and
        low = minority.

    Raises:
        ValueError: if the shapes disagree, a class is missing, or features are not
            finite.
    """
    majority, test = _standardised(train_features, train_labels, test_features)
    return IsolationForest(random_state=seed).fit(majority).decision_function(test)


def _standardised(
    train_features: np.ndarray, train_labels: np.ndarray, test_features: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns majority and test rows, standardised by the majority."""
    features, labels, test = check_features(train_features, train_labels, test_features)
    scaler = StandardScaler().fit(features[labels == 0])
    return scaler.transform(features[labels == 0]), scaler.transform(test)
