"""Which images `evaluate` judges: by their contents, wherever the folder is."""

import os
import shutil
import zlib

import numpy as np
import pytest
from PIL import Image

from egan_keras.cli.run_images import load_images
from egan_keras.cli.runs import RunConfig, describe_files
from egan_keras.data import load_folder

pytestmark = pytest.mark.whole

OPTIONS = {
    "majority": ["good"],
    "minority": ["bad"],
    "minority_count": None,
    "ratio": None,
    "seed": 0,
    "validation_fraction": 0.2,
    "test_fraction": 0.2,
}


def write_images(folder, count, start=0):
    """Writes noise that is in no other file, under the names a camera gives."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        random = np.random.default_rng([start, number])
        pixels = random.integers(0, 256, (8, 8, 3), "uint8")
        path = folder / f"IMG{number:04}.png"
        Image.fromarray(pixels).save(path, compress_level=0)


def write_root(root, start=0, parts=("",), good=20, bad=10):
    for number, part in enumerate(parts):
        write_images(root / part / "good", good, start + 2 * number)
        write_images(root / part / "bad", bad, start + 2 * number + 1)
    return root


@pytest.fixture
def root(tmp_path):
    return write_root(tmp_path / "root", parts=("train", "test"))


@pytest.fixture
def new(tmp_path):
    return tmp_path / "new"


def config_of(root, **changes):
    """Returns what `train` notes of the images of a run."""
    options = OPTIONS | changes
    splits = load_folder(root, **options)
    config = RunConfig(
        command="egan-keras train",
        options=options | {"data": str(root)},
        recipe={},
        image_shape=(8, 8, 3),
        versions={},
        **describe_files(splits, root),
    )
    return config


def without_hashes(config):
    """Returns the configuration as earlier versions wrote it."""
    config.hashes.clear()
    return config


def judged(chosen, root):
    return {path.removeprefix(f"{root}/") for path in chosen.images.paths}


def named(config, split="test"):
    return {path for paths in config.files[split].values() for path in paths}


def other_noise(path):
    """Writes another image of the same size and time."""
    state = path.stat()
    write_images(path.parent / "aside", 1, start=zlib.crc32(bytes(path)))
    shutil.move(path.parent / "aside" / "IMG0000.png", path)
    (path.parent / "aside").rmdir()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_size == state.st_size


def test_the_run_s_own_split_is_judged(root):
    config = config_of(root)
    chosen = load_images(config, root)
    assert chosen.split == "test" and judged(chosen, root) == named(config)
    assert not any(chosen.counts.values()) and not chosen.notes
    assert chosen.images.majority_count == 20 and chosen.images.minority_count == 10
    for split in ("train", "validation"):
        assert judged(load_images(config, root, split), root) == named(config, split)


def test_what_is_gone_changed_or_new_is_counted_and_not_judged(root):
    config = config_of(root)
    (root / "test/good/IMG0000.png").unlink()
    other_noise(root / "test/bad/IMG0003.png")
    write_images(root / "test/good/more", 30, start=7)
    chosen = load_images(config, root)
    gone_or_changed = {"test/good/IMG0000.png", "test/bad/IMG0003.png"}
    assert judged(chosen, root) == named(config) - gone_or_changed
    assert chosen.counts == {"n_gone": 1, "n_changed": 1, "n_new": 30}
    first, second = chosen.notes
    assert "1 (test/good/IMG0000.png) are gone and 1 (test/bad/IMG0003" in first
    assert "30 images" in second and "--split all" in second
    report = config.report_values(split=chosen.split, **chosen.counts)
    assert (report["n_gone"], report["n_new"], report["split"]) == (1, 30, "test")
    everything = load_images(config, root, "all")
    assert len(everything.images) == 30 - 1 + 30


def test_names_do_not_matter(root, new):
    config = config_of(root)
    root.rename(new)
    (new / "test/good/IMG0000.png").rename(new / "test/good/other.png")
    one, two, aside = (new / f"test/good/{n}.png" for n in ("IMG0001", "IMG0002", "x"))
    one.rename(aside), two.rename(one), aside.rename(two)
    chosen = load_images(config, new)
    assert chosen.split == "test" and len(chosen.images) == 30
    assert not any(chosen.counts.values())


def test_a_label_that_was_corrected_since_does_not_keep_the_old_one(root):
    config = config_of(root)
    (root / "test/good/IMG0000.png").rename(root / "test/bad/from_good.png")
    chosen = load_images(config, root)
    assert len(chosen.images) == 29
    assert chosen.counts == {"n_gone": 1, "n_changed": 0, "n_new": 0}


def test_a_test_image_replaced_by_a_training_image_does_not_judge(root):
    config = config_of(root)
    shutil.copy2(root / "train/good/IMG0000.png", root / "test/good/IMG0000.png")
    chosen = load_images(config, root)
    assert len(chosen.images) == 29 and chosen.counts["n_changed"] == 1


def test_nothing_left_of_a_split_is_refused(root):
    config = config_of(root)
    for path in (root / "test").rglob("*.png"):
        other_noise(path)
    message = "test split holds no image.*30 that.*0 are gone, 30 have.*--split all"
    with pytest.raises(ValueError, match=message):
        load_images(config, root)
    assert len(load_images(config, root, "all").images) == 30
    config.files["validation"] = {}
    with pytest.raises(ValueError, match="validation split holds no image"):
        load_images(config, root, "validation")


def test_minority_images_that_training_was_not_to_have_are_not_new(root):
    config = config_of(root, minority_count=2)
    config.unused["bad"] = [f"train/bad/IMG{number:04}.png" for number in range(10)]
    assert load_images(config, root).counts["n_new"] == 0


@pytest.mark.parametrize("parts", [("",), ("test",), ("train", "test"), ("Val", "")])
def test_a_new_folder_is_judged_as_a_whole(root, new, parts):
    config = config_of(root)
    write_root(new, 50, parts)
    chosen = load_images(config, new)
    assert chosen.split == "all" and len(chosen.images) == 30 * len(parts)
    assert not any(chosen.counts.values()) and not chosen.notes


def test_images_that_the_run_has_seen_do_not_judge(root, new):
    config = config_of(root)
    write_root(new, 50)
    seen = [*config.files["train"]["good"][:2], config.files["validation"]["good"][0]]
    for number, path in enumerate(seen):
        shutil.copy(root / path, new / "good" / f"seen{number}.png")
    # A test image was not seen.
    shutil.copy(root / "test/good/IMG0000.png", new / "good" / "tested.png")
    chosen = load_images(config, new)
    assert chosen.counts["n_seen"] == 3 and len(chosen.images) == 31
    assert "3 (" in chosen.notes[0] and "seen0.png" in chosen.notes[0]
    for path in [*new.rglob("*.png")]:
        if "seen" not in path.name:
            path.unlink()
    with pytest.raises(ValueError, match="No image is left.*3 images of.*3 of which"):
        load_images(config, new)


def test_a_new_folder_need_not_hold_all_classes(root, new):
    config = config_of(root)
    write_images(new / "good", 5, start=60)
    (new / "bad").mkdir()
    chosen = load_images(config, new)
    assert (chosen.images.majority_count, chosen.images.minority_count) == (5, 0)
    assert chosen.notes == ["There is no image of bad."]
    with pytest.raises(FileNotFoundError, match="no image of any of the classes.*good"):
        load_images(config, new / "good")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_images(config, new / "none")


def test_a_split_of_another_folder_is_made_without_what_was_seen(root, new):
    config = config_of(root)
    write_root(new, 50, ("train", "test"))
    shutil.copy(root / config.files["train"]["good"][0], new / "test/good/seen.png")
    chosen = load_images(config, new, "test")
    assert (chosen.split, len(chosen.images)) == ("test", 30)
    assert chosen.counts["n_seen"] == 1


def test_copies_in_a_new_folder_are_dealt_with_as_in_training(root, new):
    config = config_of(root)
    write_root(new, 50)
    shutil.copy(new / "good/IMG0000.png", new / "good/again.png")
    with pytest.warns(UserWarning, match="further copies.*: 1 "):
        chosen = load_images(config, new)
    assert chosen.counts["n_duplicates"] == 1 and len(chosen.images) == 31
    shutil.copy(new / "good/IMG0001.png", new / "bad/both.png")
    with pytest.raises(ValueError, match="majority and minority both"):
        load_images(config, new)
    with pytest.warns(UserWarning, match="left out"):
        chosen = load_images(config, new, duplicates="drop")
    assert chosen.counts["n_dropped_duplicates"] == 2 and len(chosen.images) == 30


def test_runs_of_earlier_versions_know_names_alone(root, new):
    config = without_hashes(config_of(root))
    assert load_images(config, root).split == "test"
    (root / "test/good/IMG0000.png").unlink()
    assert load_images(config, root).counts == {"n_gone": 1, "n_changed": 0, "n_new": 0}
    # What has the name of an image trained on may be it.
    write_root(new, 50, ("train",))
    with pytest.raises(ValueError, match="No image is left"):
        load_images(config, new)
    write_root(new / "more", 70)
    assert len(load_images(config, new / "more").images) == 30


def test_unreadable_files_of_a_new_folder_are_counted(root, new):
    config = config_of(root)
    write_root(new, 50)
    (new / "good/torn.png").write_bytes(b"torn")
    chosen = load_images(config, new, skip_unreadable=True)
    assert config.report_values(split=chosen.split, **chosen.counts)["n_skipped"] == 1
