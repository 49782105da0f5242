import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from egan_keras.baselines import logistic_regression_scores


def digits(majority=3, minority=8):
    features, digit = load_digits(return_X_y=True)
    chosen = np.isin(digit, (majority, minority))
    return features[chosen], (digit[chosen] == minority).astype(int)


def test_minority_images_score_low():
    features, labels = digits()
    train = np.r_[np.flatnonzero(labels == 0)[:90], np.flatnonzero(labels == 1)[:5]]
    test = np.setdiff1d(np.arange(len(labels)), train)
    scores = logistic_regression_scores(features[train], labels[train], features[test])
    assert scores.shape == (len(test),)
    assert roc_auc_score(labels[test], -scores) > 0.9


def test_scores_do_not_depend_on_the_units_of_the_features():
    features, labels = digits()
    scores = logistic_regression_scores(features, labels, features)
    scaled = logistic_regression_scores(
        1000 * features + 7, labels, 1000 * features + 7
    )
    np.testing.assert_allclose(scaled, scores, atol=1e-3)


def test_the_classes_weigh_the_same_however_rare_one_is():
    random = np.random.default_rng(0)
    majority, minority = random.normal(1, 1, (2000, 1)), random.normal(-1, 1, (20, 1))
    features, labels = np.r_[majority, minority], np.r_[np.zeros(2000), np.ones(20)]
    middle = logistic_regression_scores(features, labels, np.zeros((1, 1)))
    assert abs(middle[0]) < 1


def test_features_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match=r"do not match.*train_features=\(4, 2\)"):
        logistic_regression_scores(np.ones((4, 2)), [0, 0, 1, 1], np.ones((3, 5)))
    with pytest.raises(ValueError, match=r"do not match.*\(4, 2, 2\).*Flatten"):
        logistic_regression_scores(np.ones((4, 2, 2)), [0, 0, 1, 1], np.ones((3, 2)))


def test_one_class_is_refused():
    with pytest.raises(ValueError, match=r"both classes.*values \[0\]"):
        logistic_regression_scores(np.ones((2, 2)), [0, 0], np.ones((3, 2)))
