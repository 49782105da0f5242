import os
import socket

import numpy as np
import pytest
from PIL import Image

from egan_keras.data import find_images, load_folder
from egan_keras.data.finding import ImageSearch, in_words


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder):
    """What is found below a folder, and what is passed over."""
    images = find_images(folder)
    return [str(p.relative_to(folder)) for p in images], dict(images.passed_over)


def test_usual_suffixes_of_the_formats_are_images_in_any_case(tmp_path):
    names = ["a.jfif", "b.JPE", "c.jif", "d.dib", "e.apng", "f.Tiff", "g.JPG"]
    touch(tmp_path, *names)
    assert found(tmp_path) == (names, {})


def test_what_is_passed_over_is_counted_by_reason(tmp_path, monkeypatch):
    touch(tmp_path, "a.png", ".b.png", ".git/c.png", "d.txt", "e.TXT", "f.heic", "g")
    touch(tmp_path, "deep/h.png", "deep/i.txt", "j.odd suffix")
    os.mkfifo(tmp_path / "k.png")
    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(tmp_path)  # the name of a socket is short
        listening.bind("l.png")
    assert found(tmp_path) == (
        ["a.png", "deep/h.png"],
        {
            "hidden": 2,
            "other suffix .txt": 3,
            "other suffix .heic": 1,
            "other suffix": 2,
            "not a regular file": 2,
        },
    )


def test_links_are_followed_and_no_file_is_found_twice(tmp_path):
    touch(tmp_path, "own/1.png", "own/2.png", "far/3.png", "far/in/4.png", "far/5.raw")
    touch(tmp_path, "blobs/6")
    own = tmp_path / "own"
    for link, target in {
        "folder": "../far",
        "same folder": "../far",
        "part of it": "../far/in",
        "file.png": "../far/3.png",
        "twin.png": "1.png",
        # As annexes and caches of models have it.
        "6.png": "../blobs/6",
        "other.txt": "1.png",
        "gone.png": "nowhere.png",
        "round": "round",
        "up": "..",
        "self": ".",
    }.items():
        (own / link).symlink_to(target)
    images, passed_over = found(own)
    assert images == ["1.png", "2.png", "6.png", "file.png", "folder/in/4.png"]
    assert passed_over == {
        # The second link, the folder in it, the file linked, and the twin.
        "reached twice": 4,
        "other suffix .raw": 1,
        "other suffix .txt": 1,
        "broken link": 2,
        "link in a circle": 2,
    }


def test_what_is_named_twice_is_found_once(tmp_path):
    touch(tmp_path, "a/1.png", "a/2.png", "b/3.png")
    search = ImageSearch()
    assert search.add(tmp_path / "a/2.png") == [tmp_path / "a/2.png"]
    assert search.add(tmp_path / "a") == [tmp_path / "a/1.png"]
    assert search.add(tmp_path / "b/../a/1.png") == []
    assert search.add(tmp_path / "a/../b") == [tmp_path / "a/../b/3.png"]
    assert search.add(tmp_path) == []
    assert search.passed_over == {"reached twice": 4}


def test_a_folder_that_cannot_be_opened_is_counted(tmp_path, monkeypatch):
    touch(tmp_path, "a.png", "closed/b.png")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert found(tmp_path) == (["a.png"], {"folder that cannot be opened": 1})


def test_names_that_are_no_text_are_found(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"M\xfcller.png")
    open(path, "wb").close()
    touch(tmp_path, "line\nbreak.png", "\x1b[2J.png")
    assert [os.fsencode(image.name) for image in find_images(tmp_path)] == [
        b"\x1b[2J.png",
        b"M\xfcller.png",
        b"line\nbreak.png",
    ]


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ValueError, match="neither a regular file nor a folder"):
        find_images(tmp_path / "a.png")


def test_packed_images_are_to_be_unpacked(tmp_path):
    touch(tmp_path, "images.zip", "more.tar.gz")
    with pytest.raises(FileNotFoundError, match=r"2 other files .*\.zip.*Unpack"):
        find_images(tmp_path)


def test_counts_in_words_begin_with_the_largest_and_end_soon():
    counts = {f"other suffix .s{number}": number for number in range(1, 20)}
    words = in_words(counts)
    assert words.startswith("19 other suffix .s19, 18 ")
    assert words.endswith(", 45 others")
    assert in_words({"other suffix .\x1b": 1}) == r"1 other suffix .\x1b"


def test_splits_tell_what_was_passed_over(tmp_path):
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("good", "bad", "other"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for number in range(10):
                pixels = random.integers(0, 256, (4, 4), np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    touch(tmp_path, "train/good/a.txt", "test/bad/.b", "train/c.png", "readme.md")
    (tmp_path / "ground_truth").mkdir()
    splits = load_folder(tmp_path, majority="good", minority="bad")
    assert splits.train.passed_over == {
        "other suffix .txt": 1,
        "folder of no class named": 3,
        "file beside the class folders": 2,
    }
    assert splits.validation.passed_over == {}
    assert splits.test.passed_over == {"hidden": 1}
