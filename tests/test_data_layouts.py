"""Folders as people have them: they work, or a sentence says what to do next."""

import re
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from egan_keras.data import load_folder


def write(root, **counts):
    """Write noise: `train__good=3` makes three images in train/good."""
    random = np.random.default_rng(zlib.crc32(bytes(root)))
    for name, count in counts.items():
        folder = root / name.replace("__", "/")
        folder.mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 256, (4, 4), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return root


def load(root, majority="good", minority="bad", **options):
    return load_folder(root, majority=majority, minority=minority, **options)


def counts(splits):
    return [(split.majority_count, split.minority_count) for split in splits]


@pytest.fixture
def mvtec(tmp_path):
    """A category as MVTec AD has it."""
    write(tmp_path, train__good=20, test__good=6, test__bent=8, test__cut=5)
    write(tmp_path, ground_truth__bent=8, ground_truth__cut=5)
    (tmp_path / "readme.txt").touch()
    return tmp_path


def test_half_of_each_defect_that_is_for_testing_alone_is_trained_on(mvtec):
    with pytest.warns(UserWarning, match="So half of the 13 images of 'bent', 'cut'"):
        splits = load(mvtec, minority=["bent", "cut"])
    # Of 4 bent and 3 cut ones, one each is validated with.
    assert counts(splits) == [(16, 5), (4, 2), (6, 6)]
    used = [path for split in splits for path in split.paths]
    assert len(used) == len(set(used)) == 39
    assert sorted(splits.test.class_names) == ["bent"] * 4 + ["cut"] * 2 + ["good"] * 6
    assert splits.train.passed_over == {
        "folder of no class named": 1,
        "file beside the class folders": 1,
    }


@pytest.mark.filterwarnings("ignore:There are minority images to test on")
def test_defects_tested_on_depend_on_the_seed_alone(mvtec):
    one, two, all_of_them = (
        load(mvtec, minority="bent", **options)
        for options in ({"minority_count": 1}, {"minority_count": 2}, {})
    )
    assert counts(one) == [(16, 1), (4, 0), (6, 4)]
    assert one.test.paths == two.test.paths == all_of_them.test.paths
    assert set(one.train.paths) < set(two.train.paths)
    assert load(mvtec, minority="bent", seed=2).test.paths != one.test.paths
    with pytest.raises(ValueError, match="fewer minority training images.*: 4"):
        load(mvtec, minority="bent", minority_count=5)


@pytest.mark.filterwarnings("ignore:There are minority images to test on")
def test_a_single_defect_is_trained_on(tmp_path):
    write(tmp_path, train__good=10, test__good=4, test__cut=1)
    assert counts(load(tmp_path, minority="cut")) == [(8, 1), (2, 0), (4, 0)]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Validation"])
def test_a_folder_of_validation_images_is_validated_with(tmp_path, name):
    write(tmp_path, train__good=10, train__bad=5, test__good=4, test__bad=4)
    write(tmp_path / name, good=3, bad=2)
    splits = load(tmp_path)
    assert counts(splits) == [(10, 5), (3, 2), (4, 4)]
    assert all(Path(path).parts[-3] == name for path in splits.validation.paths)
    # The other minority images do not exist, here either.
    assert counts(load(tmp_path, minority_count=1)) == [(10, 1), (3, 0), (4, 4)]


def test_a_folder_of_validation_images_may_lack_the_minority(tmp_path):
    write(
        tmp_path, train__good=10, train__bad=5, test__good=4, test__bad=4, val__good=3
    )
    assert counts(load(tmp_path)) == [(10, 5), (3, 0), (4, 4)]
    (tmp_path / "val" / "good").rename(tmp_path / "val" / "fine")
    with pytest.raises(
        ValueError, match="Unknown class 'good'; .*val' .*or move the folder"
    ):
        load(tmp_path)


def test_folders_may_be_called_training_and_testing(tmp_path):
    write(tmp_path, Training__good=10, Training__bad=5, Testing__good=4, Testing__bad=4)
    assert counts(load(tmp_path)) == [(8, 4), (2, 1), (4, 4)]
    write(tmp_path, train__good=1)
    with pytest.raises(ValueError, match="several folders of train images.*Merge them"):
        load(tmp_path)


