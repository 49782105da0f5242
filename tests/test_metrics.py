import numpy as np
import pytest
from scipy.stats import norm
from sklearn import metrics as sk

from egan_keras.metrics import _resampled_metrics as resampled_metrics
from egan_keras.metrics import (
    bootstrap_intervals,
    precision_at_prevalence,
    score_metrics,
)

pytestmark = pytest.mark.whole


def overlapping(seed=0, n_majority=300, n_minority=100):
    random = np.random.default_rng(seed)
    scores = np.r_[random.normal(1, 1, n_majority), random.normal(-1, 1, n_minority)]
    labels = np.r_[np.zeros(n_majority, int), np.ones(n_minority, int)]
    return scores.round(1), labels


def by_scikit_learn(scores, labels, threshold):
    called = (scores < threshold).astype(int)
    return {
        "auroc": sk.roc_auc_score(labels, -scores),
        "average_precision": sk.average_precision_score(labels, -scores),
        "sensitivity": sk.recall_score(labels, called),
        "specificity": sk.recall_score(labels, called, pos_label=0),
        "precision": sk.precision_score(labels, called, zero_division=0),
        "f1": sk.f1_score(labels, called, zero_division=0),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, called),
    }


@pytest.mark.parametrize("threshold", [-0.5, 0.3, -99.0, 99.0])
def test_metrics_are_those_of_scikit_learn(threshold):
    scores, labels = overlapping()
    metrics = score_metrics(scores, labels, threshold)
    expected = by_scikit_learn(scores, labels, threshold)
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    everything = sk.f1_score(labels, np.ones(400))
    assert metrics["always_minority_f1"] == pytest.approx(everything)
    assert (metrics["n_majority"], metrics["n_minority"]) == (300, 100)


def test_a_score_at_the_threshold_is_majority():
    assert score_metrics([1.0, 1.0], [0, 1], threshold=1.0)["specificity"] == 1
    assert score_metrics([1.0, 1.0], [0, 1], threshold=1.0)["sensitivity"] == 0


def test_on_a_balanced_set_always_answering_minority_has_f1_two_thirds():
    metrics = score_metrics([1.0, -1.0], [0, 1], threshold=0)
    assert metrics["always_minority_f1"] == pytest.approx(2 / 3)


def test_with_one_class_the_other_metrics_are_absent():
    majority = score_metrics([1.0, -1.0], [0, 0], threshold=0)
    assert majority == {"specificity": 0.5, "n_majority": 2, "n_minority": 0}
    minority = score_metrics([1.0, -1.0, -2.0, -3.0], [1] * 4, threshold=0)
    assert minority == {"sensitivity": 0.75, "n_majority": 0, "n_minority": 4}
    assert list(bootstrap_intervals([1.0, -1.0], [0, 0], 0)) == ["specificity"]
    assert list(bootstrap_intervals([1.0], [1], 0)) == ["sensitivity"]


def test_a_resample_is_judged_as_scikit_learn_would(monkeypatch):
    scores, labels = overlapping()
    monkeypatch.setattr(
        "egan_keras.metrics._draw", lambda _, counts, size: counts[None]
    )
    only = resampled_metrics(scores, labels, 0.3, resamples=1, seed=0)
    judged = {name: values.item() for name, values in only.items()}
    assert judged == pytest.approx(by_scikit_learn(scores, labels, 0.3))


def test_intervals_are_those_of_resampling_images_one_by_one():
    scores, labels = overlapping()
    random, rows = np.random.default_rng(1), []
    for _ in range(400):
        drawn = np.r_[random.choice(300, 300), 300 + random.choice(100, 100)]
        rows.append(list(by_scikit_learn(scores[drawn], labels, 0.0).values()))
    slow = np.quantile(rows, [0.025, 0.975], axis=0).T
    fast = bootstrap_intervals(scores, labels, 0.0, resamples=4000)
    for name, interval in zip(by_scikit_learn(scores, labels, 0.0), slow, strict=True):
        assert fast[name] == pytest.approx(tuple(interval), abs=0.02)


def test_the_auroc_interval_covers_the_truth():
    truth, covered = norm.cdf(2 / np.sqrt(2)), 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        scores = np.r_[random.normal(1, 1, 100), random.normal(-1, 1, 100)]
        labels = np.repeat([0, 1], 100)
        low, high = bootstrap_intervals(scores, labels, 0, resamples=300)["auroc"]
        covered += low <= truth <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_intervals_depend_on_the_seed_alone():
    scores, labels = overlapping()
    first = bootstrap_intervals(scores, labels, 0, seed=3)
    assert bootstrap_intervals(scores, labels, 0, seed=3) == first
    order = np.random.default_rng(0).permutation(len(scores))
    assert bootstrap_intervals(scores[order], labels[order], 0, seed=3) == first
    assert bootstrap_intervals(scores, labels, 0, seed=4) != first


def test_batches_of_resamples_give_the_number_asked_for(monkeypatch):
    scores, labels = overlapping()
    monkeypatch.setattr("egan_keras.metrics._COUNTS_PER_BATCH", 1000)
    drawn = resampled_metrics(scores, labels, 0, resamples=101, seed=0)
    assert {values.shape for values in drawn.values()} == {(101,)}


def test_a_perfect_specificity_gets_the_exact_binomial_interval():
    scores, labels = np.r_[np.arange(1.0, 21), -1.0], np.r_[np.zeros(20), 1]
    intervals = bootstrap_intervals(scores, labels, threshold=0)
    # One minus the 20th root of half of the remaining 5 %: Clopper and Pearson.
    assert intervals["specificity"] == pytest.approx((0.025 ** (1 / 20), 1))
    assert intervals["sensitivity"] == pytest.approx((0.025, 1))
    none_found = bootstrap_intervals(scores, labels, threshold=-9)
    assert none_found["sensitivity"] == pytest.approx((0, 0.975))


def test_expected_precision_follows_bayes():
    scores, labels = overlapping()
    metrics = score_metrics(scores, labels, 0.0)
    at_test_ratio = precision_at_prevalence(
        metrics["sensitivity"], metrics["specificity"], prevalence=0.25
    )
    assert at_test_ratio == pytest.approx(metrics["precision"])
    assert precision_at_prevalence(0.0, 1.0, 0.5) == 0
    with pytest.raises(ValueError, match="prevalence is out of range.*prevalence=5"):
        precision_at_prevalence(0.9, 0.9, prevalence=5)


@pytest.mark.parametrize("options", [{"resamples": 0}, {"confidence": 95}])
def test_interval_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="cannot be made.*Received: resamples="):
        bootstrap_intervals([1.0, 2.0], [0, 1], 0, **options)


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        score_metrics([1.0, np.nan], [0, 1], 0)
    with pytest.raises(ValueError, match="not finite"):
        bootstrap_intervals([1.0, np.nan], [0, 1], 0)
