import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import save_unique
from PIL import Image

from egan_keras.data import (
    ImageFiles,
    WithMirrorImages,
    check_images,
    labelled_batches,
    load_folder,
    subsample_minority,
)
from egan_keras.data.lazy import (
    FileRows,
    LazyRows,
    MappedRows,
    SelectedRows,
    as_lazy,
    fingerprint,
    work_ahead,
)


def write_image(path, gray):
    """Write an image of one gray but for a corner."""
    image = Image.new("L", (8, 8), gray)
    image.putpixel((7, 7), 255)
    save_unique(image, path)


@pytest.fixture
def files(tmp_path):
    """300 images whose gray value is their number, by 200 and the rest."""
    for number in range(300):
        write_image(tmp_path / f"{number:03}.png", number % 200)
    return sorted(tmp_path.iterdir())


def gray(images):
    return list(images[:, 0, 0, 0])


def test_files_are_read_like_an_array(files):
    images = ImageFiles(files, 8)
    expected = [number % 200 for number in range(300)]
    assert images.shape == (300, 8, 8, 3) and images.dtype == np.uint8
    assert len(images) == 300 and images.ndim == 4 and images.nbytes == 300 * 192
    assert gray(images[:]) == gray(np.asarray(images)) == expected
    assert gray(images[5:300:50]) == expected[5:300:50]
    assert gray(images[[7, -1]]) == [7, 99]
    assert gray(images[np.arange(300) == 3]) == [3]
    assert images[4].shape == (8, 8, 3) and images[4][0, 0, 0] == 4
    assert gray(images.select(np.array([9, 2]))[:]) == [9, 2]
    with pytest.raises(IndexError, match="one of 300.*Received: index=300"):
        images[300]


def test_files_are_stretched_to_one_size(files):
    assert ImageFiles(files, (4, 6))[:2].shape == (2, 4, 6, 3)
    with pytest.raises(ValueError, match="expected `image_size`"):
        ImageFiles(files, None)


@pytest.mark.parametrize(
    "paths", ["a.png", Path("folder"), 5, None, [1, 2], [Path("a.png"), None]]
)
def test_what_is_no_list_of_paths_is_refused(paths):
    with pytest.raises(ValueError, match="a list of paths.*Received: paths=.*find_im"):
        ImageFiles(paths, 8)


def test_minority_files_are_dropped_unread(files):
    labels = np.arange(300) < 100
    images, kept = subsample_minority(ImageFiles(files, 8), labels, minority_count=2)
    assert isinstance(images, ImageFiles) and len(images) == len(kept) == 202
    assert kept.sum() == 2 and max(gray(images[kept == 1])) < 100


def test_a_damaged_file_is_named_when_it_is_read(files):
    files[140].write_bytes(files[140].read_bytes()[:40])
    images = ImageFiles(files, 8)
    assert len(images[:100]) == 100
    for read in (images.check, lambda: images[:], lambda: list(images.batches(128))):
        with pytest.raises(ValueError, match="140.png.*skip_unreadable"):
            read()


@pytest.mark.parametrize("damaged", [False, True])
def test_lazy_folders_hold_what_others_do(tmp_path, damaged):
    for name, count in (("car", 20), ("plane", 10)):
        (tmp_path / name).mkdir()
        for number in range(count):
            write_image(tmp_path / name / f"{number:02}.png", number)
    if damaged:
        path = tmp_path / "car" / "03.png"
        path.write_bytes(path.read_bytes()[:40])
    options = {"majority": "car", "minority": "plane", "skip_unreadable": damaged}
    eager = load_folder(tmp_path, **options)
    lazy = load_folder(tmp_path, **options, lazy=True)
    for one, other in zip(eager, lazy, strict=True):
        assert isinstance(other.images, ImageFiles)
        np.testing.assert_array_equal(one.images, other.images[:])
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.paths == other.paths and one.skipped == other.skipped


def test_mapped_arrays_are_read_from_their_file(tmp_path):
    array = np.random.default_rng(0).random((300, 7), np.float32)
    np.save(tmp_path / "rows.npy", array)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    rows = check_images(mapped, image_shape=(7,))
    assert isinstance(rows, FileRows)
    order = np.random.default_rng(1).permutation(300)
    np.testing.assert_array_equal(rows[order], array[order])
    np.testing.assert_array_equal(np.concatenate([*rows.batches(64)]), array)
    np.testing.assert_array_equal(rows.select(order[:9])[2:4], array[order[2:4]])
    assert rows[np.array([], int)].shape == (0, 7)
    # A part of a mapped array does not know where it begins.
    assert as_lazy(mapped[10:]).base is not None
    np.testing.assert_array_equal(np.asarray(as_lazy(mapped[10:])), array[10:])


