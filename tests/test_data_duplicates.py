import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from egan_keras.data import load_folder, load_tfds

QUIET = pytest.mark.filterwarnings("ignore:.*equal contents")


def write_classes(root, start=0, **counts):
    """Writes noise, all files of one size and none like another."""
    for number, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        random = np.random.default_rng([start, number])
        for index in range(count):
            pixels = random.integers(0, 256, (8, 8, 3), "uint8")
            path = root / name / f"{index:02}.png"
            Image.fromarray(pixels).save(path, compress_level=0)


@pytest.fixture
def parted(tmp_path):
    write_classes(tmp_path / "train", good=20, bad=10, bent=5)
    write_classes(tmp_path / "test", start=1, good=8, bad=4, bent=4)
    return tmp_path


@pytest.fixture
def flat(tmp_path):
    write_classes(tmp_path, good=20, bad=10)
    return tmp_path


def load(root, minority="bad", **options):
    return load_folder(root, majority="good", minority=minority, **options)


def paths(splits):
    return [path for split in splits for path in split.paths]


def counts(splits):
    return [(split.majority_count, split.minority_count) for split in splits]


def leak(root, n=6):
    """Copies training images into test, under other names."""
    for number in range(n):
        source = root / "train" / "good" / f"{number:02}.png"
        shutil.copy(source, root / "test" / "good" / f"new{number}.png")


def test_images_that_differ_pass_in_silence(parted, recwarn):
    for split in load(parted):
        assert split.duplicates == split.dropped_duplicates == ()
    assert not recwarn.list


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("options", [{}, {"minority_count": 2}, {"seed": 3}])
def test_training_images_do_not_judge(parted, lazy, options):
    expected = paths(load(parted, lazy=lazy, **options))
    leak(parted)
    told = r"left out there: 6 \(\S+00.png = \S+new0.png, .*, ...\)\.$"
    with pytest.warns(UserWarning, match=told):
        splits = load(parted, lazy=lazy, **options)
    assert paths(splits) == expected
    assert [len(split.dropped_duplicates) for split in splits] == [0, 0, 6]


def test_training_images_among_test_images_can_be_refused_or_kept(parted):
    leak(parted, 1)
    with pytest.raises(ValueError, match=r"to validate or test on.*1 \(.*new0.png\)"):
        load(parted, duplicates="refuse")
    with pytest.warns(UserWarning, match="or test on, used all the same"):
        splits = load(parted, duplicates="keep")
    assert counts(splits)[2] == (9, 4) and len(splits.test.duplicates) == 1


def put_into_both(root):
    """Copies one file of a class into the other."""
    folder = root / "train" if (root / "train").is_dir() else root
    shutil.copy(folder / "good" / "00.png", folder / "bad" / "zz.png")


@pytest.mark.parametrize("layout", ["parted", "flat"])
def test_an_image_of_both_labels_is_refused_left_out_or_kept(layout, request):
    root = request.getfixturevalue(layout)
    before = paths(load(root))
    put_into_both(root)
    for duplicates in (None, "refuse"):
        with pytest.raises(ValueError, match=r"both.*1 \(\S+00.png = \S+zz.png\)"):
            load(root, duplicates=duplicates)
    with pytest.warns(UserWarning, match=r"minority both, left out: 1 \("):
        splits = load(root, duplicates="drop")
    assert len(paths(splits)) == len(before) - 1
    assert sorted(splits.train.dropped_duplicates)[-1].endswith("good/00.png")
    with pytest.warns(UserWarning, match="used as both"):
        assert len(paths(load(root, duplicates="keep"))) == len(before) + 1


def test_an_image_trained_on_as_good_and_tested_as_bad_is_refused(parted):
    shutil.copy(parted / "train/good/03.png", parted / "test/bad/03.png")
    with pytest.raises(ValueError, match="majority and minority both"):
        load(parted)


