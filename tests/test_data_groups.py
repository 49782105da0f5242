"""Pictures of one object stay on one side of every split."""

import collections

import numpy as np
import pytest
from PIL import Image

from egan_keras.data import load_folder
from egan_keras.data.groups import group_namer

OBJECT = r"object(\w+)_"


def write_image(path):
    """Writes noise that is in no other file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(list(bytes(path)))
    Image.fromarray(random.integers(0, 256, (8, 8, 3), "uint8")).save(path)


def write_objects(root, sizes, start=0):
    """Writes for each object so many good and bad images."""
    for number, counts in enumerate(sizes, start):
        for name, count in zip(("good", "bad"), counts, strict=True):
            for view in range(count):
                write_image(root / name / f"object{number:03}_{view}.png")
    return root


@pytest.fixture
def flat(tmp_path):
    """30 objects of 1 to 9 good images, every third with 2 bad ones."""
    sizes = [(1 + 7 * n % 9, 2 * (n % 3 == 0)) for n in range(30)]
    return write_objects(tmp_path, sizes)


def load(root, **options):
    options = {"majority": "good", "minority": "bad", "groups": OBJECT} | options
    return load_folder(root, **options)


def paths(splits):
    return [split.paths for split in splits]


def sides(splits):
    """Returns in which splits each object is."""
    found = collections.defaultdict(set)
    for number, split in enumerate(splits):
        for path, group in zip(split.paths, split.groups, strict=True):
            assert f"object{group}_" in path
            found[group].add(number)
    return found


@pytest.mark.parametrize("seed", range(6))
def test_a_group_is_in_one_split_and_the_fractions_are_met(flat, seed):
    splits = load(flat, seed=seed)
    assert all(len(where) == 1 for where in sides(splits).values())
    n_good = sum(split.majority_count for split in splits)
    for split, fraction in zip(splits, (0.6, 0.2, 0.2), strict=True):
        assert abs(split.majority_count - fraction * n_good) <= 0.05 * n_good
        assert abs(split.minority_count - fraction * 20) <= 2


def test_the_seed_decides_and_decides_alone(flat):
    assert paths(load(flat)) == paths(load(flat))
    assert len({load(flat, seed=seed).test.paths for seed in range(5)}) > 2


@pytest.mark.parametrize("count", [0, 1, 4, 8])
def test_a_rare_minority_leaves_the_majority_and_test_splits_alone(flat, count):
    whole, rare = load(flat), load(flat, minority_count=count)
    assert rare.test.paths == whole.test.paths
    for ours, others in zip(rare[:2], whole[:2], strict=True):
        good = [path for path in others.paths if "/good/" in path]
        assert [path for path in ours.paths if "/good/" in path] == good
    assert rare.train.minority_count == count and rare.validation.minority_count == 0
    assert all(len(where) == 1 for where in sides(rare).values())
    more = load(flat, minority_count=count + 1).train.paths
    assert set(rare.train.paths) < set(more)


def test_minority_images_of_no_validation_object_can_all_be_trained_on(tmp_path):
    write_objects(tmp_path, [(2, 0)] * 10 + [(0, 1)] * 10)
    assert load(tmp_path).validation.minority_count == 2
    assert load(tmp_path, minority_count=8).train.minority_count == 8


def test_groups_of_one_image_are_split_class_by_class_as_without(tmp_path):
    write_objects(tmp_path, [(1, 0)] * 20 + [(0, 1)] * 10)
    told = [(x.majority_count, x.minority_count) for x in load(tmp_path)]
    assert told == [(12, 6), (4, 2), (4, 2)]


def test_each_class_is_in_each_split_where_it_is_in_three_groups(tmp_path):
    write_objects(tmp_path, [(3, 1), (4, 1), (5, 1)])
    for seed in range(5):
        splits = load(tmp_path, seed=seed)
        assert all(split.majority_count and split.minority_count for split in splits)


def test_a_class_of_one_group_is_trained_on_and_said(tmp_path):
    write_objects(tmp_path, [(3, 0)] * 5 + [(0, 4)])
    with pytest.warns(UserWarning, match="No group of class 'bad' can be held out"):
        splits = load(tmp_path)
    assert [split.minority_count for split in splits] == [4, 0, 0]


def test_copies_join_the_groups_they_are_in(tmp_path):
    write_objects(tmp_path, [(2, 1)] * 10)
    for number in range(9):
        first = tmp_path / f"good/object{number:03}_0.png"
        second = tmp_path / f"good/object{number + 1:03}_9.png"
        second.write_bytes(first.read_bytes())
    with pytest.warns(UserWarning, match="No group of class 'good', 'bad'"):
        splits = load(tmp_path)
    assert [len(split) for split in splits] == [39, 0, 0]


def test_groups_on_both_sides_of_given_splits_are_refused(tmp_path):
    write_objects(tmp_path / "train", [(4, 2)] * 6)
    write_objects(tmp_path / "test", [(2, 1)] * 4, start=4)
    told = r"2 of 8 groups \(004 in train and test, 005 in train and test\)\. Move"
    with pytest.raises(ValueError, match=told):
        load(tmp_path)
    for path in tmp_path.glob("test/*/object00[45]_*"):
        path.unlink()
    splits = load(tmp_path)
    assert all(len(where) == 1 for where in sides(splits).values())
    assert len(splits.test) == 6 and len(splits.validation)


def test_a_minority_to_test_on_alone_is_halved_by_groups(tmp_path):
    write_objects(tmp_path / "train", [(4, 0)] * 6)
    write_objects(tmp_path / "test", [(4, 2), (0, 2), (0, 2), (0, 2)], start=6)
    with pytest.warns(UserWarning, match="none to train on"):
        splits = load(tmp_path, minority_count=4)
    assert [split.minority_count for split in splits] == [4, 0, 4]
    assert all(len(where) == 1 for where in sides(splits).values())
    for path in tmp_path.glob("test/bad/object00[789]_*"):
        path.unlink()
    with pytest.raises(ValueError, match="No minority image can be taken"):
        load(tmp_path)


@pytest.mark.parametrize(
    "groups",
    [lambda path: path[-9:-6], {f"good/object{n:03}_0.png": "a" for n in (0,)}],
)
def test_a_function_or_a_mapping_names_groups_too(tmp_path, groups, recwarn):
    write_objects(tmp_path, [(2, 1)] * 8)
    splits = load(tmp_path, groups=groups)
    found = {group for split in splits for group in split.groups}
    if callable(groups):
        assert found == {f"{n:03}" for n in range(8)} and not recwarn.list
    else:
        assert "a" in found and len(found) == 24
        assert "23 images have no group" in str(recwarn.list[0].message)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("(", r"must be a regular expression.*groups='\('"),
        (7, "must be a regular expression.*groups=7"),
        ("object", "one pair of parentheses.*with 0"),
        ("(o)(b)", "one pair of parentheses.*with 2"),
        ("(zebra)", "names a group for no image.*such as good/object000_0.png"),
        (len, "must have a name that is a text.*Received: 2"),
    ],
)
def test_what_names_no_groups_is_refused(flat, groups, message):
    with pytest.raises(ValueError, match=message):
        load(flat, groups=groups)


def test_an_expression_is_searched_for_in_the_path():
    name = group_namer(r"^[^/]+/([^_]+)_")
    assert name("good/m7_cell3.png") == "m7" and name("m7_cell3.png") is None
