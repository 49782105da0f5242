"""What each baseline does in its own way."""

import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from egan_keras import baselines
from egan_keras.baselines import logistic_regression_scores

pytestmark = pytest.mark.whole


def gaussians(n_majority=100, n_minority=10, d=8, shift=-1.0):
    """Returns standard normal rows, the minority's shifted, and their labels."""
    random = np.random.default_rng(0)
    features = random.normal(0, 1, (n_majority + n_minority, d))
    features[n_majority:] += shift
    return features, (np.arange(len(features)) >= n_majority).astype(int)


def test_the_classes_weigh_the_same_however_rare_one_is():
    random = np.random.default_rng(0)
    majority, minority = random.normal(1, 1, (2000, 1)), random.normal(-1, 1, (20, 1))
    features, labels = np.r_[majority, minority], np.r_[np.zeros(2000), np.ones(20)]
    for scores_of in (logistic_regression_scores, baselines.smote_scores):
        assert abs(scores_of(features, labels, np.zeros((1, 1)))[0]) < 1


def test_weak_regularisation_too_is_optimised_to_the_end():
    features, labels = gaussians(n_minority=2, d=64)
    standard = StandardScaler().fit_transform(features)
    exact = LogisticRegression(
        C=10.0, class_weight="balanced", solver="newton-cholesky", tol=1e-8
    ).fit(standard, labels)
    expected = -exact.decision_function(standard)
    scores = logistic_regression_scores(features, labels, features, C=10.0)
    np.testing.assert_allclose(scores, expected, atol=0.005 * np.ptp(expected))


def test_tuning_takes_the_choice_of_the_highest_cross_validated_auroc():
    features, labels = gaussians(n_minority=7, shift=-0.5)
    tuned = baselines.tuned_logistic_regression_scores(features, labels, features)
    aurocs = {}
    for C in (1e-4, 1e-3, 1e-2, 1e-1, 1.0):
        folds = StratifiedKFold(3, shuffle=True, random_state=0)
        aurocs[C] = sum(
            roc_auc_score(
                labels[held],
                -logistic_regression_scores(
                    features[kept], labels[kept], features[held], C=C
                ),
            )
            for kept, held in folds.split(features, labels)
        )
    best = max(aurocs, key=aurocs.get)
    assert best != 1e-3
    np.testing.assert_allclose(
        tuned, logistic_regression_scores(features, labels, features, C=best)
    )


@pytest.mark.parametrize(("scores_of", "count"), [("tuned", 1), ("smote", 2)])
def test_too_few_minority_images_to_tune_get_strong_regularisation(scores_of, count):
    features, labels = gaussians(n_minority=count)
    if scores_of == "tuned":
        tuned = baselines.tuned_logistic_regression_scores(features, labels, features)
        fixed = logistic_regression_scores(features, labels, features, C=1e-3)
        np.testing.assert_array_equal(tuned, fixed)
    else:
        assert np.ptp(baselines.smote_scores(features, labels, features)) < 1


def test_synthetic_rows_are_drawn_from_training_rows_alone(monkeypatch):
    from imblearn.over_sampling import SMOTE

    seen, resample = [], SMOTE.fit_resample

    def spy(self, features, labels, **options):
        result = resample(self, features, labels, **options)
        seen.append((labels.sum(), self.k_neighbors, result[1].sum()))
        return result

    monkeypatch.setattr(SMOTE, "fit_resample", spy)
    features, labels = gaussians(n_majority=90, n_minority=6)
    baselines.smote_scores(features, labels, features)
    in_folds, at_last = set(seen[:-1]), seen[-1]
    assert in_folds == {(4, 3, 60)}
    assert at_last == (6, 5, 90)


def test_smote_refuses_a_single_minority_image():
    features, labels = gaussians(n_minority=1)
    with pytest.raises(ValueError, match="needs two.*with 1 minority row.*another"):
        baselines.smote_scores(features, labels, features)


def test_smote_says_how_to_install_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "imblearn", None)
    features, labels = gaussians()
    with pytest.raises(ImportError, match=r"pip install 'egan-keras\[smote\]'"):
        baselines.smote_scores(features, labels, features)


def test_class_means_are_as_near_in_the_middle_between_them():
    features, labels = gaussians(shift=-3.0)
    means = [features[labels == label].mean(axis=0) for label in (0, 1)]
    scores = baselines.class_mean_scores(
        features, labels, [means[0], np.mean(means, axis=0), means[1]]
    )
    assert scores[0] > 1
    assert scores[1] == pytest.approx(0)
    assert scores[2] == pytest.approx(-scores[0])


def test_neighbours_of_both_classes_count_however_rare_one_is():
    features, labels = gaussians(n_majority=1000, n_minority=1, shift=-2.0)
    scores = baselines.nearest_neighbour_scores(features, labels, features)
    assert np.isfinite(scores).all()
    assert scores[-1] == scores.min() < 0


@pytest.mark.parametrize("name", ["mahalanobis", "one_class_svm", "isolation_forest"])
def test_one_class_methods_do_not_look_at_the_minority(name):
    scores_of = getattr(baselines, f"{name}_scores")
    features, labels = gaussians()
    others = np.where(labels[:, None] == 1, 100.0, features)
    test = np.zeros((1, 8)), np.full((1, 8), 4.0)
    typical, strange = scores_of(features, labels, np.concatenate(test))
    assert typical > 0 > strange or name == "mahalanobis" and typical > strange
    np.testing.assert_array_equal(
        scores_of(others, labels, np.concatenate(test)), [typical, strange]
    )


def test_mahalanobis_is_a_distance():
    features, labels = gaussians(n_majority=5000, d=2)
    scores = baselines.mahalanobis_scores(
        2 * features, labels, [features[labels == 0].mean(axis=0) * 2, [6.0, 8.0]]
    )
    np.testing.assert_allclose(scores, [0.0, -5.0], rtol=0.1, atol=1e-6)


def test_a_large_majority_is_subsampled_for_the_support_vectors(monkeypatch):
    features, labels = gaussians(n_majority=400)
    whole = baselines.one_class_svm_scores(features, labels, features)
    monkeypatch.setattr(baselines, "_MOST_SUPPORT_ROWS", 50)
    drawn = [
        baselines.one_class_svm_scores(features, labels, features, seed=seed)
        for seed in (0, 1)
    ]
    assert np.ptp(drawn[0]) < np.ptp(whole)
    assert not np.allclose(*drawn)
