import json
import tracemalloc

import numpy as np
import pytest
from scipy.stats import binom, norm

from egan_keras.thresholds import Calibration, by_hand, calibrate, images_needed


def majority_labels(n):
    return np.zeros(n, int)


def overlapping(seed=0, n=200):
    """Scores of n majority images around 1 and n minority images around -1."""
    random = np.random.default_rng(seed)
    scores = np.r_[random.normal(1, 1, n), random.normal(-1, 1, n)]
    return scores.astype("float32"), np.r_[np.zeros(n, int), np.ones(n, int)]


@pytest.mark.parametrize("level, needed", [(0.95, 59), (0.99, 299), (0.999, 2995)])
def test_the_needed_number_of_images_is_the_published_one(level, needed):
    assert images_needed(level) == needed
    calibrate(np.arange(float(needed)), majority_labels(needed), specificity=level)
    with pytest.raises(ValueError, match=f"at least {needed}. Received: majority"):
        calibrate(
            np.arange(needed - 1.0), majority_labels(needed - 1), specificity=level
        )


@pytest.mark.parametrize("level", [0.1, 0.5, 0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("confidence", [0.5, 0.75, 0.9, 0.95, 0.99])
def test_the_needed_number_is_the_smallest_that_calibrate_accepts(level, confidence):
    needed = images_needed(level, confidence)
    options = {"specificity": level, "confidence": confidence}
    scores = np.arange(float(needed))
    assert np.isfinite(calibrate(scores, scores * 0, **options).threshold)
    with pytest.raises(ValueError, match="Too few|do not match"):
        calibrate(scores[1:], scores[1:] * 0, **options)


@pytest.mark.parametrize("n", [59, 92, 93, 100, 487, 1000, 5000])
def test_the_threshold_is_that_of_the_umbrella_algorithm(n):
    ranks = np.arange(1, n + 1)
    k = ranks[binom.cdf(ranks - 1, n, 0.05) <= 0.05].max()
    shuffled = np.random.default_rng(n).permutation(ranks).astype("float32")
    threshold = calibrate(shuffled, majority_labels(n), specificity=0.95).threshold
    assert k - 1 < threshold < k


@pytest.mark.parametrize("n", [59, 100, 1000])
def test_the_specificity_guarantee_holds_at_its_level(n):
    random, draws = np.random.default_rng(n), 2000
    thresholds = [
        calibrate(random.normal(size=n), majority_labels(n), specificity=0.95).threshold
        for _ in range(draws)
    ]
    violations = np.sum(norm.cdf(thresholds) > 0.05)
    assert violations <= binom.isf(1e-4, draws, 0.05)
    # The threshold lies above the order statistic below the best one, so that its rate
    # is higher than that one's.
    ranks = np.arange(1, n + 1)
    exact = binom.cdf(ranks - 1, n, 0.05)
    below = binom.cdf(ranks[exact <= 0.05].max() - 2, n, 0.05)
    assert violations >= binom.ppf(1e-4, draws, below)


@pytest.mark.parametrize("n", [29, 200])
def test_the_sensitivity_guarantee_holds_at_its_level(n):
    random, draws = np.random.default_rng(n), 1000
    labels = np.r_[np.ones(n, int), 0]
    thresholds = [
        calibrate(np.r_[random.normal(size=n), 9], labels, sensitivity=0.9).threshold
        for _ in range(draws)
    ]
    violations = np.sum(norm.cdf(thresholds) < 0.9)
    assert violations <= binom.isf(1e-4, draws, 0.05)
    assert violations > 0.01 * draws


def test_specificity_ignores_minority_images():
    scores, labels = overlapping()
    both = calibrate(scores, labels, specificity=0.95)
    alone = calibrate(scores[labels == 0], labels[labels == 0], specificity=0.95)
    assert both == alone


def test_ties_are_on_the_safe_side():
    scores = np.repeat(np.float32([0.1, 0.7, 0.9]), 100)
    specific = calibrate(scores, majority_labels(300), specificity=0.6)
    assert np.mean(scores < specific.threshold) <= 0.4
    labels = np.r_[np.ones(300, int), 0]
    sensitive = calibrate(np.r_[scores, scores[:1]], labels, sensitivity=0.6)
    assert np.mean(scores < sensitive.threshold) >= 0.6
    assert sensitive.threshold == pytest.approx(0.8)
    assert specific.threshold == pytest.approx(0.4)


@pytest.mark.parametrize("n", [3, 20, 100])
def test_without_confidence_the_quantile_is_the_plain_one(n):
    scores = np.random.default_rng(n).normal(size=n).astype("float32")
    specific = calibrate(scores, majority_labels(n), specificity=0.9, confidence=None)
    assert np.mean(scores >= specific.threshold) >= 0.9
    assert np.mean(scores > specific.threshold) <= 0.9 + 1 / n + 1e-9
    labels = np.r_[np.ones(n, int), 0]
    sensitive = calibrate(
        np.append(scores, np.float32(5)), labels, sensitivity=0.9, confidence=None
    )
    assert 0.9 <= np.mean(scores < sensitive.threshold) < 0.9 + 1 / n + 1e-9
    assert specific.guarantee.startswith("No guarantee: at least 90% of the")


@pytest.mark.parametrize("criterion", ["f1", "youden"])
@pytest.mark.parametrize("seed", range(5))
def test_a_criterion_takes_the_best_of_all_thresholds(criterion, seed):
    scores, labels = overlapping(seed, n=40)
    scores = np.round(scores, 1)

    def quality(threshold):
        called = scores < threshold
        found, false_alarms = np.sum(called & (labels == 1)), np.sum(called[:40])
        if criterion == "f1":
            return 2 * found / (found + false_alarms + 40)
        return found / 40 - false_alarms / 40

    calibration = calibrate(scores, labels, criterion=criterion)
    candidates = np.append(np.unique(scores), np.inf)
    assert quality(calibration.threshold) == max(map(quality, candidates))
    assert calibration.guarantee.startswith("No guarantee")


def test_a_criterion_does_not_cut_between_scores_that_rounding_exchanges():
    low = np.float32(1)
    scores = np.float32([low, np.nextafter(low, np.float32(2)), 3])
    assert calibrate(scores, [1, 0, 0], criterion="f1").threshold == pytest.approx(2)


TARGETS = (
    {"specificity": 0.9},
    {"specificity": 0.9, "confidence": None},
    {"specificity": 0.985},
    {"sensitivity": 0.9},
    {"sensitivity": 0.9, "confidence": None},
    {"sensitivity": 0.985},
    {"criterion": "f1"},
    {"criterion": "youden"},
)


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("spread", [1e-3, 1, 300])
@pytest.mark.parametrize("offset", [0, 40])
def test_no_threshold_lies_within_rounding_of_a_score(target, spread, offset):
    """Scores of another runtime, off by what parity allows, give the same decisions."""
    for seed in range(10):
        scores, labels = overlapping(seed)
        scores = (spread * (scores + offset)).astype("float32")
        # The same image twice is scored with other last digits.
        scores[20:40] = np.nextafter(scores[:20], np.float32(np.inf))
        threshold = calibrate(scores, labels, **target).threshold
        noise = np.random.default_rng(seed).uniform(-1, 1, len(scores))
        rounded = scores + (1e-4 * scores.std() / 2 * noise).astype("float32")
        np.testing.assert_array_equal(rounded < threshold, scores < threshold)


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("value", [0, -2.5, 1e6])
def test_equal_scores_are_decided_alike_everywhere(target, value):
    scores, labels = np.full(400, value, "float32"), np.repeat([0, 1], 200)
    threshold = np.float32(calibrate(scores, labels, **target).threshold)
    assert (scores < threshold).all() or (scores > threshold).all()
    assert not np.isclose(threshold, value, rtol=1e-7, atol=0)


def test_the_other_class_is_not_cut_through_either():
    scores = np.float32([*range(100), 4.5])
    for label in (0, 1):
        labels = np.r_[np.zeros(100), label]
        threshold = calibrate(scores, labels, specificity=0.9).threshold
        assert np.abs(scores - threshold).min() > 0.1


def test_a_million_scores_keep_the_level():
    scores = np.random.default_rng(0).normal(size=1_000_000).astype("float32")
    threshold = calibrate(scores, scores * 0, specificity=0.95).threshold
    assert 0.95 <= np.mean(scores >= threshold) < 0.9525


def test_a_criterion_cuts_halfway_between_neighbouring_scores():
    scores, labels = np.float32([-3, -1, 2, 5]), [1, 1, 0, 0]
    assert calibrate(scores, labels, criterion="youden").threshold == 0.5


def test_a_criterion_can_call_everything_or_nothing_minority():
    everything = calibrate([1.0, 2.0, 3.0], [0, 1, 1], criterion="f1").threshold
    assert everything > 3
    nothing = calibrate([1.0, 2.0, 3.0], [0, 0, 1], criterion="youden").threshold
    assert nothing <= 1


def test_a_large_calibration_set_needs_little_memory():
    n = 200_000
    scores, labels = np.arange(float(n)), majority_labels(n)
    tracemalloc.start()
    calibrate(scores, labels, specificity=0.999)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * scores.nbytes


def test_a_calibration_survives_json():
    scores, labels = overlapping()
    for target in ({"specificity": 0.95}, {"sensitivity": 0.9}, {"criterion": "f1"}):
        calibration = calibrate(scores[:, None], labels, **target)
        copy = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
        assert copy == calibration


def test_the_guarantee_is_one_plain_sentence():
    calibration = calibrate(np.arange(487.0), majority_labels(487), specificity=0.95)
    assert calibration.guarantee == (
        "At least 95% of majority images score at or above the threshold, with 95% "
        "confidence (487 held-out majority images)."
    )


@pytest.mark.parametrize("targets", [{}, {"specificity": 0.9, "criterion": "f1"}])
def test_exactly_one_target_is_wanted(targets):
    with pytest.raises(ValueError, match="exactly one target.*Received: .*pass spec"):
        calibrate([1.0, 2.0], [0, 1], **targets)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"specificity": 95}, "between 0 and 1.*Received: specificity=95"),
        ({"sensitivity": 0.0}, "between 0 and 1.*Received: sensitivity=0.0"),
        ({"specificity": 0.5, "confidence": 1}, "Received: confidence=1"),
        ({"criterion": "f2"}, "expected one of f1, youden. Received: criterion='f2'"),
        ({"sensitivity": 0.9}, "at least 29. Received: minority.*confidence=None"),
    ],
)
def test_a_target_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        calibrate([1.0, 2.0, 3.0], [0, 0, 1], **options)


