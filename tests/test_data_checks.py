import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from egan_keras.data import (
    ImageFiles,
    LabelledImages,
    check_both_classes,
    check_images,
    check_labels,
    row_hashes,
    warn_if_swapped,
)

RNG = np.random.default_rng(0)


def pixels(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def test_uint8_images_are_passed_on_uncopied_and_silently():
    images = np.ones((4, 8, 8, 3), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_images(images) is images
        assert check_images(images, image_shape=(8, None, 3)) is images


def test_float_and_integer_pixels_keep_their_values():
    images = pixels(2, 4, 4, 3)
    np.testing.assert_array_equal(check_images(images.astype(np.float32)), images)
    checked = check_images(images.astype(np.int64))
    assert checked.dtype == np.uint8
    np.testing.assert_array_equal(checked, images)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "NaN or infinite pixels"),
        (np.inf, "NaN or infinite pixels"),
        (-0.5, "negative pixels.*minimum -0.5"),
        (256.0, "pixels above 255.*maximum 256"),
    ],
)
def test_impossible_pixels_are_refused(value, message):
    images = np.full((2, 4, 4, 3), 100.0)
    images[1, 2, 3, 0] = value
    with pytest.raises(ValueError, match=message):
        check_images(images)


def test_floats_in_0_to_1_are_warned_of():
    with pytest.warns(UserWarning, match="expected 0..255; multiply by 255"):
        check_images(pixels(2, 4, 4, 3) / 255)


def test_pixels_far_below_255_are_warned_of_whatever_their_type():
    dark = np.arange(96).reshape(2, 4, 4, 3) % 13
    for images in (dark, dark.astype(np.uint8), dark.astype(np.uint16)):
        with pytest.warns(UserWarning, match=r"lie in 0..12, expected.*how they were"):
            check_images(images)
    with pytest.warns(UserWarning, match="lie in 0..1, expected 0..255; multiply"):
        check_images((dark > 5).astype(np.uint8))


def test_images_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"same shape.*\(4, 4, 3\), \(5, 4, 3\)"):
        check_images([pixels(4, 4, 3), pixels(5, 4, 3)])


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((2, 4, 4, 1), "Repeat the gray channel"),
        ((2, 4, 4, 4), "Leave out the alpha channel"),
        ((2, 3, 4, 4), "Leave out the alpha channel"),
        ((2, 3, 8, 8), "Move the channels last"),
        ((4, 4, 3), "single image as a batch of one"),
        ((2, 8, 8), "Make grayscale images RGB"),
        ((2, 192), "Stack RGB images"),
    ],
)
def test_wrong_shapes_are_refused_with_advice(shape, advice):
    with pytest.raises(ValueError, match=rf"\(n, height, width, 3\).*{advice}"):
        check_images(pixels(*shape))


def test_another_image_shape_than_the_models_is_refused():
    with pytest.raises(ValueError, match=r"shape \(n, 32, 32, 3\).*\(2, 4, 4, 3\)"):
        check_images(pixels(2, 4, 4, 3), image_shape=(32, 32, 3))


def test_no_images_and_no_numbers_are_refused():
    with pytest.raises(ValueError, match="There are no images"):
        check_images(np.empty((0, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="uint8 or float.*dtype=bool"):
        check_images(np.ones((2, 8, 8, 3), bool))


@pytest.mark.parametrize(
    "labels",
    [[0, 1, 1], [0.0, 1.0, 1.0], [False, True, True], [[0], [1], [1]]],
)
def test_labels_of_every_accepted_kind_become_int32(labels):
    checked = check_labels(labels, 3)
    assert checked.dtype == np.int32
    assert checked.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2], "0 .majority. or 1 .minority.*containing 2"),
        ([0, 1, -1], "containing -1"),
        ([0, 1, np.nan], "containing nan"),
        ([0, 1, 0.5], "containing 0.5"),
        (["cat", "dog", "cat"], "containing cat, dog"),
        ([0, 1], "each of the 3 images.*2 labels"),
        (np.eye(3, 2), r"labels.shape=\(3, 2\).*one-hot"),
        (None, "no labels"),
    ],
)
def test_other_labels_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        check_labels(labels, 3)


