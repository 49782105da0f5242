"""What a user would try instead: on frozen features, here, and on images.

Baselines on features are functions of

    train: features of the training images, (n, d), finite real numbers;
    labels: (n,), 0 = majority, 1 = minority, both present;
    test: features of the images to score, (m, d), finite real numbers;
    seed: of what is random, if anything is;

and return scores, float64 (m,). They raise ValueError for what is none of these. Scores
have the model's sign: high = majority, low = minority. Everything is fitted and tuned
on training data alone.
"""

import functools
from collections.abc import Callable

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from egan_keras import data
from egan_keras.baselines.fine_tuned import fine_tuned_classifier_scores
from egan_keras.baselines.on_maps import padim_scores, patchcore_scores

Scores = Callable[..., np.ndarray]

STRONG_REGULARISATION = 1e-3
CHOICES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)

_MOST_FOLDS = 3
_NEIGHBOURS = 5
_MOST_SUPPORT_ROWS = 5000
_OUTLIERS = 0.1


def _on_checked_features(score: Scores) -> Scores:
    """Makes a baseline check what it is given, and take it as arrays."""

    @functools.wraps(score)
    def checked(train, labels, test, *, seed=0, **options):
        train, test = np.asarray(train), np.asarray(test)
        if train.ndim != 2 or test.shape[1:] != train.shape[1:]:
            raise ValueError(
                "Features do not match: expected shapes (n, d) and (m, d). Received: "
                f"train_features={train.shape}, test_features={test.shape}. Flatten "
                "each image's features to one row."
            )
        labels = data.check_labels(labels, len(train)).astype(np.int64)
        data.check_both_classes(labels)
        for name, rows in {"train_features": train, "test_features": test}.items():
            if rows.dtype.kind not in "biuf":
                what = f"dtype {rows.dtype}"
            elif bad := np.count_nonzero(~np.isfinite(rows).all(axis=1)):
                what = f"{bad} rows with NaN or infinity"
            else:
                continue
            raise ValueError(
                f"Features must be finite real numbers. Received: {name} with {what}. "
                "Remove or repair these rows."
            )
        return score(train, labels, test, seed=seed, **options).astype(np.float64)

    return checked


@_on_checked_features
def logistic_regression_scores(
    train, labels, test, *, C: float = STRONG_REGULARISATION, seed=0
) -> np.ndarray:
    """Returns log-odds of a class-balanced logistic regression.

    The default of `C`, scikit-learn's inverse of the regularisation strength, is much
    stronger regularisation than its `C=1`, which overfits a handful of minority images.
    """
    model = make_pipeline(StandardScaler(), _regression(C, class_weight="balanced"))
    return -model.fit(train, labels).decision_function(test)


@_on_checked_features
def tuned_logistic_regression_scores(train, labels, test, *, seed=0) -> np.ndarray:
    """Chooses `C` of `logistic_regression_scores` by cross-validation.

    The choice is the `C` in `CHOICES` of the highest mean AUROC over up to three
    stratified folds, each with a minority image at least; the smallest of equals. A
    single minority image leaves no choice, and `C` is 1e-3.
    """
    model = make_pipeline(StandardScaler(), _regression(class_weight="balanced"))
    if _folds(labels) > 1:
        _tune(model, train, labels, seed)
    return -model.fit(train, labels).decision_function(test)


