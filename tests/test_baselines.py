import functools

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from egan_keras.baselines import (
    FEATURE_BASELINES,
    class_mean_scores,
    logistic_regression_scores,
)

pytestmark = pytest.mark.whole

ALL = {**FEATURE_BASELINES, "untuned logistic regression": logistic_regression_scores}
every_baseline = pytest.mark.parametrize("scores_of", ALL.values(), ids=ALL)


@functools.cache
def digits(minority_count=5):
    """Returns threes (majority) and a few eights to train on, and the rest to test."""
    features, digit = load_digits(return_X_y=True)
    threes, eights = features[digit == 3], features[digit == 8]
    train = np.r_[threes[:90], eights[:minority_count]]
    test = np.r_[threes[90:], eights[minority_count:]]
    test_labels = np.arange(len(test)) >= len(threes) - 90
    return train, (np.arange(len(train)) >= 90).astype(int), test, test_labels


@every_baseline
def test_minority_images_score_low(scores_of):
    *given, test_labels = digits()
    scores = scores_of(*given)
    assert scores.shape == (len(test_labels),)
    assert scores.dtype == np.float64
    assert roc_auc_score(test_labels, -scores) > 0.85


@pytest.mark.slow
@every_baseline
def test_seeded_scores_repeat_and_the_input_stays(scores_of):
    train, labels, test, _ = digits()
    copies = train.copy(), test.copy()
    first = scores_of(train, labels, test, seed=3)
    np.testing.assert_array_equal(scores_of(train, labels, test, seed=3), first)
    np.testing.assert_array_equal(train, copies[0])
    np.testing.assert_array_equal(test, copies[1])


@pytest.mark.slow
@every_baseline
def test_scores_do_not_depend_on_the_units_of_the_features(scores_of):
    train, labels, test, _ = digits()
    # A feature that is constant in training has no unit to be standardised by.
    varying = train[labels == 0].std(axis=0) > 0
    train, test = train[:, varying], test[:, varying]
    scores = scores_of(train, labels, test)
    scaled = scores_of(1024 * train + 7, labels, 1024 * test + 7)
    np.testing.assert_allclose(scaled, scores, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
@every_baseline
def test_an_image_scores_the_same_whatever_it_is_scored_with(scores_of):
    train, labels, test, _ = digits()
    together = scores_of(train, labels, test)
    alone = scores_of(train, labels, test[:3])
    np.testing.assert_allclose(alone, together[:3], rtol=1e-5, atol=1e-8)


@every_baseline
def test_features_that_do_not_match_are_refused(scores_of):
    with pytest.raises(ValueError, match=r"do not match.*train_features=\(4, 2\)"):
        scores_of(np.ones((4, 2)), [0, 0, 1, 1], np.ones((3, 5)))
    with pytest.raises(ValueError, match=r"do not match.*\(4, 2, 2\).*Flatten"):
        scores_of(np.ones((4, 2, 2)), [0, 0, 1, 1], np.ones((3, 2)))


@every_baseline
def test_one_class_is_refused(scores_of):
    with pytest.raises(ValueError, match="both classes.*2 majority and 0 minority"):
        scores_of(np.ones((2, 2)), [0, 0], np.ones((3, 2)))


@every_baseline
def test_labels_that_are_none_are_refused(scores_of):
    with pytest.raises(ValueError, match="Labels must be 0 .majority.*containing None"):
        scores_of(np.ones((2, 2)), [0, None], np.ones((3, 2)))


@every_baseline
def test_features_that_are_no_finite_numbers_are_refused(scores_of):
    with pytest.raises(ValueError, match="train_features with 1 rows with NaN"):
        scores_of([[0.0], [np.nan]], [0, 1], [[0.0]])
    with pytest.raises(ValueError, match="test_features with dtype <U"):
        scores_of([[0.0], [1.0]], [0, 1], [["one"]])


@pytest.mark.parametrize("name", [n for n in ALL if not n.startswith("SMOTE")])
def test_a_single_minority_image_suffices(name):
    *given, test_labels = digits(minority_count=1)
    assert roc_auc_score(test_labels, -ALL[name](*given)) > 0.6


@every_baseline
def test_features_that_never_vary_do_no_harm(scores_of):
    train, labels, test, _ = digits()
    constant = [np.c_[rows, np.full(len(rows), 5.0)] for rows in (train, test)]
    scores = scores_of(constant[0], labels, constant[1])
    assert np.isfinite(scores).all()
    if scores_of is class_mean_scores:
        np.testing.assert_allclose(scores, scores_of(train, labels, test))
