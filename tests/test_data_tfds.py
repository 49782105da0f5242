import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds
from conftest import save_unique
from PIL import Image

from egan_keras.data import load_folder, load_tfds


@pytest.fixture
def root(tmp_path):
    for split, count in (("train", 10), ("test", 4)):
        for name in ("bird", "cat", "dog"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                image = Image.new("L", (8, 8), 10 * i + len(name))
                image.putpixel((7, 7), 255)
                save_unique(image, folder / f"{i}.png")
    return tmp_path


def load(root, **options):
    builder = tfds.folder_dataset.ImageFolder(str(root))
    return load_tfds(builder, majority="cat", minority="dog", **options)


def counts(splits):
    return [(split.majority_count, split.minority_count) for split in splits]


def test_an_image_folder_is_split_as_load_folder_does(root):
    splits = load(root)
    assert counts(splits) == [(8, 8), (2, 2), (4, 4)]
    for split in splits:
        assert split.images.dtype == np.uint8
        assert split.images.shape == (len(split), 8, 8, 3)
        assert split.class_names == tuple(("cat", "dog")[i] for i in split.labels)
        assert split.paths == ()
    same = load_folder(root, majority="cat", minority="dog").test.images
    assert sorted(splits.test.images[:, 0, 0, 0]) == sorted(same[:, 0, 0, 0])


def test_rare_minority_leaves_the_majority_alone(root):
    everything, two = load(root), load(root, minority_count=2)
    assert counts(two) == [(8, 2), (2, 0), (4, 4)]
    np.testing.assert_array_equal(
        two.validation.images, everything.validation.images[:2]
    )
    np.testing.assert_array_equal(two.test.images, everything.test.images)
    np.testing.assert_array_equal(two.train.images, load(root, ratio=4).train.images)


def test_records_of_one_colour_are_refused_or_left_out(root):
    Image.new("L", (8, 8), 3).save(root / "train" / "cat" / "0.png")
    with pytest.raises(ValueError, match="1 of 16 .*of one colour, RGB .3, 3, 3"):
        load(root)
    splits = load(root, skip_unreadable=True)
    assert sum(len(split.skipped) for split in splits) == 1
    assert sum(split.majority_count for split in splits) == 13


def test_a_set_without_test_split_is_split_in_three(root):
    (root / "test").rename(root / "extra")
    assert counts(load(root, image_size=6)) == [(6, 6), (2, 2), (2, 2)]


def test_several_classes_make_up_a_role(root):
    builder = tfds.folder_dataset.ImageFolder(str(root))
    splits = load_tfds(builder, majority=["cat", "bird"], minority="dog", ratio=16)
    assert counts(splits)[0] == (16, 1)


def test_a_set_of_the_catalogue_is_loaded_by_name(tmp_path):
    with tfds.testing.mock_data(num_examples=200):
        splits = load_tfds(
            "mnist",
            majority=["1", "2"],
            minority="3",
            minority_count=2,
            image_size=32,
            data_dir=tmp_path,
        )
    assert splits.train.images.shape[1:] == (32, 32, 3)
    assert splits.train.minority_count == 2
    assert set(splits.train.class_names) == {"1", "2", "3"}
    gray = splits.train.images
    np.testing.assert_array_equal(gray[..., 0], gray[..., 2])


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (requests.ConnectionError("failed to resolve"), "ConnectionError"),
        (requests.Timeout("read timed out"), "Timeout"),
        (TimeoutError("timed out"), "TimeoutError"),
    ],
)
def test_a_failing_download_says_what_to_do(tmp_path, monkeypatch, error, cause):
    def fail(self, **options):
        raise error

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(
        ConnectionError, match=f"'cifar10' could not.*network once.*{cause}.*data_dir"
    ):
        load_tfds("cifar10", majority="cat", minority="dog", data_dir=tmp_path)


def test_other_failures_of_the_preparation_are_not_called_a_network(
    tmp_path, monkeypatch
):
    def fail(self, **options):
        raise OSError("no space left on device")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(OSError, match="no space left") as caught:
        load_tfds("cifar10", majority="cat", minority="dog", data_dir=tmp_path)
    assert not isinstance(caught.value, ConnectionError)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"majority": "horse"}, "image_folder.*bird, cat, dog.*'horse'"),
        ({"majority": "dog"}, "may be named once only"),
        ({"minority_count": 11}, "fewer minority.*10.*minority_count=11"),
        ({"data_dir": "elsewhere"}, "a builder knows its own"),
        ({"image_size": -1}, "one positive int"),
    ],
)
def test_impossible_requests_are_refused(root, options, message):
    builder = tfds.folder_dataset.ImageFolder(str(root))
    with pytest.raises(ValueError, match=message):
        load_tfds(builder, **{"majority": "cat", "minority": "dog", **options})


def test_a_split_without_images_of_a_class_is_refused(root):
    (root / "test" / "dog").rename(root / "test" / "wolf")
    with pytest.raises(ValueError, match="'test'.*holds no image.*'dog'"):
        load(root)


def test_a_set_without_train_split_is_refused(root):
    (root / "train").rename(root / "first")
    with pytest.raises(ValueError, match="no split `train`; it has first, test"):
        load(root)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar11", "no such set.*'cifar11'.*Did you mean 'cifar10"),
        ("qqqqqqqq", "no such set.*list_builders"),
        (10, "name in the catalogue.*name=10"),
        ("imdb_reviews", "not one of labelled images.*text: Text"),
    ],
)
def test_unknown_and_unsuitable_sets_are_refused(tmp_path, name, message):
    with pytest.raises(ValueError, match=message):
        load_tfds(name, majority="cat", minority="dog", data_dir=tmp_path)
