import json
import os
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from egan_keras import features
from egan_keras.backbones import Backbone, cut
from egan_keras.data import ImageFiles, labelled_batches
from egan_keras.data.lazy import FileRows
from egan_keras.features import FeatureStore, feature_files, feature_store
from egan_keras.files import cache_folder

pytestmark = pytest.mark.whole


def build_stem():
    keras.utils.set_random_seed(0)
    network = Backbone("MobileNet", {"alpha": 0.25}).build(32, weights=None)
    return cut(network, 5)[0]


@pytest.fixture(scope="module")
def stem():
    return build_stem()


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), "uint8")
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return ImageFiles(sorted(folder.iterdir()), 32)


class Counted:
    """A stem's function that counts its images, and may stop."""

    def __init__(self, stem, stop_after=None):
        self._function = features.StemFunction(stem)
        for name in ("row_types", "identity", "engine", "pass_over"):
            setattr(self, name, getattr(self._function, name))
        self.count, self.stop_after = 0, stop_after

    def __call__(self, images):
        if self.stop_after is not None and self.count >= self.stop_after:
            raise KeyboardInterrupt
        self.count += len(images)
        return self._function(images)


def computed(stem, images, folder, **options):
    """Returns features from a cache, and of how many images they were computed."""
    compute = Counted(stem, **options)
    (rows,) = FeatureStore(folder, verbose=0).features(images, compute, "majority")
    return rows, compute.count


def test_files_hold_what_memory_does_and_are_read_again(stem, files, tmp_path, capsys):
    cache = FeatureStore(tmp_path / "cache")
    (expected,) = features.stem_features(stem, files)
    (rows,) = cache.features(files, features.StemFunction(stem), "majority")
    assert isinstance(rows, FileRows)
    np.testing.assert_array_equal(rows[:], expected)
    (folder,) = (tmp_path / "cache").iterdir()
    printed = capsys.readouterr().out
    assert "300 majority images" in printed and "kept for later runs" in printed
    assert f"To delete them: rm -r {folder}" in printed
    again, count = computed(stem, files, tmp_path / "cache")
    assert count == 0
    np.testing.assert_array_equal(again[:], expected)


def test_another_model_alike_reads_the_same_files(stem, files, tmp_path):
    computed(stem, files, tmp_path / "cache")
    # Keras numbers layers by what was built before.
    assert computed(build_stem(), files, tmp_path / "cache")[1] == 0


@pytest.mark.parametrize("change", ["file", "order", "size", "weights", "cut"])
def test_a_stale_cache_is_never_used(files, tmp_path, change):
    stem = build_stem()
    before, _ = computed(stem, files, tmp_path / "cache")
    before = before[:]
    if change == "file":
        Image.fromarray(files[7][::-1]).save(files._paths[7])
    elif change == "order":
        files = files.select(np.arange(300)[::-1])
    elif change == "size":
        stem = keras.Sequential(
            [keras.Input((40, 40, 3)), keras.layers.CenterCrop(32, 32), stem]
        )
        stem = keras.Model(stem.inputs, stem.outputs)
        files = ImageFiles(files._paths, 40)
    elif change == "weights":
        stem.weights[0].assign(stem.weights[0] * 2)
    else:
        stem = keras.Model(stem.inputs, keras.layers.ReLU()(-stem.outputs[0]))
    rows, count = computed(stem, files, tmp_path / "cache")
    assert count == 300
    assert not np.array_equal(rows[:], before)


def test_files_replaced_while_they_are_read_leave_no_features(stem, files, tmp_path):
    class Meanwhile(Counted):
        def __call__(self, images):
            if self.count == 0:
                Image.fromarray(files[299][::-1]).save(files._paths[299])
            return super().__call__(images)

    cache = FeatureStore(tmp_path / "cache", verbose=0)
    with pytest.raises(ValueError, match="majority images changed.*Run it again"):
        cache.features(files, Meanwhile(stem), "majority")
    assert not list((tmp_path / "cache").iterdir())
    assert computed(stem, files, tmp_path / "cache")[1] == 300


