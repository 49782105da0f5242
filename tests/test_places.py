"""Evidence from places of feature maps."""

import keras
import numpy as np
import pytest

from egan_keras.networks import PlaceEvidence

SIDE, CHANNELS = 8, 12


def maps(count, seed=0, defects=0):
    """Returns maps whose rows differ in scale; the last ones have a defect each."""
    random = np.random.default_rng(seed)
    scale = np.linspace(0.2, 2, SIDE)[:, None, None]
    found = scale * random.normal(size=(count, SIDE, SIDE, CHANNELS))
    found[..., 0] *= 5
    for image in range(count - defects, count):
        row, column = random.integers(0, SIDE - 1, 2)
        found[image, row : row + 2, column : column + 2, 3:6] += 3
    return found.astype("float32")


def adapted(majority, minority):
    layer = PlaceEvidence()
    layer.build(majority.shape)
    layer.adapt(majority, minority)
    return layer


def few(count):
    return maps(count, seed=1, defects=count)[:, None]


def test_defects_are_unlike_the_majority_and_like_other_defects():
    layer = adapted(maps(80), few(3))
    evidence = layer.evidence(maps(40, seed=2, defects=20))
    usual, defective = evidence[:20], evidence[20:]
    assert (defective > np.quantile(usual, 0.95, axis=0)).mean(axis=0).min() > 0.7


def test_new_majority_images_are_about_as_usual_as_those_held_out():
    evidence = adapted(maps(200), few(2)).evidence(maps(200, seed=3))
    np.testing.assert_allclose(evidence.mean(axis=0), 0, atol=0.3)
    np.testing.assert_allclose(evidence.std(axis=0), 1, atol=0.3)


def test_without_minority_images_nothing_is_like_them():
    layer = adapted(maps(40), few(0))
    evidence = layer.evidence(maps(10, seed=2))
    assert np.ptp(evidence[:, 0]) > 0
    np.testing.assert_array_equal(evidence[:, 1], 0)


@pytest.mark.parametrize(
    "majority",
    [maps(1), np.repeat(maps(1), 9, axis=0), np.zeros((5, 1, 1, 3), "float32")],
    ids=["one image", "one image many times", "one place, always 0"],
)
def test_what_tells_little_gives_finite_evidence(majority):
    layer = adapted(majority, majority[:1, None])
    assert np.isfinite(layer.evidence(majority)).all()


def test_the_most_telling_place_is_where_the_defect_is():
    layer = adapted(maps(80), few(3))
    image = maps(1, seed=5)
    image[0, 6:8, 2:4, 3:6] += 4
    for kind in layer.place_evidence(image):
        place = int(keras.ops.argmax(kind[0]))
        assert place // SIDE in (6, 7) and place % SIDE in (2, 3)


def test_it_is_saved(tmp_path):
    layer = PlaceEvidence()
    images = keras.Input((SIDE, SIDE, CHANNELS))
    model = keras.Model(images, layer(images))
    layer.adapt(maps(40), few(2))
    model.save(tmp_path / "places.keras")
    loaded = keras.saving.load_model(tmp_path / "places.keras")
    new = maps(5, seed=4)
    np.testing.assert_array_equal(loaded(new), model(new))