@_on_checked_features
def smote_scores(train, labels, test, *, seed=0) -> np.ndarray:
    """Balances the classes with SMOTE, then fits a logistic regression.

    SMOTE (Chawla et al. 2002), imbalanced-learn's, draws synthetic minority rows
    between neighbouring minority rows until there are as many as majority rows. `C` is
    chosen as in `tuned_logistic_regression_scores`; synthetic rows are drawn from
    the training rows of each fold alone. With two minority rows a fold would leave one
    to draw from, and `C` is 1e-3. A single one is a ValueError, and an ImportError that
    imbalanced-learn is not installed.
    """
    n_minority = np.count_nonzero(labels)
    if n_minority < 2:
        raise ValueError(
            "SMOTE draws between minority rows and needs two of them at least. "
            f"Received: train_labels with {n_minority} minority row. Add minority "
            "images or take another baseline."
        )
    try:
        from imblearn import over_sampling, pipeline
    except ImportError as error:
        raise ImportError(
            "SMOTE needs imbalanced-learn, which is not installed. Install it: "
            "pip install 'egan-keras[smote]'"
        ) from error
    smote = over_sampling.SMOTE(random_state=seed)
    model = pipeline.make_pipeline(StandardScaler(), smote, _regression())
    left_in_fold = n_minority - -(-n_minority // _folds(labels))
    if left_in_fold > 1:
        model.set_params(smote__k_neighbors=min(_NEIGHBOURS, left_in_fold - 1))
        _tune(model, train, labels, seed)
    model.set_params(smote__k_neighbors=min(_NEIGHBOURS, n_minority - 1))
    return -model.fit(train, labels).decision_function(test)


@_on_checked_features
def class_mean_scores(train, labels, test, *, seed=0) -> np.ndarray:
    """Asks which class's mean is nearer, in features standardised by the majority.

    Returns half the squared distance to the minority's mean minus half that to the
    majority's. This is the nearest centroid with one variance a feature, the
    majority's: the few minority rows say nothing of a variance, so scikit-learn's
    `NearestCentroid`, which pools both classes, is not taken.
    """
    scaler = StandardScaler().fit(train[labels == 0])
    rows = scaler.transform(train[labels == 1])
    minority = rows.mean(axis=0, dtype=np.float64)
    return minority @ minority / 2 - scaler.transform(test) @ minority


@_on_checked_features
def nearest_neighbour_scores(train, labels, test, *, seed=0) -> np.ndarray:
    """Compares distances to the nearest rows of each class, in standardised features.

    Returns the logarithm of the mean distance to the nearest minority rows minus that
    of the mean distance to the nearest majority rows. Five rows of each class, or all
    where there are fewer: of the five nearest of all rows, as a vote would count them,
    hardly one would be of a rare class.
    """
    scaler = StandardScaler().fit(train)
    rows, test = scaler.transform(train), scaler.transform(test)
    to_majority, to_minority = (
        np.log(_mean_distances(rows[labels == label], test)) for label in (0, 1)
    )
    return to_minority - to_majority


@_on_checked_features
def mahalanobis_scores(train, labels, test, *, seed=0) -> np.ndarray:
    """Returns negative Mahalanobis distances from the majority.

    The covariance is shrunk as far as Ledoit and Wolf (2004) found best, since there
    are often fewer rows than features.
    """
    majority, test = _by_majority(train, labels, test)
    squares = LedoitWolf().fit(majority).mahalanobis(test).astype(np.float64)
    return -np.sqrt(np.maximum(squares, 0))


@_on_checked_features
def one_class_svm_scores(train, labels, test, *, seed=0) -> np.ndarray:
    """Fits a one-class support vector machine to the majority.

    With a radial basis of scikit-learn's own width, and a tenth of the majority at
    most outside. A majority above 5,000 rows is subsampled to as many: the time grows
    with their square.
    """
    majority, test = _by_majority(train, labels, test)
    if len(majority) > _MOST_SUPPORT_ROWS:
        random = np.random.default_rng(seed)
        majority = majority[random.choice(len(majority), _MOST_SUPPORT_ROWS, False)]
    return OneClassSVM(nu=_OUTLIERS).fit(majority).decision_function(test)


@_on_checked_features
def isolation_forest_scores(train, labels, test, *, seed=0) -> np.ndarray:
    """Fits an isolation forest to the majority."""
    majority, test = _by_majority(train, labels, test)
    return IsolationForest(random_state=seed).fit(majority).decision_function(test)


def _regression(C: float = STRONG_REGULARISATION, **options) -> LogisticRegression:
    # At scikit-learn's own tolerance, 1e-4, the solver stops far too early where the
    # regularisation is weak: with two minority images of CIFAR-10 and C=1, at AUROC
    # 0.57 in place of 0.96.
    return LogisticRegression(C=C, tol=1e-6, max_iter=5000, **options)


def _folds(labels: np.ndarray) -> int:
    return min(_MOST_FOLDS, *np.bincount(labels))


def _tune(model: Pipeline, train: np.ndarray, labels: np.ndarray, seed: int) -> None:
    """Gives a pipeline the `C` of the highest cross-validated AUROC."""
    search = GridSearchCV(
        model,
        {"logisticregression__C": CHOICES},
        scoring="roc_auc",
        cv=StratifiedKFold(_folds(labels), shuffle=True, random_state=seed),
        refit=False,
    )
    model.set_params(**search.fit(train, labels).best_params_)


def _mean_distances(rows: np.ndarray, test: np.ndarray) -> np.ndarray:
    neighbours = NearestNeighbors(n_neighbors=min(_NEIGHBOURS, len(rows))).fit(rows)
    distances = neighbours.kneighbors(test)[0].mean(axis=1, dtype=np.float64)
    # A test image that is also a training image has a logarithm all the same.
    return np.maximum(distances, np.finfo(np.float64).tiny)


def _by_majority(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> tuple:
    """Returns majority and test rows, standardised by the majority."""
    scaler = StandardScaler().fit(train[labels == 0])
    return scaler.transform(train[labels == 0]), scaler.transform(test)


FEATURE_BASELINES: dict[str, Scores] = {
    "logistic regression": tuned_logistic_regression_scores,
    "class means": class_mean_scores,
    "nearest neighbours": nearest_neighbour_scores,
    "Mahalanobis distance": mahalanobis_scores,
    "one-class SVM": one_class_svm_scores,
    "isolation forest": isolation_forest_scores,
    "SMOTE + logistic regression": smote_scores,
}

# Those that do not see the minority: their scores are the same however many it has.
# Each takes what `on_maps` says, and returns heat maps, too.
MAP_BASELINES: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "PatchCore": patchcore_scores,
    "PaDiM": padim_scores,
}

ONE_CLASS_BASELINES = frozenset(
    {"Mahalanobis distance", "one-class SVM", "isolation forest"}
)

# Each takes train_images (n, height, width, 3), train_labels (n,), test_images, and
# backbone, weights, network_size and seed.
IMAGE_BASELINES: dict[str, Scores] = {
    "fine-tuned classifier": fine_tuned_classifier_scores,
    "fine-tuned classifier (focal loss)": functools.partial(
        fine_tuned_classifier_scores, loss="focal"
    ),
}
