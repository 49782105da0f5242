"""Copies that were saved again are named where they stand on two sides of a split."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from egan_keras.data import duplicates as module
from egan_keras.data.duplicates import near_duplicates, warn_of_near


def photograph(number, size=(120, 90)):
    """A scene of soft shapes, as no other number has it."""
    random = np.random.default_rng(number)
    coarse = random.integers(0, 256, (9, 12, 3), "uint8")
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def sides(tmp_path):
    """Ten photographs to train on and ten others to test on."""
    for number in range(20):
        path = tmp_path / ("train" if number < 10 else "test") / f"{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        photograph(number).save(path)
    return tmp_path


def pairs(root):
    found = near_duplicates([sorted((root / x).iterdir()) for x in ("train", "test")])
    return [tuple(path.removeprefix(f"{root}/") for path in pair) for pair in found]


SAVED_AGAIN = {
    "compressed": lambda image, path: image.save(path, quality=40),
    "halved": lambda image, path: image.resize((60, 45)).save(path),
    "brighter": lambda image, path: (
        ImageEnhance.Brightness(image).enhance(1.15).save(path)
    ),
    "gray": lambda image, path: image.convert("L").save(path),
}


@pytest.mark.parametrize("how", SAVED_AGAIN)
def test_a_copy_saved_again_is_named(sides, how):
    assert pairs(sides) == []
    SAVED_AGAIN[how](photograph(3), sides / "test" / "again.jpg")
    assert pairs(sides) == [("test/again.jpg", "train/03.png")]


def test_deep_gray_is_compared_by_its_own_range(sides):
    deep = np.asarray(photograph(3).convert("L")).astype("uint16") * 16
    Image.fromarray(deep).save(sides / "test" / "deep.png")
    assert pairs(sides) == [("test/deep.png", "train/03.png")]


def test_copies_on_one_side_are_not_named(sides):
    photograph(3).save(sides / "train" / "again.jpg", quality=40)
    assert pairs(sides) == []


def test_images_with_little_in_them_are_left_aside(sides):
    for side in ("train", "test"):
        Image.new("RGB", (50, 50), (9, 9, 9)).save(sides / side / "black.png")
        edge = Image.new("RGB", (50, 50), "white")
        edge.paste("black", (0, 20, 50, 50))
        edge.save(sides / side / "edge.png")
        (sides / side / "torn.png").write_bytes(b"torn")
    assert pairs(sides) == []


def test_what_all_images_have_in_common_makes_none_alike(sides):
    board = photograph(99)
    for path in sides.rglob("*.png"):
        with Image.open(path) as image:
            mixed = Image.blend(board, image.convert("RGB"), 0.3)
        mixed.save(path)
    assert pairs(sides) == []


def test_one_pattern_in_two_colours_is_not_one_picture(sides):
    red, green, blue = photograph(3).split()
    mixed = Image.merge("RGB", [red, green, blue.point(lambda value: value // 3)])
    mixed.save(sides / "test" / "other.png")
    assert pairs(sides) == []


@pytest.mark.parametrize("limit", ["MOST_IMAGES", "MOST_BYTES"])
def test_more_images_than_the_limit_are_not_compared(sides, monkeypatch, limit):
    photograph(3).save(sides / "test" / "again.jpg", quality=40)
    monkeypatch.setattr(module, limit, 20)
    assert pairs(sides) == []


def test_pairs_are_counted_and_named_in_one_sentence():
    with pytest.warns(UserWarning, match=r"flatter: 4 \(a0 ~ b0, .*, \.\.\.\)"):
        warn_of_near([(f"a{n}", f"b{n}") for n in range(4)])
