import keras
import numpy as np
import pytest
import tensorflow as tf

from egan_keras import features
from egan_keras.backbones import Backbone, cut
from egan_keras.data import labelled_batches
from egan_keras.networks import MajorityStandardization, PlaceEvidence

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def stem():
    network = Backbone("MobileNet", {"alpha": 0.25}).build(32, weights=None)
    return cut(network, 5)[0]


def batches(n=10, minority=(2, 7), size=4):
    images = np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), "uint8")
    labels = np.isin(np.arange(n), minority).astype("int32")
    return images, labels, labelled_batches(images, labels, batch_size=size)


def test_by_class_keeps_majority_features_and_minority_images_in_order(stem, capsys):
    images, labels, labelled = batches()
    majority, minority = features.by_class(labelled, features.StemFunction(stem))
    expected = keras.ops.convert_to_numpy(
        stem(images[labels == 0].astype("float32"), training=False)
    )
    np.testing.assert_allclose(majority[0], expected, atol=1e-5)
    np.testing.assert_array_equal(minority[0], images[labels == 1])
    printed = capsys.readouterr().out
    assert "Computing frozen features" in printed and "8 majority images" in printed


def test_silence_is_silent(stem, capsys):
    _, _, labelled = batches()
    features.by_class(labelled, features.StemFunction(stem), verbose=0)
    assert capsys.readouterr().out == ""


def test_a_missing_class_gives_no_rows(stem):
    _, _, labelled = batches(minority=())
    majority, minority = features.by_class(
        labelled, features.StemFunction(stem), verbose=0
    )
    assert len(majority[0]) == 10 and len(minority[0]) == 0


def test_frozen_dropout_stays_off():
    network = Backbone("EfficientNetB0").build(32, weights=None)
    compute = features.StemFunction(cut(network, 5)[0])
    images = np.full((2, 32, 32, 3), 100, "uint8")
    for first, second in zip(compute(images), compute(images), strict=True):
        np.testing.assert_array_equal(first, second)


def test_several_frontier_tensors_are_several_arrays():
    network = Backbone("DenseNet121").build(32, weights=None)
    stem, _ = cut(network, len(network.layers) - 422)
    _, _, labelled = batches()
    arrays, labels = features.labelled(labelled, features.StemFunction(stem))
    assert len(arrays) == 2 and all(len(array) == 10 for array in arrays)
    assert labels.sum() == 2


def test_training_batches_pass_over_the_majority_once_and_repeat_the_minority():
    majority, minority = [np.arange(10.0)[:, None]], [np.array([[100.0], [101.0]])]
    dataset, _ = features.training_dataset(
        majority, minority, minority, batch_size=4, minority_batch_size=3
    )
    steps = list(dataset.as_numpy_iterator())
    assert [len(step[0]) for step in steps] == [4, 4, 2]
    assert sorted(np.concatenate([step[0] for step in steps])[:, 0]) == list(range(10))
    assert all(len(step[1]) == 3 and step[1].min() >= 100 for step in steps)


def test_each_pass_over_the_majority_has_an_order_of_its_own():
    majority, minority = [np.arange(30.0)[:, None]], [np.array([[100.0], [101.0]])]
    dataset, _ = features.training_dataset(
        majority, minority, minority, batch_size=7, minority_batch_size=3
    )
    batches = dataset.repeat().take(10).as_numpy_iterator()
    rows = np.concatenate([batch[0][:, 0] for batch in batches])
    first, second = rows[:30], rows[30:]
    assert sorted(first) == sorted(second) == list(range(30))
    assert list(first) != list(second) and list(first) != list(range(30))


def test_without_shuffling_rows_come_in_their_order():
    majority, minority = [np.arange(6.0)[:, None]], [np.array([[100.0]])]
    dataset, _ = features.training_dataset(
        majority, minority, minority, batch_size=4, minority_batch_size=1, shuffle=False
    )
    batches = [batch[0][:, 0].tolist() for batch in dataset.as_numpy_iterator()]
    assert batches == [[0, 1, 2, 3], [4, 5]]


def test_as_published_every_step_has_all_minority_images():
    majority, minority = [np.arange(10.0)[:, None]], [np.array([[100.0], [101.0]])]
    dataset, _ = features.training_dataset(
        majority, minority, minority, batch_size=4, minority_batch_size=None
    )
    for _, batch, known in dataset.as_numpy_iterator():
        np.testing.assert_array_equal(batch, minority[0])
        np.testing.assert_array_equal(known, minority[0])


