"""PatchCore and PaDiM on feature maps."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist, mahalanobis

from egan_keras.baselines import MAP_BASELINES, padim_scores, patchcore_scores

RANDOM = np.random.default_rng(0)


def maps(count, defects=0):
    """Returns maps of two depths; the last images have a defect at row 5, column 2."""
    deep = RANDOM.normal(size=(count, 4, 4, 6)).astype("float16")
    large = RANDOM.normal(size=(count, 8, 8, 4)).astype("float32")
    large[count - defects :, 4:7, 1:4] += 4
    return [deep, large]


@pytest.mark.parametrize("name", MAP_BASELINES)
def test_defects_are_found_where_they_are(name):
    scores, heat = MAP_BASELINES[name](maps(60), maps(20, defects=10))
    assert scores.shape == (20,) and heat.shape == (20, 8, 8)
    assert scores[10:].max() < scores[:10].min()
    rows, columns = np.unravel_index(heat[10:].reshape(10, -1).argmax(axis=1), (8, 8))
    assert ((4 <= rows) & (rows <= 6) & (1 <= columns) & (columns <= 3)).all()


@pytest.mark.parametrize("name", MAP_BASELINES)
def test_a_seed_decides(name):
    train, test = maps(30), maps(5)
    first, again, other = (
        MAP_BASELINES[name](train, test, seed=seed)[0] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    # Ten channels are fewer than PaDiM would choose among.
    assert (first != other).any() == (name == "PatchCore")


def test_patchcore_measures_distances_from_a_coreset_of_places():
    # Of a map of one size and one place nothing is averaged or enlarged but zeros.
    train = [RANDOM.normal(size=(40, 1, 1, 3)).astype("float32")]
    test = [RANDOM.normal(size=(6, 1, 1, 3)).astype("float32")]
    _, heat = patchcore_scores(train, test)
    apart = cdist(test[0].reshape(6, 3), train[0].reshape(40, 3)) / 9
    distances = heat.reshape(6, 1)
    # A coreset of 4 of 40 places: each distance is to one of them, and none is nearer
    # than the nearest of all.
    assert np.isclose(apart, distances, atol=1e-5).any(axis=1).all()
    assert (distances[:, 0] >= apart.min(axis=1) - 1e-5).all()


def test_padim_measures_mahalanobis_distances_at_each_place():
    train = [RANDOM.normal(size=(50, 1, 1, 3)) @ RANDOM.normal(size=(3, 3))]
    test = [RANDOM.normal(size=(6, 1, 1, 3))]
    scores, _ = padim_scores(train, test)
    rows = train[0].reshape(50, 3).astype("float32").astype("float64")
    inverse = np.linalg.inv(np.cov(rows.T) + 0.01 * np.eye(3))
    expected = [mahalanobis(x, rows.mean(0), inverse) for x in test[0].reshape(6, 3)]
    np.testing.assert_allclose(-scores, expected, rtol=1e-4)


@pytest.mark.parametrize("name", MAP_BASELINES)
def test_one_image_gives_finite_scores(name):
    scores, _ = MAP_BASELINES[name](maps(1), maps(3))
    assert np.isfinite(scores).all()