@pytest.mark.parametrize("options", [{"sensitivity": 0.9}, {"criterion": "youden"}])
def test_targets_that_need_both_classes_say_so(options):
    with pytest.raises(ValueError, match="both classes. Received: majority images=2"):
        calibrate([1.0, 2.0], [0, 0], **options)


@pytest.mark.parametrize(
    "scores, labels, message",
    [
        ([1.0, np.nan], [0, 0], "not finite.*Received: NaN or infinite scores=1 of 2"),
        ([1.0, np.inf], [0, 0], "not finite"),
        ([1.0, 2.0], [0, 2], r"neither 0 nor 1.*Received: labels=\[2\]"),
        ([1.0, 2.0], [0], "do not match.*Received: scores=2, labels=1"),
        ([], [], "do not match.*Received: scores=0"),
        ([[1.0, 2.0]], [0], r"wrong shape.*Received: scores.shape=\(1, 2\)"),
    ],
)
def test_unusable_scores_and_labels_are_refused(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        calibrate(scores, labels, specificity=0.5, confidence=0.5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("miss", "prevalence"), [(1, 0.5), (10, 0.1), (100, 0.001)])
def test_the_threshold_by_cost_is_the_cheapest_of_all(seed, miss, prevalence):
    scores, labels = overlapping(seed)

    def cost(threshold):
        called = scores < threshold
        missed, alarms = 1 - called[labels == 1].mean(), called[labels == 0].mean()
        return miss * prevalence * missed + 2 * (1 - prevalence) * alarms

    costs = {"miss_cost": miss, "false_alarm_cost": 2, "prevalence": prevalence}
    found = calibrate(scores, labels, **costs)
    cuts = [-np.inf, *np.sort(scores) + 1e-9]
    assert cost(found.threshold) == pytest.approx(min(map(cost, cuts)))
    assert f"{min(map(cost, cuts)):.4g} an image" in found.guarantee
    assert found.costs == costs and calibrate(scores, labels, **found.wish) == found
    assert Calibration.from_dict(found.to_dict()) == found


def test_a_threshold_by_cost_may_call_all_or_none():
    scores, labels = overlapping()
    cheap, dear = (
        calibrate(scores, labels, miss_cost=cost, prevalence=0.01).threshold
        for cost in (1e-6, 1e6)
    )
    assert cheap < scores[labels == 0].min() and dear > scores[labels == 1].max()


def test_a_threshold_by_hand_is_kept_and_guarantees_nothing():
    found = calibrate([1.0], [0], threshold=-2.5)
    assert found == by_hand(-2.5) and found.threshold == -2.5
    assert found.guarantee.startswith("No guarantee") and found.confidence is None
    assert calibrate(*overlapping(), **found.wish) == found


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        ({"miss_cost": 0, "prevalence": 0.1}, "above 0. Received: miss_cost=0"),
        ({"miss_cost": 1, "false_alarm_cost": -1, "prevalence": 0.1}, "cost=-1"),
        ({"miss_cost": 1}, "Received: prevalence=None. For 1% pass"),
        ({"miss_cost": 1, "prevalence": 1.5}, "Received: prevalence=1.5"),
    ],
)
def test_costs_that_cannot_be_are_refused(costs, message):
    with pytest.raises(ValueError, match=message):
        calibrate(*overlapping(), **costs)