def refused(tmp_path, folders, message, **roles):
    root = write(tmp_path / "root", **dict.fromkeys(folders, 2))
    roles = {"majority": "good", "minority": "bad"} | roles
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_folder(root, **roles)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["good", "test__good", "test__bad"], "'test' but no 'train'.*Move the class"),
        (["good", "bad", "val__good", "val__bad"], "a 'val' but no 'train' folder"),
        (["good", "test"], "Put the images of .*root/test' into .*as .*root/test/bad'"),
        (["train__good", "test__bad"], "'good' is below .* into .*root/test/good'.$"),
        (["train__good", "train__bad"], "no `test` folder.*root/train' to have a test"),
        (["train__good", "val__good"], "no `test` folder.*Rename 'val' to 'test'"),
        (["train", "test"], "Put the images of .*root/test' into folders of their"),
        (
            ["train__good", "train__bad", "test__good"],
            "'bad' is below .*root/train' alone: put some .*root/test/bad', or pass",
        ),
        (
            ["train__bad", "test__bad", "test__good"],
            "'good' is below .*root/test' alone: put some .*root/train/good', or leave",
        ),
        (["train__good", "test__good", "test__cut"], "holds these: cut, good"),
        (["inner__good", "inner__bad"], "one folder further down: pass .*root/inner'"),
        (["in__train__good", "in__test__bad"], "one folder further down: pass .*/in'"),
        (["Good", "bad"], "Unknown class 'good'.*Did you mean 'Good'"),
        (["good", "bad", "Bad"], "'bad' and 'Bad' .*Merge them, rename one, or name b"),
        (
            ["train__good", "train__Bad", "test__good", "test__bad"],
            "'bad' and 'Bad' in .*root/train'. Merge them",
        ),
    ],
)
def test_what_to_do_next_is_said(tmp_path, folders, message):
    refused(tmp_path, folders, message)


def test_several_defects_must_all_be_in_one_place(tmp_path):
    folders = ["train__good", "train__bad", "test__good", "test__bad", "test__cut"]
    refused(tmp_path, folders, "'cut' is below .*alone", minority=["bad", "cut"])


@pytest.mark.parametrize("below", ["train/good", "train", "test/bad", "test"])
def test_a_root_too_far_down_is_told_the_right_one(tmp_path, below):
    write(tmp_path, train__good=2, test__good=2, test__bad=2)
    if below == "test":
        assert counts(load(tmp_path / below, validation_fraction=0)) == [
            (1, 1),
            (0, 0),
            (1, 1),
        ]
        return
    message = f"They are further up: pass {str(tmp_path)!r}"
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
        load(tmp_path / below)


def test_names_that_differ_in_case_alone_may_be_one_class(tmp_path):
    write(tmp_path, good=10, bad=5, Bad=5)
    splits = load(tmp_path, minority=["bad", "Bad"])
    assert sum(split.minority_count for split in splits) == 10


def test_a_name_that_looks_the_same_is_told_apart(tmp_path):
    write(tmp_path, **{"scho\u0308n": 2, "bad": 2})
    with pytest.raises(ValueError, match=r"Did you mean 'scho\\u0308n'\?"):
        load(tmp_path, majority="sch\u00f6n")


def test_archives_files_and_broken_links_are_named(tmp_path):
    write(tmp_path, good=2, nothing=0)
    (tmp_path / "packed.zip").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name, message in {
        "packed": "Unpack .*packed.zip'",
        "file": "file' is a file: expected a folder",
        "link": "link' is a link to no folder: mend it",
        "nothing": "holds no images.*with 0 other files",
    }.items():
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            load(tmp_path, minority=name)
    with pytest.raises(FileNotFoundError, match="no such folder.*Unpack it"):
        load(tmp_path / "packed.zip")


@pytest.mark.parametrize("majority", [5, None, [], [None], "", ["good", ""]])
def test_classes_must_be_names(tmp_path, majority):
    write(tmp_path, good=2, bad=2)
    with pytest.raises(ValueError, match="`majority` must be a class name or several"):
        load(tmp_path, majority=majority)


def test_more_images_of_the_minority_are_warned_of_with_the_corrected_call(tmp_path):
    write(tmp_path, good=12, bad=6, worse=6)
    expected = "12 of label 1.*majority=.'good',., minority=.'bad',.*--majority good"
    with pytest.warns(UserWarning, match=expected):
        load(tmp_path, majority="bad", minority="good")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(tmp_path, majority="good", minority=["bad", "worse"])
