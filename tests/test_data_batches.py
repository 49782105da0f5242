import numpy as np
import pytest
import tensorflow as tf
from keras.utils import PyDataset, image_dataset_from_directory
from PIL import Image

from egan_keras.data import ImageBatches, labelled_batches

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
LABELS = np.array([0, 1] * 5)


def pairs(images=IMAGES, labels=LABELS):
    return tf.data.Dataset.from_tensor_slices((images, labels))


def assert_same_images(batches, dtype=np.uint8):
    """Check content, types and that a second round gives the same."""
    for _ in range(2):
        images, labels = zip(*batches, strict=True)
        assert {array.dtype for array in images} == {np.dtype(dtype)}
        assert {array.dtype for array in labels} == {np.dtype(np.int32)}
        np.testing.assert_array_equal(np.concatenate(images), IMAGES)
        np.testing.assert_array_equal(np.concatenate(labels), LABELS)
        assert batches.n_batches == len(images)


def test_arrays_are_cut_into_batches_and_lists_too():
    batches = labelled_batches(IMAGES, LABELS, batch_size=4)
    assert_same_images(batches)
    assert batches.n_batches == 3
    assert_same_images(labelled_batches(list(IMAGES), LABELS[:, None].tolist()))


def test_a_dataset_of_batches_keeps_its_batches():
    batches = labelled_batches(pairs().batch(4), batch_size=2)
    assert_same_images(batches)
    assert batches.n_batches == 3


def test_a_dataset_of_single_images_is_batched():
    batches = labelled_batches(pairs(labels=LABELS.astype(bool)), batch_size=6)
    assert_same_images(batches)
    assert batches.n_batches == 2


def test_grayscale_datasets_are_repeated_to_three_channels():
    images, _ = next(iter(labelled_batches(pairs(images=IMAGES[..., :1]))))
    np.testing.assert_array_equal(images, np.repeat(IMAGES[..., :1], 3, axis=-1))


def test_a_dataset_of_unknown_length_has_no_number_of_batches():
    batches = labelled_batches(pairs().filter(lambda x, y: True).batch(5))
    assert batches.n_batches is None
    assert len(list(batches)) == 2


@pytest.fixture
def folder(tmp_path):
    for name, label in (("a", 0), ("b", 1)):
        (tmp_path / name).mkdir()
        for i, image in enumerate(IMAGES[LABELS == label]):
            Image.fromarray(image).save(tmp_path / name / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize("label_mode", ["int", "binary"])
def test_image_dataset_from_directory_is_taken_as_it_is(folder, label_mode):
    dataset = image_dataset_from_directory(
        folder, label_mode=label_mode, image_size=(8, 8), batch_size=4, shuffle=False
    )
    images, labels = zip(*labelled_batches(dataset), strict=True)
    order = np.argsort(LABELS, kind="stable")
    np.testing.assert_array_equal(np.concatenate(images), IMAGES[order])
    np.testing.assert_array_equal(np.concatenate(labels), LABELS[order])


@pytest.mark.parametrize(
    ("label_mode", "message"),
    [
        ("categorical", 'one-hot labels.*label_mode="int"'),
        (None, "dataset without labels cannot be used"),
    ],
)
def test_other_label_modes_are_refused_with_advice(folder, label_mode, message):
    dataset = image_dataset_from_directory(
        folder, label_mode=label_mode, image_size=(8, 8)
    )
    with pytest.raises(ValueError, match=message):
        labelled_batches(dataset)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pairs().repeat(), "dataset is infinite.*take"),
        (lambda: pairs(labels=np.eye(2)[LABELS]), "one-hot labels"),
        (lambda: pairs().map(lambda x, y: {"image": x}), "as_supervised=True"),
        (lambda: pairs().map(lambda x, y: (x, y, 1.0)), "sample weights"),
        (lambda: pairs().map(lambda x, y: (x[0], y)), "shape .height, width"),
        (lambda: IMAGES.tolist, "array or a tf.data.Dataset"),
    ],
)
def test_other_structures_are_refused_with_advice(make, message):
    with pytest.raises(ValueError, match=message):
        labelled_batches(make())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pairs(labels=LABELS + 1), "must be 0 .majority.*containing 2"),
        (lambda: pairs(images=IMAGES - 200.0), "negative pixels"),
        (lambda: pairs(images=IMAGES[..., :2]), r"\(n, height, width, 3\)"),
        (lambda: pairs().take(0), "dataset is empty"),
    ],
)
def test_elements_are_checked_while_iterating(make, message):
    with pytest.raises(ValueError, match=message):
        list(labelled_batches(make()))


