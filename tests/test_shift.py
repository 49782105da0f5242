import numpy as np
import pytest

from egan_keras.evaluation import shift
from egan_keras.evaluation.shift import limit


def normal(count, mean=0.0, seed=0):
    return np.random.default_rng(seed).normal(mean, 1, count).astype("float32")


def test_it_warns_as_often_as_said_of_images_drawn_alike():
    found = [
        shift(
            normal(100, seed=k),
            normal(100, seed=k + 1),
            *2 * [normal(80, seed=~k % 9999)],
        )
        for k in range(0, 1000, 2)
    ]
    for warns in ("lowers_scores", "looks_different"):
        assert np.mean([getattr(each, warns)(0.05) for each in found]) < 0.09


def test_it_sees_lower_scores_and_larger_distances_and_not_the_other_way():
    held_out, far, near = normal(100), normal(100, 1, 1), normal(100, -1, 2)
    found = shift(near, far, held_out, held_out)
    assert found.lowers_scores() and found.looks_different()
    found = shift(far, near, held_out, held_out)
    assert not found.lowers_scores() and not found.looks_different()


def test_what_is_twice_as_far_as_known_images_is_unlike_anything_seen():
    held_out, minority = normal(100), [20.0]
    new = np.array([3.0, 19.0, 39.0, 41.0, *np.zeros(30)])
    found = shift(-new, new, held_out, held_out, minority)
    np.testing.assert_array_equal(np.flatnonzero(found.is_alien), [3])
    assert limit(held_out) == 5.0


def test_without_distances_scores_are_compared_alone():
    found = shift(normal(50), None, normal(60, seed=1), None)
    assert found.distance_p is None and not found.is_alien.any()
    assert not found.looks_different() and found.n_reference == 60


@pytest.mark.parametrize(("new", "known"), [(19, 60), (60, 19)])
def test_few_images_are_refused(new, known):
    with pytest.raises(ValueError, match="expected 20 or more. Received: 19"):
        shift(normal(new), None, normal(known), None)