@QUIET
@pytest.mark.parametrize("layout", ["parted", "flat"])
@pytest.mark.parametrize("seed", range(5))
def test_copies_of_one_class_stay_on_one_side_of_every_split(layout, seed, request):
    root = request.getfixturevalue(layout)
    folder = root / "train" if layout == "parted" else root
    for number in range(0, 20, 2):
        source = folder / "good" / f"{number:02}.png"
        shutil.copy(source, source.with_name(f"again{number:02}.png"))
    splits = load(root, seed=seed)
    assert sum(len(split.duplicates) for split in splits) == 10
    assert sum(split.majority_count for split in splits) == 30 + 8 * (layout != "flat")
    homes = {path[-6:]: [] for path in paths(splits) if "again" in path}
    for number, split in enumerate(splits):
        for path in split.paths:
            if "good" in path and "/test/" not in path and path[-6:] in homes:
                homes[path[-6:]].append(number)
    assert all(len(places) == 2 and len(set(places)) == 1 for places in homes.values())


def test_a_copy_is_no_further_image_of_a_reduced_minority(parted):
    for number in range(10):
        source = parted / "train" / "bad" / f"{number:02}.png"
        shutil.copy(source, source.with_name(f"again{number:02}.png"))
    with pytest.warns(UserWarning, match="further copies.*: 10 "):
        train = load(parted, minority_count=10).train
    assert train.minority_count == 10
    assert len({open(p, "rb").read() for p in train.paths if "bad" in p}) == 10
    with pytest.raises(ValueError, match="fewer minority training images"):
        load(parted, minority_count=11)


@QUIET
def test_copies_across_classes_of_one_label_are_copies_too(parted):
    shutil.copy(parted / "train/bad/00.png", parted / "test/bent/zz.png")
    splits = load(parted, minority=["bad", "bent"])
    assert splits.test.dropped_duplicates == (str(parted / "test/bent/zz.png"),)


def test_links_to_one_file_are_copies(parted):
    (parted / "test/good/soft.png").symlink_to(parted / "train/good/00.png")
    (parted / "test/good/hard.png").hardlink_to(parted / "train/good/00.png")
    with pytest.warns(UserWarning, match="hard.png.*soft.png"):
        assert len(load(parted).test.dropped_duplicates) == 2


def test_files_of_one_size_that_differ_in_one_pixel_are_no_copies(parted, recwarn):
    with Image.open(parted / "train/good/00.png") as image:
        image.putpixel((7, 7), (0, 1, 2))
        image.save(parted / "test/good/00.png", compress_level=0)
    assert counts(load(parted))[2] == (8, 4) and not recwarn.list


def test_torn_files_are_unreadable_and_no_copies(parted):
    for name in ("train/good/torn.png", "test/bad/torn.png"):
        (parted / name).write_bytes(b"")
    with pytest.raises(ValueError, match="2 of 44 images cannot be read"):
        load(parted)
    splits = load(parted, skip_unreadable=True)
    assert [len(split.skipped) for split in splits] in ([1, 0, 1], [0, 1, 1])


def test_an_unknown_choice_is_refused(parted):
    with pytest.raises(ValueError, match="one of 'drop', 'refuse', 'keep', or None"):
        load(parted, duplicates="ignore")


def test_sets_of_tensorflow_datasets_do_not_leak(parted):
    leak(parted, 2)
    builder = tfds.folder_dataset.ImageFolder(str(parted))
    options = {"majority": "good", "minority": "bad"}
    with pytest.warns(UserWarning, match=r"left out there: 2 \(image \d+ of"):
        splits = load_tfds(builder, **options)
    assert counts(splits) == [(16, 8), (4, 2), (8, 4)]
    assert len(splits.test.dropped_duplicates) == 2
    put_into_both(parted)
    builder = tfds.folder_dataset.ImageFolder(str(parted))
    with pytest.raises(ValueError, match="majority and minority both"):
        load_tfds(builder, **options)