def test_single_images_of_different_shapes_are_refused():
    dataset = tf.data.Dataset.from_generator(
        lambda: ((np.zeros((8 + i, 8, 3), np.uint8), i % 2) for i in range(4)),
        output_signature=(
            tf.TensorSpec((None, None, 3), tf.uint8),
            tf.TensorSpec((), tf.int64),
        ),
    )
    with pytest.raises(ValueError, match="must all have the same shape.*tf.image.res"):
        list(labelled_batches(dataset))


@pytest.mark.parametrize("make", [lambda: (IMAGES, LABELS), lambda: (pairs(),)])
def test_another_image_shape_than_the_models_is_refused(make):
    with pytest.raises(ValueError, match=r"shape \(n, 32, 32, 3\)"):
        list(labelled_batches(*make(), image_shape=(32, 32, 3)))


def test_labels_are_wanted_exactly_once():
    with pytest.raises(ValueError, match="have no labels"):
        labelled_batches(IMAGES)
    with pytest.raises(ValueError, match="Labels are given twice"):
        labelled_batches(pairs(), LABELS)


def test_a_batch_holds_at_least_one_image():
    with pytest.raises(ValueError, match="at least 1.*batch_size=0"):
        labelled_batches(IMAGES, LABELS, batch_size=0)


class Sequence(PyDataset):
    """Batches by their number, as Keras has them."""

    def __len__(self):
        return 3

    def __getitem__(self, number):
        rows = slice(4 * number, 4 * number + 4)
        return IMAGES[rows], LABELS[rows]


class Loader:
    """Batches as PyTorch's DataLoader gives them."""

    dataset = None

    def __len__(self):
        return 3

    def __iter__(self):
        return (Sequence()[number] for number in range(3))


@pytest.mark.parametrize("make", [Sequence, Loader])
def test_batches_of_keras_and_pytorch_are_taken(make):
    assert_same_images(labelled_batches(make()))
    images = ImageBatches(make(), (8, 8, 3), batch_size=2)
    np.testing.assert_array_equal(np.concatenate(list(images)), IMAGES)
    with pytest.raises(ValueError, match="Labels are given twice"):
        labelled_batches(make(), LABELS)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.batch(3),
        lambda x: x,
        lambda x: x.map(lambda images, labels: images),
        lambda x: (images for images, _ in x.batch(3)),
        lambda x: ((images, labels) for images, labels in x.batch(3)),
    ],
)
def test_images_are_taken_out_of_whatever_gives_them(make):
    images = ImageBatches(make(pairs()), (8, 8, 3), batch_size=4)
    np.testing.assert_array_equal(np.concatenate(list(images)), IMAGES)


def test_endless_images_are_refused_where_they_must_end():
    with pytest.raises(ValueError, match="dataset is infinite"):
        ImageBatches(pairs().repeat(), (8, 8, 3), batch_size=4)
    endless = ImageBatches(pairs().repeat(), (8, 8, 3), batch_size=4, must_end=False)
    assert endless.n_batches is None and len(next(iter(endless))) == 4


def test_images_of_one_colour_are_counted_and_refused_if_all_are():
    images = IMAGES.copy()
    images[2], images[5] = 9, 7
    with pytest.warns(UserWarning, match="2 of 10 images are of one colour"):
        labelled_batches(images, LABELS)
    with pytest.warns(UserWarning, match="2 of 10 images are of one colour"):
        list(labelled_batches(pairs(images=images)))
    blank = np.zeros_like(IMAGES)
    with pytest.raises(ValueError, match="10 of 10 images are of one colour"):
        labelled_batches(blank, LABELS)
    with pytest.raises(ValueError, match="10 of 10 images are of one colour"):
        list(labelled_batches(pairs(images=blank)))


def test_a_dataset_of_pixels_in_0_to_1_is_warned_of_once():
    with pytest.warns(UserWarning, match="multiply by 255") as warned:
        list(labelled_batches(pairs(images=IMAGES / 255.0).batch(2)))
    assert len(warned) == 1
