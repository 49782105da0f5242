"""What a user would try instead: on frozen features, and on images.

Scores have the model's sign: high = majority, low = minority. Everything is fitted and
tuned on training data alone.
"""

import functools
from collections.abc import Callable

import numpy as np

from egan_keras.baselines.fine_tuned import fine_tuned_classifier_scores
from egan_keras.baselines.on_features import (
    class_mean_scores,
    isolation_forest_scores,
    logistic_regression_scores,
    mahalanobis_scores,
    nearest_neighbour_scores,
    one_class_svm_scores,
    smote_scores,
    tuned_logistic_regression_scores,
)

# Each takes what `on_features` says.
FEATURE_BASELINES: dict[str, Callable[..., np.ndarray]] = {
    "logistic regression": tuned_logistic_regression_scores,
    "class means": class_mean_scores,
    "nearest neighbours": nearest_neighbour_scores,
    "Mahalanobis distance": mahalanobis_scores,
    "one-class SVM": one_class_svm_scores,
    "isolation forest": isolation_forest_scores,
    "SMOTE + logistic regression": smote_scores,
}

# Those that do not see the minority: their scores are the same however many it has.
ONE_CLASS_BASELINES = frozenset(
    {"Mahalanobis distance", "one-class SVM", "isolation forest"}
)

# Each takes train_images (n, height, width, 3), train_labels (n,), test_images, and
# backbone, weights, network_size and seed.
IMAGE_BASELINES: dict[str, Callable[..., np.ndarray]] = {
    "fine-tuned classifier": fine_tuned_classifier_scores,
    "fine-tuned classifier (focal loss)": functools.partial(
        fine_tuned_classifier_scores, loss="focal"
    ),
}

__all__ = [
    "FEATURE_BASELINES",
    "IMAGE_BASELINES",
    "ONE_CLASS_BASELINES",
    "class_mean_scores",
    "fine_tuned_classifier_scores",
    "isolation_forest_scores",
    "logistic_regression_scores",
    "mahalanobis_scores",
    "nearest_neighbour_scores",
    "one_class_svm_scores",
    "smote_scores",
    "tuned_logistic_regression_scores",
]
