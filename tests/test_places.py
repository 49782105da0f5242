"""Evidence from places of feature maps."""

import keras
import numpy as np
import pytest

from egan_keras.networks import PlaceEvidence, matched_filter

SIDE, CHANNELS = 8, 12


def maps(count, seed=0, defects=0):
    """Returns maps of two depths, whose rows differ in scale.

    The last ones have a defect each, in both depths.
    """
    random = np.random.default_rng(seed)
    scale = np.linspace(0.2, 2, SIDE)[:, None, None]
    large = scale * random.normal(size=(count, SIDE, SIDE, CHANNELS))
    large[..., 0] *= 5
    small = random.normal(size=(count, SIDE // 2, SIDE // 2, 2 * CHANNELS))
    for image in range(count - defects, count):
        row, column = 2 * random.integers(0, SIDE // 2, 2)
        large[image, row : row + 2, column : column + 2, 3:6] += 3
        small[image, row // 2, column // 2, 3:6] += 5
    return [small.astype("float32"), large.astype("float32")]


def adapted(majority, minority):
    layer = PlaceEvidence()
    layer.build([each.shape for each in majority])
    layer.adapt(majority, minority)
    return layer


def few(count):
    return maps(count, seed=1, defects=count)


def test_defects_are_unlike_the_majority_and_like_other_defects():
    layer = adapted(maps(80), few(3))
    evidence = layer.evidence(maps(40, seed=2, defects=20))
    usual, defective = evidence[:20], evidence[20:]
    assert (defective > np.quantile(usual, 0.95, axis=0)).mean(axis=0).min() > 0.6


def test_new_majority_images_are_about_as_usual_as_those_held_out():
    evidence = adapted(maps(200), few(2)).evidence(maps(200, seed=3))
    np.testing.assert_allclose(evidence.mean(axis=0), 0, atol=0.3)
    np.testing.assert_allclose(evidence.std(axis=0), 1, atol=0.3)


def test_without_minority_images_nothing_is_like_them():
    layer = adapted(maps(40), few(0))
    evidence = layer.evidence(maps(10, seed=2))
    assert np.ptp(evidence[:, :2], axis=0).min() > 0
    np.testing.assert_array_equal(evidence[:, 2], 0)


@pytest.mark.parametrize(
    "majority",
    [
        maps(1),
        [np.repeat(each, 9, axis=0) for each in maps(1)],
        [np.zeros((5, 1, 1, 3), "float32")],
    ],
    ids=["one image", "one image many times", "one place, always 0"],
)
def test_what_tells_little_gives_finite_evidence(majority):
    layer = adapted(majority, [each[:1] for each in majority])
    evidence = layer.evidence(majority)
    assert evidence.shape == (len(majority[0]), len(majority) + 1)
    assert np.isfinite(evidence).all()


def test_the_most_telling_place_is_where_the_defect_is():
    layer = adapted(maps(80), few(3))
    small, large = maps(1, seed=5)
    large[0, 6:8, 2:4, 3:6] += 4
    small[0, 3, 1, 3:6] += 4
    for kind in layer.heat([small, large]):
        kind = keras.ops.convert_to_numpy(kind)[0]
        row, column = np.unravel_index(kind.argmax(), kind.shape)
        side = SIDE // len(kind)
        assert (row * side // 2, column * side // 2) == (3, 1)


def test_an_image_is_judged_by_the_mean_of_its_three_highest_places():
    layer, new = adapted(maps(80), few(3)), maps(6, seed=4)
    kinds = [keras.ops.convert_to_numpy(kind) for kind in layer.heat(new)]
    highest = [np.sort(kind.reshape(6, -1))[:, -3:].mean(axis=1) for kind in kinds]
    np.testing.assert_allclose(
        layer.evidence(new), np.transpose(highest), rtol=1e-3, atol=1e-3
    )


def test_minority_images_are_judged_by_filters_that_have_not_seen_them():
    minority = [np.concatenate([own, own[:, :, ::-1]]) for own in few(6)]
    layer = PlaceEvidence()
    layer.build([each.shape for each in minority])
    held_out = layer.adapt(maps(80), minority, views=2)
    seen = layer.evidence(minority)[:, 2]
    assert held_out.shape == (12,) and held_out.mean() < seen.mean()
    assert held_out.mean() > 2
    # An image that is like no other is like them by its own filter alone.
    alone = [each.copy() for each in minority]
    for own, usual in zip(alone, maps(1, seed=9), strict=True):
        own[[0, 6]] = usual
        own[[0, 6], -1, -1, 7:9] += 9
    assert layer.adapt(maps(80), alone, views=2)[[0, 6]].max() < 2
    assert len(layer.adapt(maps(80), few(1))) == 0


@pytest.mark.parametrize("count", [0, 1, 4])
def test_what_was_seen_before_leaves_nothing(count):
    """Neither another minority nor other weights, with the same or another majority."""
    expected = adapted(maps(40), few(count))
    for majority in (maps(40), maps(40, seed=5)):
        layer = adapted(majority, few(3))
        layer.set_weights([each + 1 for each in layer.get_weights()])
        layer.adapt(maps(40), few(count))
        for ours, theirs in zip(layer.weights, expected.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=ours.path)


def test_filtering_first_is_filtering_joined_maps():
    """What the layer does to one channel is what was fitted on all of them."""
    layer, new = adapted(maps(60), few(3)), maps(5, seed=4)
    ((_, joined),) = matched_filter._joined(new)
    filters = [keras.ops.convert_to_numpy(each) for each in layer._filters]
    expected = joined @ np.concatenate(filters)
    found = keras.ops.convert_to_numpy(layer._like(new)).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_it_is_saved(tmp_path):
    layer = PlaceEvidence()
    images = [keras.Input(each.shape[1:]) for each in maps(1)]
    model = keras.Model(images, layer(images))
    layer.adapt(maps(40), few(2))
    model.save(tmp_path / "places.keras")
    loaded = keras.saving.load_model(tmp_path / "places.keras")
    new = maps(5, seed=4)
    np.testing.assert_array_equal(loaded(new), model(new))
