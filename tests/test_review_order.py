import numpy as np
import pytest

from egan_keras.review import FARTHEST, LOWEST, NEAREST, TURNS, order


@pytest.fixture
def some():
    random = np.random.default_rng(0)
    return random.normal(size=50), random.normal(size=(50, 4)), np.empty((0, 4))


def test_each_image_comes_once(some):
    scores, vectors, seen = some
    assert sorted(order(scores, 0.0, vectors, seen)) == list(range(50))
    assert len(order(scores, 0.0, vectors, seen, count=7)) == 7
    assert len(order(scores[:3], 0.0, vectors[:3], seen, count=7)) == 3
    assert order(scores[:0], 0.0, vectors[:0], seen).tolist() == []


@pytest.mark.parametrize("threshold", [-1.0, 0.5])
def test_each_way_alone_gives_its_own_order(some, threshold):
    scores, vectors, seen = some
    by_score = order(scores, threshold, vectors, seen, turns=[LOWEST])
    assert by_score.tolist() == np.argsort(scores).tolist()
    nearest = order(scores, threshold, vectors, seen, turns=[NEAREST])
    assert nearest.tolist() == np.argsort(np.abs(scores - threshold)).tolist()


def test_the_farthest_are_far_from_what_was_seen_and_from_one_another():
    vectors = np.array([[0.0], [1.0], [5.0], [5.1], [-4.0]])
    found = order(np.zeros(5), 0.0, vectors, [[0.0]], turns=[FARTHEST])
    assert found.tolist()[:2] == [3, 4] and found[-1] == 0


def test_what_other_turns_take_counts_as_seen():
    scores, vectors = np.array([-9.0, 0.0, 1.0]), np.array([[5.0], [5.1], [-3.0]])
    found = order(scores, 0.0, vectors, [[0.0]], turns=[LOWEST, FARTHEST])
    assert found.tolist() == [0, 2, 1]


def test_the_usual_turns_begin_with_the_lowest_score_and_have_all_ways(some):
    scores, vectors, seen = some
    assert order(scores, 0.0, vectors, seen)[0] == scores.argmin()
    assert set(TURNS) == {LOWEST, NEAREST, FARTHEST}


def test_what_is_unlike_anything_seen_comes_last(some):
    scores, vectors, seen = some
    is_alien = scores < 0
    found = order(scores, 0.0, vectors, seen, is_alien=is_alien)
    last = found[-is_alien.sum() :]
    assert is_alien[last].all() and (np.diff(scores[last]) >= 0).all()
    every = order(scores, 0.0, vectors, seen, is_alien=scores < 9, count=3)
    assert every.tolist() == np.argsort(scores)[:3].tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vectors": np.zeros((2, 1))}, "3 scores, 2 vectors"),
        ({"is_alien": np.zeros(4, bool)}, "4 in is_alien"),
        ({"turns": ["dearest"]}, "Unknown turn.*Received: 'dearest'"),
    ],
)
def test_what_does_not_match_is_refused(changes, message):
    given = {"scores": np.zeros(3), "threshold": 0.0, "vectors": np.zeros((3, 1))}
    with pytest.raises(ValueError, match=message):
        order(**given | {"seen": np.zeros((0, 1))} | changes)
