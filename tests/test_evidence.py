"""Kinds of evidence and their weights."""

import keras
import numpy as np
import pytest

from egan_keras.networks.evidence import WeighedEvidence, drawn_in

SIZE, KINDS = 16, 3
RANDOM = np.random.default_rng(0)
MAJORITY = RANDOM.normal(size=(200, SIZE)).astype("float32")
USUAL_PLACES = RANDOM.normal(size=(200, KINDS)).astype("float32")


def weighed(minority, places, side=300):
    layer = WeighedEvidence(1.5, KINDS, side)
    layer.build((None, SIZE + KINDS))
    layer.adapt(np.hstack([MAJORITY, USUAL_PLACES]))
    layer.weigh(MAJORITY, minority, (USUAL_PLACES, places))
    return layer, keras.ops.convert_to_numpy(layer.weights_of_evidence)[:, 0]


def minority(count, apart=0.0, in_places=0.0):
    vectors = RANDOM.normal(size=(count, 2, SIZE)) + apart
    places = RANDOM.normal(size=(count, 2, KINDS)) + in_places
    return vectors.astype("float32"), places.astype("float32")


def test_the_images_say_whether_places_or_the_whole_decide():
    _, whole = weighed(*minority(8, apart=4.0))
    _, places = weighed(*minority(8, in_places=4.0))
    np.testing.assert_allclose(whole, [1, 0.3, 0, 0, 0], atol=0.02)
    np.testing.assert_allclose(places, [0.6, 0.2, 0.3, 0.3, 1.2], atol=0.02)


def test_few_images_say_less_than_many():
    shares = []
    for count in (1, 4, 16):
        vectors = np.full((count, 1, SIZE), 1.0, "float32")
        same = np.zeros((count, 1, KINDS), "float32")
        shares.append(weighed(vectors, same)[1][2])
    assert 0.3 > shares[0] > shares[1] > shares[2]


def test_small_pictures_are_judged_as_a_whole_unless_images_say_otherwise():
    _, weights = weighed(*minority(2), side=32)
    assert weights[2:].max() < 0.05
    _, weights = weighed(*minority(16, in_places=6.0), side=32)
    assert weights[2:].min() > 0.2


def test_without_minority_images_distances_alone_decide():
    layer, weights = weighed(*minority(0))
    assert weights[[0, 4]].tolist() == [0, 0] and weights[1:4].min() > 0
    rows = np.zeros((2, SIZE + KINDS), "float32")
    rows[1, SIZE] = 5
    scores = keras.ops.convert_to_numpy(layer(rows))[:, 0]
    assert scores[1] < scores[0]


def test_few_majority_images_have_negative_scores():
    layer, _ = weighed(*minority(4))
    rows = np.hstack([MAJORITY, USUAL_PLACES])
    layer.kernel.assign(RANDOM.normal(size=(SIZE, 1)))
    scores = keras.ops.convert_to_numpy(layer(rows))
    assert 0.01 < np.mean(scores < 0) < 0.12


@pytest.mark.parametrize(
    ("evidence", "expected"), [(1.0, 1.0), (-2.5, -2.5), (102.5, 2.5 + np.log(101))]
)
def test_tails_grow_with_their_logarithm(evidence, expected):
    assert float(drawn_in(np.array(evidence))) == pytest.approx(expected)
