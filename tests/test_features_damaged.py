"""What is broken in a cache of features is computed again, and said."""

import contextlib
import errno
import json
import os
import shutil
import threading
import warnings

import keras
import numpy as np
import pytest

from egan_keras import features, files
from egan_keras.data.lazy import FileRows
from egan_keras.features import FeatureStore, feature_files, feature_store

LAYOUT = feature_files.Layout(
    10, [((3,), np.dtype("float32")), ((2, 2), np.dtype("float32"))]
)
EXPECTED = [np.arange(30, dtype="f4").reshape(10, 3), np.ones((10, 2, 2), "f4")]


def compute(start):
    for row in range(start, LAYOUT.count):
        yield [array[row : row + 1] for array in EXPECTED]


def read(folder):
    """Returns how many rows were there, and checks all."""
    found, count = feature_files.read_or_compute(folder, LAYOUT, compute)
    for rows, expected in zip(found, EXPECTED, strict=True):
        np.testing.assert_array_equal(rows[:], expected)
    return count


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "cache" / "0123"
    assert read(folder) == 0
    assert read(folder) == 10
    return folder


def replaced(name, content):
    def damage(folder):
        files.remove(folder / name)
        (folder / name).write_bytes(content)

    return damage


def cut(folder):
    with (folder / "0.npy").open("r+b") as file:
        file.truncate(140)


def save(array, **options):
    def damage(folder):
        np.save(folder / "0.npy", array, **options)

    return damage


def made_a_folder(name):
    def damage(folder):
        files.remove(folder / name)
        (folder / name).mkdir()
        (folder / name / "more").write_text("")

    return damage


def made_a_file(folder):
    shutil.rmtree(folder)
    folder.write_text("")


DAMAGES = {
    "empty progress": replaced("progress.json", b""),
    "half progress": replaced("progress.json", b'{"rows": '),
    "progress of text": replaced("progress.json", b'{"rows": "10"}'),
    "progress below 0": replaced("progress.json", b'{"rows": -3}'),
    "progress beyond the end": replaced("progress.json", b'{"rows": 11}'),
    "progress without rows": replaced("progress.json", b"{}"),
    "progress of zeros": replaced("progress.json", b"\0" * 12),
    "progress that is long": replaced("progress.json", b" " * 2000 + b'{"rows": 10}'),
    "progress as a folder": made_a_folder("progress.json"),
    "cut short": cut,
    "no header": replaced("0.npy", b"\x93NUMPY"),
    "nothing": replaced("0.npy", b""),
    "zeros": replaced("0.npy", b"\0" * 300),
    "foreign header": replaced("0.npy", b"\x93NUMPY\x01\0v\0" + b"(" * 118 + b"x" * 99),
    "numbers of another type": save(EXPECTED[0].astype("f8")),
    "columns first": save(np.asfortranarray(EXPECTED[0])),
    "objects": save(np.array([None] * 10), allow_pickle=True),
    "rows as a folder": made_a_folder("0.npy"),
    "a file in place of all": made_a_file,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_files_are_computed_again_and_it_is_said(folder, name):
    DAMAGES[name](folder)
    with pytest.warns(UserWarning, match="0123.* cannot be used .*computed again"):
        assert read(folder) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert read(folder) == 10


@pytest.mark.parametrize(
    "name", [n for n in DAMAGES if n != "a file in place of all"] + ["half done"]
)
def test_damaged_files_of_a_killed_run_are_computed_again(folder, name):
    partial = folder.with_name("0123.partial")
    folder.rename(partial)
    (partial / "progress.json").write_text('{"rows": 5}')
    if name == "half done":
        assert read(folder) == 5
        return
    DAMAGES[name](partial)
    with pytest.warns(UserWarning, match="0123.partial' cannot be used"):
        assert read(folder) == 0
    assert [path.name for path in folder.parent.iterdir()] == ["0123"]


def test_what_stands_in_the_way_of_a_partial_folder_goes(folder):
    shutil.rmtree(folder)
    folder.with_name("0123.partial").write_text("")
    assert read(folder) == 0
    shutil.rmtree(folder)
    (folder.with_name("0123.partial") / "lock").mkdir(parents=True)
    assert read(folder) == 0


def test_what_cannot_be_replaced_is_left_and_told(folder, monkeypatch):
    (folder / "progress.json").write_text("")

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(feature_files, "remove", refuse)
    with pytest.warns(UserWarning, match="cannot be replaced.*Permission denied"):
        assert read(folder) == 0
    with pytest.warns(UserWarning, match="stay in .*0123.partial"):
        assert read(folder) == 10


def test_many_at_once_find_one_damaged_folder(folder):
    (folder / "progress.json").write_text("{")
    counts = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threads = [
            threading.Thread(target=lambda: counts.append(read(folder)))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(counts) == [0, *[10] * 5]
    assert os.listdir(folder.parent) == ["0123"]


class Layer:
    """What has statistics, as the layers of a discriminator do."""

    def __init__(self):
        self.statistics = [keras.Variable(np.zeros(3, "f4")), keras.Variable(False)]

    def get_config(self):
        return {}


def takes_statistics(rows):
    """Returns whether a layer took statistics of rows anew."""
    layer = Layer()
    mean = layer.statistics[0]
    with features.kept_statistics(rows, [layer]):
        is_new = not np.any(keras.ops.convert_to_numpy(mean))
        if is_new:
            mean.assign([1.0, 2.0, 3.0])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(mean), [1, 2, 3])
    return is_new


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-30]),
        lambda path: path.write_bytes(b"PK\x03\x04" + b"\0" * 99),
        lambda path: np.savez(path, **{"0": np.ones(3, "f4")}),
        lambda path: np.savez(path, **{"0": np.ones(4, "f4"), "1": True}),
        lambda path: np.savez(path, **{"0": np.ones(3, "f8"), "1": True}),
        lambda path: np.savez(path, **{"0": np.full(3, np.nan, "f4"), "1": True}),
        lambda path: (path.unlink(), path.mkdir()),
    ],
)
def test_broken_statistics_are_taken_again_and_it_is_said(folder, damage):
    rows = feature_files.read_or_compute(folder, LAYOUT, compute)[0][0]
    assert takes_statistics(rows)
    (path,) = folder.glob("statistics_*.npz")
    damage(path)
    with pytest.warns(UserWarning, match="statistics_.* cannot be used .*again"):
        assert takes_statistics(rows)
    assert not takes_statistics(rows)