def test_many_known_minority_images_come_in_batches_of_the_majoritys_size():
    majority, minority = [np.arange(9.0)[:, None]], [np.arange(10.0)[:, None]]
    dataset, _ = features.training_dataset(
        majority, minority, minority, batch_size=3, minority_batch_size=2
    )
    for _, batch, known in dataset.as_numpy_iterator():
        assert len(batch) == 2 and len(known) == 3


def test_labelled_batches_keep_their_order():
    arrays = [np.arange(5.0)[:, None], np.arange(5.0)[:, None] * 2]
    dataset = features.labelled_dataset(arrays, np.arange(5) % 2, batch_size=2)
    (first, second), labels = next(iter(dataset.skip(1)))
    assert first[0] == 2 and second[0] == 4 and list(labels.numpy()) == [0, 1]


def test_a_small_majority_is_passed_over_several_times_in_an_epoch():
    majority, minority = [np.arange(10.0)[:, None]], [np.array([[100.0]])]
    dataset, _ = features.training_dataset(
        majority,
        minority,
        minority,
        batch_size=4,
        minority_batch_size=1,
        minimum_steps=7,
    )
    steps = list(dataset.as_numpy_iterator())
    assert [len(step[0]) for step in steps] == [4] * 7
    drawn = np.concatenate([step[0] for step in steps])[:, 0]
    assert np.bincount(drawn.astype(int)).tolist().count(3) >= 8


def test_a_dataset_gives_the_majority_that_arrays_give(stem):
    images = np.random.default_rng(0).integers(0, 256, (90, 32, 32, 3), "uint8")
    images[50:60] = images[:10]
    labels = np.arange(90) % 9 == 0
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    given = labelled_batches(images, labels, batch_size=8), labelled_batches(dataset)
    compute = features.StemFunction(stem).recognising
    found = [features.by_class(each, compute, verbose=0)[0] for each in given]
    (vectors, hashes), (others, again) = found
    np.testing.assert_allclose(vectors, others, atol=1e-5)
    np.testing.assert_array_equal(hashes, again)
    sample = hashes[features.of_least_hashes(hashes, 20)]
    assert len(np.unique(sample)) == len(sample) == 20


@pytest.fixture
def judging_stem():
    """A stem whose maps are judged: the pixels of images, averaged by two."""
    images = keras.Input((8, 8, 3))
    maps = keras.layers.AveragePooling2D(2)(images)
    vector = MajorityStandardization()(keras.layers.Flatten()(maps))
    row = keras.layers.Concatenate()([vector, PlaceEvidence()([maps])])
    return features.StemFunction(keras.Model(images, row))


@pytest.mark.parametrize("at_once", [7, 300])
@pytest.mark.parametrize("size", [1, 40, 280, 1000])
def test_maps_are_kept_of_the_images_of_least_hashes(judging_stem, size, at_once):
    images = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3), "uint8")
    images[100:110] = images[:10]
    kept = features.KeptMaps(judging_stem, size)
    starts = range(0, 300, at_once)
    found = [kept(images[start : start + at_once]) for start in starts]
    vectors, hashes = map(np.concatenate, zip(*found, strict=True))
    expected = judging_stem.recognising(images)
    np.testing.assert_array_equal(vectors, expected[0])
    np.testing.assert_array_equal(hashes, expected[1])
    rows = features.of_least_hashes(hashes, size)
    (maps,) = kept.of(hashes[rows])
    assert maps.dtype == np.float16
    np.testing.assert_array_equal(maps, judging_stem.maps(images[rows])[0])
    # The same in another order.
    (maps,) = kept.of(hashes[rows][::-1])
    np.testing.assert_array_equal(maps, judging_stem.maps(images[rows])[0][::-1])
    # Not of all images, whose maps would fill the memory.
    assert (kept.of(hashes) is None) == (size < 290)
    assert kept._count <= min(size, 290)


def test_maps_that_were_not_seen_are_not_kept(judging_stem):
    assert features.KeptMaps(judging_stem, 9).of(np.array([1], np.uint64)) is None


def test_fits_that_share_a_store_share_what_is_made_of_the_majority(judging_stem):
    made = []

    def make():
        made.append(len(made))
        return made[-1]

    few = np.zeros((2, 8, 8, 3), "uint8")
    shared = features.SharedFeatureStore("memory", few)
    assert [shared.once(judging_stem, make) for _ in range(3)] == [0, 0, 0]
    alone = features.FeatureStore("memory")
    assert [alone.once(judging_stem, make) for _ in range(2)] == [1, 2]
