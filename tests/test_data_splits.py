import numpy as np
import pytest

from egan_keras.data import LabelledImages, subsample_minority

IMAGES = np.arange(60, dtype=np.uint8)[:, None, None, None] * np.ones((4, 4, 3), "u1")
LABELS = np.repeat([0, 1], [40, 20])


def kept_minority(**options):
    images, labels = subsample_minority(IMAGES, LABELS, **options)
    assert (labels == 0).sum() == 40
    return set(images[labels == 1][:, 0, 0, 0].tolist())


def test_minority_is_cut_to_the_count_and_majority_left_alone():
    images, labels = subsample_minority(IMAGES, LABELS, minority_count=3)
    np.testing.assert_array_equal(images[:40], IMAGES[:40])
    assert labels.dtype == np.int32
    assert labels.tolist() == [0] * 40 + [1] * 3
    assert set(images[40:, 0, 0, 0]) <= set(range(40, 60))


def test_ratio_counts_majority_images_per_minority_image():
    assert kept_minority(ratio=8) == kept_minority(minority_count=5)
    assert len(kept_minority(ratio=13.4)) == 3
    assert len(kept_minority()) == 20


def test_the_seed_alone_decides_and_smaller_counts_are_nested():
    assert kept_minority(minority_count=5) == kept_minority(minority_count=5)
    assert kept_minority(minority_count=2) < kept_minority(minority_count=5)
    assert kept_minority(minority_count=5) != kept_minority(minority_count=5, seed=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minority_count": 21}, "fewer minority.*20.*minority_count=21"),
        ({"ratio": 1}, "fewer minority.*20.*ratio=1, which asks for 40"),
        ({"ratio": 100}, "leaves no minority image.*ratio=100"),
        ({"ratio": 0}, "`ratio` must be a positive number"),
        ({"ratio": float("nan")}, "`ratio` must be a positive number"),
        ({"minority_count": -1}, "`minority_count` must be an int, 0 or more"),
        ({"minority_count": 2.5}, "`minority_count` must be an int, 0 or more"),
        ({"minority_count": 2, "ratio": 10}, "imbalance is given twice"),
    ],
)
def test_an_impossible_imbalance_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        subsample_minority(IMAGES, LABELS, **options)


def test_all_minority_images_can_be_left_out():
    images, labels = subsample_minority(IMAGES, LABELS, minority_count=0)
    assert len(images) == len(labels) == np.count_nonzero(LABELS == 0)
    assert not labels.any()


def test_subsampling_without_minority_images_is_refused():
    with pytest.raises(ValueError, match="no minority image"):
        subsample_minority(IMAGES, np.zeros(60), minority_count=2)


def test_labelled_images_count_their_classes_and_check_their_lengths():
    labelled = LabelledImages(IMAGES, LABELS)
    assert (len(labelled), labelled.majority_count, labelled.minority_count) == (
        60,
        40,
        20,
    )
    with pytest.raises(ValueError, match="`labels` must hold one entry for each"):
        LabelledImages(IMAGES, LABELS[:3])
    with pytest.raises(ValueError, match="`paths` must hold one entry for each"):
        LabelledImages(IMAGES, LABELS, paths=("a.png",))
