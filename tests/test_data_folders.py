import numpy as np
import pytest
from conftest import save_unique
from PIL import Image

from egan_keras.data import folders, images, load_folder

COUNTS = {"car": 20, "truck": 10, "plane": 10, "bird": 5}


def write_classes(root, counts, size=(8, 8)):
    """Write images whose gray value is their number in the class, but for a corner."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            write_image(root / name / f"{i:02}.png", i, size)
    return root


def write_image(path, gray, size=(8, 8)):
    image = Image.new("L", size, gray)
    image.putpixel((size[0] - 1, size[1] - 1), 255)
    save_unique(image, path)


@pytest.fixture
def flat(tmp_path):
    return write_classes(tmp_path / "flat", COUNTS)


@pytest.fixture
def parted(tmp_path):
    write_classes(tmp_path / "parted" / "train", COUNTS)
    write_classes(tmp_path / "parted" / "test", {name: 4 for name in COUNTS})
    return tmp_path / "parted"


def load(root, majority="car", minority="plane", **options):
    return load_folder(root, majority=majority, minority=minority, **options)


def counts(splits):
    return [(split.majority_count, split.minority_count) for split in splits]


def test_train_and_test_folders_give_three_splits(parted):
    splits = load(parted)
    assert counts(splits) == [(16, 8), (4, 2), (4, 4)]
    for split in splits:
        assert split.images.dtype == np.uint8
        assert split.images.shape == (len(split), 8, 8, 3)
        assert split.labels.dtype == np.int32
        assert split.skipped == ()
        for path, name, label, image in zip(
            split.paths, split.class_names, split.labels, split.images, strict=True
        ):
            assert path.split("/")[-2] == name == ("car", "plane")[label]
            assert image[0, 0, 0] == int(path[-6:-4])
    assert all("/test/" in path for path in splits.test.paths)
    assert set(splits.train.paths).isdisjoint(splits.validation.paths)


def test_flat_folders_are_split_in_three_by_class(flat):
    splits = load(flat, ["car", "truck"], ["plane", "bird"])
    assert counts(splits) == [(18, 9), (6, 3), (6, 3)]
    names = [sorted(set(split.class_names)) for split in splits]
    assert names == [sorted(COUNTS)] * 3
    assert len({path for split in splits for path in split.paths}) == 45


def test_splits_depend_on_the_seed_alone(flat):
    first, again, other = load(flat), load(flat), load(flat, seed=1)
    assert [split.paths for split in first] == [split.paths for split in again]
    assert first.test.paths != other.test.paths


@pytest.mark.parametrize("layout", ["flat", "parted"])
def test_rare_minority_leaves_the_majority_and_test_splits_alone(layout, request):
    root = request.getfixturevalue(layout)
    everything, two, four = (
        load(root),
        load(root, minority_count=2),
        load(root, ratio=4),
    )
    assert four.train.minority_count == round(four.train.majority_count / 4)
    for rare in (two, four):
        assert rare.validation.minority_count == 0
        assert rare.test.paths == everything.test.paths
        assert rare.validation.paths == tuple(
            path for path in everything.validation.paths if "car" in path
        )
        assert rare.train.majority_count == everything.train.majority_count
    assert two.train.minority_count == 2
    kept = [{p for p in rare.train.paths if "plane" in p} for rare in (two, four)]
    assert kept[0] < kept[1]
    assert kept[1].isdisjoint(everything.test.paths)


def test_dropped_minority_images_and_other_classes_are_never_opened(
    parted, monkeypatch
):
    opened = []

    def spy(source):
        opened.append(str(source))
        return read_header(source)

    read_header = images.read_header
    monkeypatch.setattr(images, "read_header", spy)
    splits = load(parted, minority_count=2)
    assert len([path for path in opened if "train/plane" in path]) == 2
    assert sorted(opened) == sorted(path for split in splits for path in split.paths)


def test_training_gets_the_only_image_of_a_class(tmp_path):
    root = write_classes(tmp_path, {"car": 10, "plane": 1})
    assert counts(load(root)) == [(6, 1), (2, 0), (2, 0)]


def test_fractions_are_of_all_images_and_may_be_zero(flat):
    splits = load(flat, validation_fraction=0, test_fraction=0.5)
    assert counts(splits) == [(10, 5), (0, 0), (10, 5)]
    assert splits.validation.images.shape == (0, 8, 8, 3)


def test_a_class_may_be_called_train(tmp_path):
    root = write_classes(tmp_path, {"car": 10, "train": 5})
    assert load(root, minority="train").train.minority_count == 3


def test_test_images_have_no_say_in_the_size(parted):
    before = load(parted)
    write_image(parted / "test" / "car" / "odd.png", 0, (9, 7))
    after = load(parted)
    np.testing.assert_array_equal(after.train.images, before.train.images)
    assert after.test.images.shape[1:] == before.train.images.shape[1:]


def test_all_splits_get_one_size(parted):
    write_image(parted / "test" / "car" / "odd.png", 0, (9, 7))
    write_image(parted / "train" / "car" / "odd.png", 0, (9, 7))
    with pytest.warns(UserWarning, match="2 different sizes"):
        splits = load(parted)
    assert {split.images.shape[1:] for split in splits} == {(224, 224, 3)}
    assert load(parted, image_size=6).test.images.shape == (9, 6, 6, 3)


def test_unreadable_files_stop_or_are_counted(parted):
    for name in ("train/car/cut.png", "test/plane/text.png"):
        (parted / name).write_text("not an image")
    with pytest.raises(ValueError, match=r"2 of 40 images.*cut\.png.*text\.png"):
        load(parted)
    splits = load(parted, skip_unreadable=True)
    skipped = [path for split in splits for path in split.skipped]
    assert sorted(skipped) == [
        str(parted / "test/plane/text.png"),
        str(parted / "train/car/cut.png"),
    ]
    assert splits.test.minority_count == 4


def test_an_unreadable_minority_image_is_replaced_by_another(parted):
    chosen = load(parted, minority_count=2).train.paths[-1]
    with open(chosen, "r+b") as file:
        file.truncate(40)
    with pytest.raises(ValueError, match="cannot be read.*skip_unreadable=True"):
        load(parted, minority_count=2)
    train = load(parted, minority_count=2, skip_unreadable=True).train
    assert train.minority_count == 2
    assert chosen not in train.paths
    assert train.skipped == (chosen,)


def test_no_readable_image_of_a_class_is_refused(parted):
    for path in (parted / "train" / "bird").iterdir():
        path.write_text("not an image")
    with pytest.raises(ValueError, match="No training image of one class"):
        load(parted, minority="bird", skip_unreadable=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minority": "plan"}, "bird, car, plane, truck.*'plan'.*mean 'plane'"),
        ({"minority": "zebra"}, "bird, car, plane, truck.*'zebra'.*Name one of"),
        ({"minority": "car"}, "may be named once only"),
        ({"majority": ["car", "car"]}, "may be named once only"),
        ({"minority": [""]}, "`minority` must be a class name or several"),
        ({"minority_count": 11}, "fewer minority.*10.*minority_count=11"),
        ({"minority_count": 2, "ratio": 10}, "imbalance is given twice"),
        ({"validation_fraction": 1.0}, r"must lie in \[0, 1\)"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "leave something"),
        ({"image_size": 0}, "one positive int"),
    ],
)
def test_impossible_requests_are_refused(parted, options, message):
    with pytest.raises(ValueError, match=message):
        load(parted, **options)


def test_missing_and_empty_folders_are_refused(parted, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder.*nowhere"):
        load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="folder is empty"):
        load(tmp_path / "empty")
    (parted / "test" / "boat").mkdir()
    (parted / "train" / "boat").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no images.*train/boat"):
        load(parted, minority="boat")
    (parted / "test").rename(parted / "elsewhere")
    with pytest.raises(FileNotFoundError, match="`train` but no `test`"):
        load(parted)


def test_a_class_missing_from_the_test_folder_is_refused(parted):
    write_classes(parted / "train", {"boat": 4})
    with pytest.raises(ValueError, match="test'? holds these: bird.*'boat'"):
        load(parted, minority="boat")


def test_arguments_are_checked_before_any_file_is_looked_at(parted, monkeypatch):
    monkeypatch.setattr(folders, "find_images", lambda path: pytest.fail("looked"))
    with pytest.raises(ValueError, match="`minority_count` must be"):
        load(parted, minority_count=-1)
