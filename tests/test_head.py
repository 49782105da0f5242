import keras
import numpy as np
import pytest
from sklearn.covariance import LedoitWolf, ledoit_wolf_shrinkage

from egan_keras.networks import MajorityAwareScore, MajorityStandardization
from egan_keras.networks.majority import _ledoit_wolf_shrinkage


@pytest.fixture
def majority():
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(12, 12))
    features = generator.normal(size=(400, 12)) @ mixing
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    return features.astype("float32")


def adapted(majority, minority_count=2, distance_weight=0.35, rank=64):
    layer = MajorityAwareScore(distance_weight, rank)
    layer.build((None, majority.shape[1]))
    layer.adapt(majority)
    layer.weigh(minority_count, majority, np.zeros((minority_count, 1)))
    return layer


def scores(layer, features, **kwargs):
    return keras.ops.convert_to_numpy(layer(features, **kwargs))[:, 0]


def test_training_sees_the_linear_layer_alone(majority):
    layer = adapted(majority)
    layer.kernel.assign(np.full((12, 1), 0.5))
    layer.bias.assign([0.25])
    expected = majority @ np.full(12, 0.5) + 0.25
    np.testing.assert_allclose(
        scores(layer, majority, training=True), expected, atol=1e-5
    )


def test_distance_is_ledoit_wolfs_mahalanobis_where_few_directions_are_left(majority):
    layer = adapted(majority)
    # Three leading directions of twelve; the others share one variance.
    covariance = LedoitWolf(assume_centered=True).fit(majority).covariance_
    variances, vectors = np.linalg.eigh(covariance)
    variances[:-3] = variances[:-3].mean()
    inverse = vectors / variances @ vectors.T
    expected = np.sqrt(np.einsum("ni,ij,nj->n", majority, inverse, majority))
    distance = keras.ops.convert_to_numpy(layer._distance(majority))[:, 0]
    np.testing.assert_allclose(distance, expected, rtol=1e-3)


def test_linear_part_has_deviation_one_over_the_majority(majority):
    layer = adapted(majority, distance_weight=0.0)
    layer.kernel.assign(np.random.default_rng(1).normal(size=(12, 1)))
    assert 0.8 < scores(layer, majority).std() < 1.25


def test_few_of_the_majority_are_below_zero(majority):
    layer = adapted(majority)
    layer.kernel.assign(np.random.default_rng(1).normal(size=(12, 1)))
    assert 0.01 < np.mean(scores(layer, majority) < 0) < 0.12


def test_what_is_unlike_the_majority_scores_lower(majority):
    layer = adapted(majority)
    assert scores(layer, 3 * majority).mean() < scores(layer, majority).mean() - 0.5


def test_distance_counts_less_the_more_minority_images_there_are(majority):
    weights = [float(adapted(majority, count).weight) for count in (1, 4, 500)]
    np.testing.assert_allclose(weights, [0.35 / 1.25, 0.175, 0.35 / 126], atol=1e-6)


def test_before_adapting_it_knows_that_it_has_not(majority):
    layer = MajorityAwareScore(0.35)
    layer.build((None, 12))
    assert not layer.is_adapted and adapted(majority).is_adapted


def test_fewer_images_than_features_stay_finite():
    features = np.random.default_rng(0).normal(size=(20, 300)).astype("float32")
    assert np.isfinite(scores(adapted(features), 5 * features)).all()


def test_small_majority_is_not_taken_for_typical_of_itself():
    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(200, 200)) / np.sqrt(200)
    seen, unseen = generator.normal(size=(2, 80, 200)) @ mixing
    layer = adapted(seen.astype("float32"))
    assert np.mean(scores(layer, unseen.astype("float32")) >= 0) > 0.7


def test_the_order_of_the_majority_does_not_matter():
    generator = np.random.default_rng(0)
    centres = np.repeat(3 * generator.normal(size=(10, 200)), 20, axis=0)
    features = (centres + generator.normal(size=(200, 200))).astype("float32")
    in_order = float(adapted(features).distance_mean)
    shuffled = float(adapted(generator.permutation(features)).distance_mean)
    assert abs(in_order - shuffled) < 0.1 * shuffled


@pytest.mark.parametrize("shape", [(50, 20), (20, 50), (3, 40), (1, 5)])
@pytest.mark.filterwarnings("ignore:Only one sample")
def test_shrinkage_is_that_of_scikit_learn(shape):
    count, size = shape
    sample = np.random.default_rng(0).normal(size=shape) * np.arange(1, size + 1)
    products = sample.T @ sample if count > size else sample @ sample.T
    total = np.vdot(sample, sample) / count
    assert _ledoit_wolf_shrinkage(sample, products / count, total) == pytest.approx(
        ledoit_wolf_shrinkage(sample, assume_centered=True)
    )


def test_statistics_of_many_batches_are_those_of_all_rows():
    rows = np.random.default_rng(0).normal(1e4, 1, (2500, 3)).astype("float32")
    layer = MajorityStandardization()
    layer.build((None, 3))
    layer.adapt(rows)
    exact = rows.astype("float64")
    deviation = exact.std(axis=0)
    floor = 0.3 * deviation.mean()
    np.testing.assert_allclose(layer.mean, exact.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(layer.deviation, np.hypot(deviation, floor), rtol=1e-6)
