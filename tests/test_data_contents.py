import os
import shutil
import sqlite3
import threading

import numpy as np
import pytest
from PIL import Image

from egan_keras.data import ImageFiles, lazy
from egan_keras.data.lazy import as_lazy, content_hashes, fingerprint


@pytest.fixture
def index(monkeypatch, tmp_path):
    """An index of its own, which remembers files that have just been written, too."""
    monkeypatch.setenv("EGAN_KERAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(lazy, "_UNSETTLED_NS", -(10**15))
    return tmp_path / "cache" / lazy.INDEX


@pytest.fixture
def read(monkeypatch):
    """The files read, in their order."""
    read, of = [], lazy.content_hash

    def spy(path):
        read.append(os.path.basename(path))
        return of(path)

    monkeypatch.setattr(lazy, "content_hash", spy)
    return read


@pytest.fixture
def files(tmp_path):
    """Three noise images of one size, a BMP each."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        write_noise(folder / f"{number}.bmp", number)
    return sorted(folder.iterdir())


def write_noise(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), "uint8")
    Image.fromarray(pixels).save(path)


def mark(files):
    return fingerprint(ImageFiles(files, 8).identity())


def test_unchanged_files_are_read_once(index, read, files):
    first = content_hashes(files)
    assert sorted(read) == ["0.bmp", "1.bmp", "2.bmp"] and len(set(first)) == 3
    assert content_hashes(files[::-1]) == first[::-1] and len(read) == 3
    os.utime(files[0])
    assert content_hashes(files) == first and read[3:] == ["0.bmp"]


def replace_keeping_times(files):
    state = files[0].stat()
    write_noise(files[0], 9)
    os.utime(files[0], ns=(state.st_atime_ns, state.st_mtime_ns))


def swap(files):
    aside = files[0].with_name("aside")
    files[0].rename(aside)
    files[1].rename(files[0])
    aside.rename(files[1])


def copy_over(files):
    shutil.copy2(files[1], files[0])


def change_through_a_hard_link(files):
    link = files[0].with_name("link")
    os.link(files[0], link)
    state = link.stat()
    with link.open("r+b") as file:
        file.seek(60)
        file.write(b"\x00\xff")
    os.utime(link, ns=(state.st_atime_ns, state.st_mtime_ns))


def link_to_another(files):
    files[0].unlink()
    files[0].symlink_to(files[1])


CHANGES = [
    replace_keeping_times,
    swap,
    copy_over,
    change_through_a_hard_link,
    link_to_another,
]


@pytest.mark.parametrize("change", CHANGES)
def test_other_contents_are_seen_though_size_and_time_stay(index, files, change):
    before, hashes = mark(files), content_hashes(files)
    size = files[0].stat().st_size
    change(files)
    assert files[0].stat().st_size == size
    assert mark(files) != before and content_hashes(files)[0] != hashes[0]


def test_a_folder_moved_or_copied_holds_the_same(index, files, tmp_path):
    before = mark(files)
    shutil.copytree(files[0].parent, tmp_path / "copied")
    files[0].parent.rename(tmp_path / "moved")
    for name in ("copied", "moved"):
        assert mark(sorted((tmp_path / name).iterdir())) == before


def test_a_file_changed_within_one_tick_is_not_taken_for_unchanged(
    index, files, monkeypatch
):
    monkeypatch.setattr(lazy, "_UNSETTLED_NS", 2 * 10**9)
    frozen = os.stat(files[0])
    first = content_hashes(files)
    write_noise(files[0], 9)
    stat = os.stat
    of_old = {str(files[0]): frozen}
    monkeypatch.setattr(os, "stat", lambda p, **o: of_old.get(str(p)) or stat(p, **o))
    assert content_hashes(files)[0] != first[0]


def test_a_file_that_cannot_be_read_has_no_hash(index, files):
    files[1].unlink()
    assert content_hashes([*files, files[0].parent])[1::2] == [None, None]
    assert None not in content_hashes(files[::2])


def damage(index, how):
    if how == "no index":
        index.write_bytes(b"no index at all" * 999)
    elif how == "torn":
        os.truncate(index, index.stat().st_size // 2)
    else:
        with sqlite3.connect(index) as opened:
            opened.execute("UPDATE hashes SET hash = ?", (how,))
        opened.close()


@pytest.mark.parametrize("how", ["no index", "torn", b"", bytes(20), "text", None, 7])
def test_a_damaged_index_is_made_anew(index, read, files, how):
    first = content_hashes(files)
    damage(index, how)
    for _ in range(2):
        assert content_hashes(files) == first
    read.clear()
    assert content_hashes(files) == first and not read


@pytest.mark.parametrize("name", ["file/below", "folder"])
def test_without_a_place_for_an_index_all_is_read(
    monkeypatch, read, files, tmp_path, name
):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / lazy.INDEX).mkdir(parents=True)
    monkeypatch.setenv("EGAN_KERAS_CACHE", str(tmp_path / name))
    assert content_hashes(files) == content_hashes(files)
    assert len(read) == 6


def test_the_oldest_rows_of_the_index_go(index, read, files, monkeypatch):
    monkeypatch.setattr(lazy, "_MOST_ROWS", 2)
    for file in files:
        content_hashes([file])
    read.clear()
    content_hashes(files[1:])
    assert not read
    content_hashes(files[:1])
    assert read == ["0.bmp"]


def test_several_use_the_index_at_once(index, files):
    expected, answers = content_hashes(files), []
    index.unlink()

    def ask():
        answers.extend(content_hashes(files) == expected for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 40


def test_a_mapped_file_is_known_by_its_contents(index, tmp_path):
    def rows(name):
        return as_lazy(np.load(tmp_path / name, mmap_mode="r"))

    def mark(rows):
        return fingerprint(rows.identity())

    np.save(tmp_path / "a.npy", np.zeros((4, 3), np.float32))
    before, opened = mark(rows("a.npy")), rows("a.npy")
    shutil.copy(tmp_path / "a.npy", tmp_path / "b.npy")
    assert mark(rows("b.npy")) == before
    state = (tmp_path / "a.npy").stat()
    other = np.ones((4, 3), np.float32)
    np.save(tmp_path / "new.npy", other)
    os.utime(tmp_path / "new.npy", ns=(state.st_atime_ns, state.st_mtime_ns))
    os.replace(tmp_path / "new.npy", tmp_path / "a.npy")
    assert mark(rows("a.npy")) != before
    # What is open still holds the zeros, under no name.
    replaced = mark(opened)
    assert opened[0][0] == 0 and replaced not in (before, mark(rows("a.npy")))
