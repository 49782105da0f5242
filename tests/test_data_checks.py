import warnings

import numpy as np
import pytest

from egan_keras.data import check_both_classes, check_images, check_labels

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