class Stem:
    """A function from images to features, without a network."""

    engine = "numpy"

    def __call__(self, images):
        return [images.mean(axis=(1, 2))]

    def row_types(self, image_shape):
        return [((3,), np.dtype("float64"))]

    def identity(self):
        yield b"a stem"

    def pass_over(self, count):
        return contextlib.nullcontext()


IMAGES = np.random.default_rng(0).integers(0, 256, (300, 4, 4, 3), "uint8")


@pytest.mark.parametrize("full", ["before", "meanwhile"])
def test_a_full_disk_is_told_or_memory_taken(tmp_path, monkeypatch, full):
    monkeypatch.setenv("EGAN_KERAS_CACHE", str(tmp_path))
    monkeypatch.setattr(feature_store, "_MOST_BYTES", 1000)
    if full == "before":
        usage = shutil.disk_usage(tmp_path)._replace(free=1000)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        message = "expected 7.2 kB. Received: 1.0 kB free on the disk at "
    else:

        def fail(*arguments):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(feature_files, "_checkpoint", fail)
        message = "The disk is full.* free on the disk at "
    with pytest.raises(OSError, match=f"{message}.*another disk"):
        FeatureStore("disk", verbose=0).features(IMAGES, Stem(), "majority")
    with pytest.warns(UserWarning, match=f"go to memory.*{message}"):
        (rows,) = FeatureStore("auto", verbose=0).features(IMAGES, Stem(), "majority")
    np.testing.assert_array_equal(rows, IMAGES.mean(axis=(1, 2)))
    monkeypatch.setattr(feature_store, "_COPIES", 10**12)
    with pytest.raises(OSError, match=message):
        FeatureStore("auto", verbose=0).features(IMAGES, Stem(), "majority")


def test_a_cache_folder_that_cannot_be_made_is_no_reason_to_stop(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EGAN_KERAS_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(feature_store, "_MOST_BYTES", 1000)
    with pytest.warns(UserWarning, match="go to memory.*file"):
        FeatureStore("auto", verbose=0).features(IMAGES, Stem(), "majority")


def test_progress_is_on_the_disk_before_it_has_its_name(folder, monkeypatch):
    synced = []
    sync = files.sync
    monkeypatch.setattr(files, "sync", lambda path: synced.append(path) or sync(path))
    shutil.rmtree(folder)
    assert read(folder) == 0
    assert any("progress" in path.name for path in synced)
    assert json.loads((folder / "progress.json").read_text()) == {"rows": 10}
    assert isinstance(
        feature_files.read_or_compute(folder, LAYOUT, compute)[0][0], FileRows
    )