def test_numbers_of_mapped_arrays_are_checked(tmp_path):
    array = np.zeros((3000, 7), np.float32)
    array[2000, 3] = np.nan
    np.save(tmp_path / "rows.npy", array)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    with pytest.raises(ValueError, match="finite"):
        check_images(mapped, image_shape=(7,))
    with pytest.raises(ValueError, match=r"\(n, 8\)"):
        check_images(mapped, image_shape=(8,))


def test_a_file_that_ends_too_early_is_refused(tmp_path):
    np.save(tmp_path / "rows.npy", np.zeros((10, 7), np.float32))
    rows = as_lazy(np.load(tmp_path / "rows.npy", mmap_mode="r"))
    with (tmp_path / "rows.npy").open("r+b") as file:
        file.truncate(200)
    with pytest.raises(OSError, match="ends too early.*rows.npy"):
        rows[9]


def test_rows_can_be_made_of_others():
    rows = MappedRows(lambda x: x[:, :1] * 2, np.arange(6.0).reshape(3, 2), (1,))
    assert rows.shape == (3, 1)
    np.testing.assert_array_equal(rows[1:], [[4], [8]])


def test_what_changes_images_changes_their_fingerprint(files):
    def mark(paths=files, size=8):
        return fingerprint(ImageFiles(paths, size).identity())

    before = mark()
    assert mark() == before
    assert mark(size=9) != before and mark(files[::-1]) != before
    assert mark(files[1:]) != before
    write_image(files[0], 1)
    assert mark() != before


def test_arrays_are_recognised_by_their_contents():
    array = np.arange(24).reshape(4, 6)

    def mark(array, rows=(0, 1, 2)):
        return fingerprint(SelectedRows(array, np.array(rows)).identity())

    before, changed = mark(array), array.copy()
    changed[3] = 0
    assert mark(array.copy()) == mark(changed) == before
    changed[2, 5] = 0
    assert (
        len({before, mark(changed), mark(array, (0, 1)), mark(array, (1, 0, 2))}) == 4
    )


class CountedRows(LazyRows):
    """Rows that count how many batches of them were read and not used yet."""

    def __init__(self, count):
        self.shape, self.dtype = (count, 2), np.dtype("float32")
        self.lock, self.alive, self.most = threading.Lock(), 0, 0

    def _read(self, rows):
        with self.lock:
            self.alive += 1
            self.most = max(self.most, self.alive)
        return np.repeat(rows[:, None], 2, axis=1).astype("float32")


def test_few_batches_are_in_memory_however_slow_their_use(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    rows = CountedRows(1000)
    batches = labelled_batches_of(rows)
    for number, batch in enumerate(batches):
        assert batch[0, 0] == number * 10
        time.sleep(0.002)
        with rows.lock:
            rows.alive -= 1
    assert number == 99
    assert rows.most <= 3 + 2


def labelled_batches_of(rows):
    labels = np.zeros(len(rows), int)
    batches = labelled_batches(rows, labels, batch_size=10, image_shape=(2,))
    rows.most = rows.alive = 0  # without what checking has read
    return (images for images, _ in batches)


def test_an_error_is_raised_at_its_turn_and_stops_the_rest():
    started = []

    def work(number):
        started.append(number)
        if number == 3:
            raise RuntimeError("three")
        return number

    answers = work_ahead(work, range(1000))
    assert [next(answers) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RuntimeError, match="three"):
        next(answers)
    assert len(started) < 50


def test_mirror_images_stand_behind_the_images_they_are_of():
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), "uint8")
    expected = np.concatenate([images, images[:, :, ::-1]])
    for given in (images, SelectedRows(images, np.arange(3))):
        both = WithMirrorImages(given)
        np.testing.assert_array_equal(both[:], expected)
        np.testing.assert_array_equal(both[[5, 0, 3]], expected[[5, 0, 3]])
        assert (both.shape, both.dtype) == (expected.shape, np.uint8)
    marks = {fingerprint(each.identity()) for each in (given, both)}
    assert len(marks) == 2
