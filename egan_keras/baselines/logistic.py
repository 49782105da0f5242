"""Logistic regression, as it is, tuned, and after SMOTE."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from egan_keras.baselines.checks import check_features

STRONG_REGULARISATION = 1e-3
CHOICES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

_MOST_FOLDS = 3
_SMOTE_NEIGHBOURS = 5


def logistic_regression_scores(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    *,
    C: float = STRONG_REGULARISATION,
    seed: int = 0,
) -> np.ndarray:
    """Fits a class-balanced logistic regression and returns scores of test images.

    The default is much stronger regularisation than scikit-learn's `C=1`, which
    overfits a handful of minority images.

    Args:
        train_features: shape (n, d), real numbers, one row for each training image.
        train_labels: shape (n,), 0 = majority, 1 = minority, both present.
        test_features: shape (m, d), real numbers.
        C: scikit-learn's inverse of the regularisation strength, positive.
        seed: taken as all baselines take it; nothing here is random.

    Returns:
        Shape (m,), float64: the log-odds of majority, so high = majority and
        low = minority, as the model's scores.

    Raises:
        ValueError: if the shapes disagree, a class is missing, or features are not
            finite.
    """
    features, labels, test = check_features(train_features, train_labels, test_features)
    model = make_pipeline(StandardScaler(), _regression(C, class_weight="balanced"))
    return _scores(model.fit(features, labels), test)


def tuned_logistic_regression_scores(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    *,
    seed: int = 0,
) -> np.ndarray:
    """Chooses `C` of `logistic_regression_scores` by cross-validation.

    The choice is the `C` in `CHOICES` of the highest mean AUROC over up to three
    stratified folds, each with a minority image at least; the smallest of equals. A
    single minority image leaves no choice, and `C` is 1e-3.

    Args:
        train_features: shape (n, d), real numbers, one row for each training image.
        train_labels: shape (n,), 0 = majority, 1 = minority, both present.
        test_features: shape (m, d), real numbers.
        seed: of the folds.

    Returns:
        Shape (m,), float64: the log-odds of majority.

    Raises:
        ValueError: as `logistic_regression_scores` does.
    """
    features, labels, test = check_features(train_features, train_labels, test_features)
    model = make_pipeline(StandardScaler(), _regression(class_weight="balanced"))
    if _folds(labels) > 1:
        _tune(model, features, labels, seed)
    return _scores(model.fit(features, labels), test)


def smote_scores(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    *,
    seed: int = 0,
) -> np.ndarray:
    """Balances the classes with SMOTE, then fits a logistic regression.

    SMOTE (Chawla et al. 2002), imbalanced-learn's, draws synthetic minority rows
    between neighbouring minority rows until there are as many as majority rows. `C` is
    chosen as in `tuned_logistic_regression_scores`; synthetic rows are drawn from
    the training rows of each fold alone. With two minority rows a fold would leave one
    to draw from, and `C` is 1e-3.

    Args:
        train_features: shape (n, d), real numbers, one row for each training image.
        train_labels: shape (n,), 0 = majority, 1 = minority, at least two of each.
        test_features: shape (m, d), real numbers.
        seed: of the folds and of the synthetic rows.

    Returns:
        Shape (m,), float64: the log-odds of majority.

    Raises:
        ImportError: if imbalanced-learn is not installed.
        ValueError: if there is a single minority row, or as
            `logistic_regression_scores` does.
    """
    features, labels, test = check_features(train_features, train_labels, test_features)
    n_minority = np.count_nonzero(labels)
    if n_minority < 2:
        raise ValueError(
            "SMOTE draws between minority rows and needs two of them at least. "
            f"Received: train_labels with {n_minority} minority row. Add minority "
            "images or take another baseline."
        )
    model = _smote_pipeline(seed)
    folds = _folds(labels)
    left_in_fold = n_minority - -(-n_minority // folds)
    if left_in_fold > 1:
        model.set_params(smote__k_neighbors=min(_SMOTE_NEIGHBOURS, left_in_fold - 1))
        _tune(model, features, labels, seed)
    model.set_params(smote__k_neighbors=min(_SMOTE_NEIGHBOURS, n_minority - 1))
    return _scores(model.fit(features, labels), test)


def _smote_pipeline(seed: int) -> Pipeline:
    try:
        from imblearn import over_sampling, pipeline
    except ImportError as error:
        raise ImportError(
            "SMOTE needs imbalanced-learn, which is not installed. Install it: "
            "pip install 'egan-keras[smote]'"
        ) from error
    smote = over_sampling.SMOTE(random_state=seed)
    return pipeline.make_pipeline(StandardScaler(), smote, _regression())


def _regression(C: float = STRONG_REGULARISATION, **options) -> LogisticRegression:
    # At scikit-learn's own tolerance, 1e-4, the solver stops far too early where the
    # regularisation is weak: with two minority images of CIFAR-10 and C=1, at AUROC
    # 0.57 in place of 0.96.
    return LogisticRegression(C=C, tol=1e-6, max_iter=5000, **options)


def _folds(labels: np.ndarray) -> int:
    return min(_MOST_FOLDS, *np.bincount(labels))


def _tune(model: Pipeline, features: np.ndarray, labels: np.ndarray, seed: int) -> None:
    """Gives a pipeline the `C` of the highest cross-validated AUROC."""
    search = GridSearchCV(
        model,
        {"logisticregression__C": CHOICES},
        scoring="roc_auc",
        cv=StratifiedKFold(_folds(labels), shuffle=True, random_state=seed),
        refit=False,
    )
    model.set_params(**search.fit(features, labels).best_params_)


def _scores(model: Pipeline, test_features: np.ndarray) -> np.ndarray:
    return -model.decision_function(test_features).astype(np.float64)
