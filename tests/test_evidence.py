"""Kinds of evidence and their weights."""

import keras
import numpy as np
import pytest

from egan_keras.networks.evidence import WeighedEvidence, drawn_in

SIZE, KINDS = 16, 3
RANDOM = np.random.default_rng(0)
MAJORITY = RANDOM.normal(size=(200, SIZE)).astype("float32")
USUAL_PLACES = RANDOM.normal(size=(200, KINDS)).astype("float32")


def weighed(n_minority, side=300, apart=0.0, like=0.0):
    """Returns a layer, and its weights after minority images in two views."""
    layer = WeighedEvidence(1.5, KINDS, side)
    layer.build((None, SIZE + KINDS))
    layer.adapt(np.hstack([MAJORITY, USUAL_PLACES]))
    minority = RANDOM.normal(size=(2 * n_minority, SIZE)) + apart
    held_out = np.full(2 * n_minority, like)
    layer.weigh(n_minority, MAJORITY, minority, USUAL_PLACES, held_out)
    return layer, keras.ops.convert_to_numpy(layer.weights_of_evidence)[:, 0]


def test_images_say_whether_places_or_the_whole_decide():
    _, whole = weighed(10, apart=4.0)
    _, places = weighed(10, like=4.0)
    assert whole[4] < 0.5 < 1.4 < places[4]
    assert whole[0] > 0.85 > 0.65 > places[0]


def test_two_images_say_nothing_and_few_less_than_many():
    assert weighed(2, apart=4.0)[1][4] == weighed(2, like=4.0)[1][4]
    weights = [weighed(count, apart=4.0)[1][4] for count in (2, 4, 16)]
    assert weights[0] > weights[1] > weights[2]


def test_what_is_learned_from_others_is_high_for_what_they_share():
    layer, _ = weighed(2)
    minority = RANDOM.normal(size=(12, SIZE))
    minority[:, 0] += 6
    odd = minority.copy()
    odd[[5, 11], 0] -= 12
    assert layer._learned_from_others(minority, 6).min() > 2
    assert layer._learned_from_others(odd, 6)[[5, 11]].max() < -2


def test_small_pictures_are_judged_as_wholes():
    _, large = weighed(2)
    _, small = weighed(2, side=32)
    assert large[4] > large[0] > large[2:4].max() > 0
    np.testing.assert_allclose(small, [1, 0.75, 0, 0, 0], atol=0.02)


def test_distance_counts_less_the_more_minority_images_there_are():
    weights = [weighed(count)[1][1] for count in (1, 4, 16)]
    assert weights[0] > weights[1] > weights[2]


def test_without_minority_images_distances_alone_decide():
    layer, weights = weighed(0)
    assert weights[[0, 4]].tolist() == [0, 0] and weights[1:4].min() > 0
    rows = np.zeros((2, SIZE + KINDS), "float32")
    rows[1, SIZE] = 5
    scores = keras.ops.convert_to_numpy(layer(rows))[:, 0]
    assert scores[1] < scores[0]


def test_few_majority_images_have_negative_scores():
    layer, _ = weighed(4)
    rows = np.hstack([MAJORITY, USUAL_PLACES])
    layer.kernel.assign(RANDOM.normal(size=(SIZE, 1)))
    scores = keras.ops.convert_to_numpy(layer(rows))
    assert 0.01 < np.mean(scores < 0) < 0.12


@pytest.mark.parametrize(
    ("evidence", "expected"), [(1.0, 1.0), (-2.5, -2.5), (102.5, 2.5 + np.log(101))]
)
def test_tails_grow_with_their_logarithm(evidence, expected):
    assert float(drawn_in(np.array(evidence))) == pytest.approx(expected)