def test_labels_of_one_class_are_refused_naming_the_missing_one():
    with pytest.raises(ValueError, match=r"no minority image \(label 1\)"):
        check_both_classes(np.zeros(3, np.int32))
    with pytest.raises(ValueError, match=r"no majority image \(label 0\)"):
        check_both_classes(np.ones(3, np.int32))
    check_both_classes(np.array([0, 1]))


class Table:
    """What a table of pandas or polars looks like."""

    columns = ["file", "class"]

    def __array__(self, dtype=None, copy=None):
        return np.array([["a.png", "good"]])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("images", r"the text or path 'images'.*ek.ImageFiles\(paths, image_size"),
        (Path("a.png"), "path 'a.png'.*ek.load_folder"),
        (["a.png", "b.png"], r"a list of 2, in it the text.*ek.ImageFiles\(paths"),
        ([Path("a.png")], "in it the text or path 'a.png'.*ek.read_images"),
        (np.array(["a.png", "b.png"]), "in it the text or path 'a.png'"),
        (Table(), r"table with the columns file, class.*ImageFiles\(table\['path'\]"),
        ({"image": pixels(2, 4, 4, 3)}, r"dict with the keys image.*x\['image'\]"),
        ((image for image in pixels(2, 4, 4, 3)), r"generator.*np.stack\(list\(im"),
        (LabelledImages(pixels(1, 4, 4, 3), [0]), "train.images, train.labels"),
        ([pixels(4, 4, 3), None], "a list of 2, in it None.*leave them out"),
        (None, "Received: None"),
        (7, "array or a tf.data.Dataset. Received: 7. Convert it"),
        ((pixels(2, 4, 4, 3), [0, 1]), r"apart: model.fit\(images, labels\)"),
    ],
)
def test_what_is_no_image_is_refused_with_what_to_do(images, message):
    with pytest.raises(ValueError, match=message):
        check_images(images)


def test_images_in_an_array_of_objects_are_stacked():
    images = pixels(2, 4, 4, 3)
    given = np.empty(2, object)
    given[:] = list(images)
    np.testing.assert_array_equal(check_images(given), images)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, None, 1], "containing None. Leave out the images without a label"),
        (["0", "1", "1"], r"containing 0, 1. They are text.*astype\(int\)"),
        (1, "an array or a list.*Received: labels=1"),
        ("labels.csv", "an array or a list.*path 'labels.csv'.*read what is in a file"),
        (iter([0, 1, 1]), "an array or a list.*iterator.*make a list"),
        ({0, 1}, "an array or a list.*of type set"),
        ([[0], [0, 1], [1]], "an array or a list.*of type list"),
        ([0j, 1j, 1j], "containing 0j, 1j"),
    ],
)
def test_what_is_no_label_is_refused_with_what_to_do(labels, message):
    with pytest.raises(ValueError, match=message):
        check_labels(labels, 3)


def test_labels_of_any_dtype_may_be_numbers():
    labels = np.array([0, True, np.float32(1)], object)
    assert check_labels(labels, 3).tolist() == [0, 1, 1]


def test_more_minority_than_majority_is_warned_of_with_both_numbers():
    with pytest.warns(UserWarning, match="4 of label 0 and 1,000 of label 1.*Do this"):
        warn_if_swapped(4, 1000, "Do this.")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_swapped(5, 5, "Do this.")


def test_images_have_one_number_for_their_pixels_whatever_holds_them(tmp_path):
    images = pixels(40, 8, 8, 3)
    expected = row_hashes(images)
    assert len(set(expected)) == 40
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number:02}.png")
    files = ImageFiles(sorted(tmp_path.iterdir()), 8)
    for same in (images.astype("float32"), images.astype("float64"), files):
        np.testing.assert_array_equal(row_hashes(same), expected)
    many = np.concatenate([images] * 600)
    np.testing.assert_array_equal(row_hashes(many), np.tile(expected, 600))
    changed = images.copy()
    changed[3, 7, 7, 2] ^= 1
    assert np.flatnonzero(row_hashes(changed) != expected).tolist() == [3]
    features = np.array([[0.5, -1], [0.5, -2], [np.float32(0.1), 300]])
    assert len(set(row_hashes(features))) == 3