def test_an_interrupted_extraction_goes_on_at_its_last_checkpoint(
    stem, files, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(feature_files, "_SECONDS_BETWEEN_CHECKPOINTS", 0)
    with pytest.raises(KeyboardInterrupt):
        computed(stem, files, tmp_path / "cache", stop_after=256)
    (partial,) = (tmp_path / "cache").iterdir()
    assert partial.suffix == ".partial"
    assert json.loads((partial / "progress.json").read_text())["rows"] == 256
    cache = FeatureStore(tmp_path / "cache", verbose=2)
    compute = Counted(stem)
    (rows,) = cache.features(files, compute, "majority")
    assert compute.count == 44
    assert "from image 256 on" in capsys.readouterr().out
    expected, _ = computed(stem, files, tmp_path / "other")
    np.testing.assert_array_equal(rows[:], expected[:])
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [""]


@pytest.mark.parametrize("damage", ["shorter", "missing", "no progress"])
def test_damaged_files_are_computed_anew(stem, files, tmp_path, damage):
    expected = computed(stem, files, tmp_path / "cache")[0][:]
    (folder,) = (tmp_path / "cache").iterdir()
    if damage == "shorter":
        with (folder / "0.npy").open("r+b") as file:
            file.truncate(1000)
    else:
        (folder / {"missing": "0.npy", "no progress": "progress.json"}[damage]).unlink()
    rows, count = computed(stem, files, tmp_path / "cache")
    assert count == 300
    np.testing.assert_array_equal(rows[:], expected)


def test_of_two_at_the_same_time_one_computes(stem, files, tmp_path):
    answers = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(computed(stem, files, tmp_path / "cache"))
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(count for _, count in answers) == [0, 300]
    np.testing.assert_array_equal(answers[0][0][:], answers[1][0][:])
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_disk_without_the_space_is_told_before_any_work(
    stem, files, tmp_path, monkeypatch
):
    usage = feature_files.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(feature_files.shutil, "disk_usage", lambda path: usage)
    compute = Counted(stem)
    with pytest.raises(
        OSError,
        match="lacks the space for the features; expected [3-9].*Received: 1.0 kB free",
    ):
        FeatureStore(tmp_path, verbose=0).features(files, compute, "majority")
    assert compute.count == 0


def test_memory_is_chosen_where_the_features_fit(stem, files, tmp_path, monkeypatch):
    monkeypatch.setenv("EGAN_KERAS_CACHE", str(tmp_path / "cache"))
    assert isinstance(computed(stem, files, "auto")[0], np.ndarray)
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(feature_store, "_MOST_BYTES", 1000)
    assert isinstance(computed(stem, files, "auto")[0], FileRows)
    assert (tmp_path / "cache").is_dir()
    assert isinstance(computed(stem, files, "memory")[0], np.ndarray)
    assert computed(stem, files, "disk")[1] == 0


def test_the_default_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("EGAN_KERAS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "egan_keras"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().parts[-2:] == (".cache", "egan_keras")


def test_a_user_without_a_home_has_a_cache_for_the_process(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("EGAN_KERAS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    folder = cache_folder()
    assert folder == cache_folder() and folder.parent.is_dir()
    FeatureStore()


def test_a_place_that_is_none_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="place of the features is a file.*Received"):
        FeatureStore(tmp_path / "file")
    with pytest.raises(ValueError, match="'auto', 'memory', 'disk' or a folder.*3"):
        FeatureStore(3)


def test_what_a_dataset_gives_goes_to_files_without_a_name(stem, tmp_path, capsys):
    images = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), "uint8")
    labels = np.arange(300) % 5 == 0
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(50)
    answers = [
        features.by_class(
            labelled_batches(dataset),
            features.StemFunction(stem),
            cache=FeatureStore(place),
        )[:2]
        for place in ("memory", tmp_path)
    ]
    assert "cannot be recognised" in capsys.readouterr().out
    for one, other in zip(*answers, strict=True):
        assert isinstance(other[0], FileRows) and other[0].path is None
        np.testing.assert_array_equal(one[0], other[0][:])
    assert os.listdir(tmp_path) == []
