"""The edge kit in `export/`, run as its users do: without TensorFlow or egan_keras."""

import csv
import importlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tiny_export import HEIGHT, WIDTH, export_tiny

from egan_keras.data import decoding

pytestmark = pytest.mark.whole

KIT = Path(__file__).parent.parent / "export"
# Imported by Python as it starts.
BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "egan_keras"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The folder of an exported model."""
    folder = tmp_path_factory.mktemp("tiny")
    export_tiny(folder, "int8")
    return folder


@pytest.fixture
def exported(tiny, tmp_path):
    """A copy of the exported model that a test may change."""
    return Path(shutil.copytree(tiny, tmp_path / "exported")) / "tiny.tflite"


@pytest.fixture
def python(tmp_path):
    """Runs Python where TensorFlow, Keras and egan_keras cannot be imported."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{KIT}"}

    def run(*arguments):
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
        )

    return run


@pytest.fixture
def score(python):
    return lambda *arguments: python(KIT / "score.py", *arguments)


def test_tensorflow_keras_and_the_package_are_out_of_reach(python):
    for name in ("tensorflow", "keras", "egan_keras"):
        assert f"{name} is blocked" in python("-c", f"import {name}").stderr


def test_csv_has_the_scores_of_the_golden_images(score, exported):
    done = score(exported, exported.with_name("tiny_golden"), "--csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(done.stdout.splitlines()))
    golden = json.loads(exported.with_suffix(".json").read_text())["golden"]["images"]
    assert [Path(row["path"]).name for row in rows] == [
        Path(sample["file"]).name for sample in golden
    ]
    for row, sample in zip(rows, golden, strict=True):
        assert float(row["score"]) == pytest.approx(sample["score"], abs=1e-6)
        assert int(row["is_minority"]) == sample["is_minority"]
    assert {row["is_minority"] for row in rows} == {"0", "1"}
    assert "images a second" in done.stderr


def test_json_and_table_tell_the_same_scores(score, exported):
    golden = exported.with_name("tiny_golden")
    found = json.loads(score(exported, golden, "--json").stdout)["images"]
    header, *lines = score(exported, golden).stdout.splitlines()
    assert header.split() == ["path", "score", "is_minority"]
    assert [line.split() for line in lines] == [
        [row["path"], f"{row['score']:.6g}", str(row["is_minority"])] for row in found
    ]


def test_folders_are_searched_and_hidden_and_other_files_passed_over(
    score, exported, tmp_path
):
    pixels = Image.new("RGB", (WIDTH, HEIGHT))
    for name in ("b/2.PNG", "a.jpg", "b/1.png", ".hidden.png", ".git/x.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        pixels.save(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("none")
    found = json.loads(score(exported, tmp_path / "in", "--json").stdout)["images"]
    names = [str(Path(row["path"]).relative_to(tmp_path / "in")) for row in found]
    assert names == ["a.jpg", "b/1.png", "b/2.PNG"]


def test_images_of_12_bits_are_read_by_the_range_of_the_model(
    score, exported, tmp_path
):
    gray = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(gray).save(folder / "8.png")
    Image.fromarray(np.rint(gray * (4095 / 255)).astype(np.uint16)).save(
        folder / "12.tif"
    )
    Image.fromarray(np.full((9, 9), 5000, np.uint16)).save(folder / "black.png")
    (folder / "notes.txt").touch()
    done = score(exported, folder, "--json")
    told = json.loads(done.stdout)
    assert told["images"][0]["score"] == told["images"][1]["score"]
    counts = [told[name] for name in ("n_skipped", "n_constant", "n_clipped")]
    assert counts == [0, 1, 1] and told["passed_over"] == {"other suffix .txt": 1}
    for words in (
        "Passed over: 1 other suffix .txt",
        "Scored all the same, of a single colour: 1 images: ",
        "Clipped to black and white: 1 images: ",
    ):
        assert words in done.stderr
    other = score(exported, folder / "12.tif", "--json", "--gray-range", "0,65535")
    assert json.loads(other.stdout)["images"][0]["score"] != told["images"][0]["score"]
    assert "0 is black and 4095 white" in score(exported, "--info").stdout


def test_images_of_12_bits_are_warned_of_without_a_range(kit, tmp_path):
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 64).save(
        tmp_path / "a.tif"
    )
    deep = kit.decoding.deep_among([tmp_path / "a.tif"])
    with pytest.warns(UserWarning, match=r"have values from 0 to 4032.*0,4095"):
        kit.decoding.warn_of_depths(deep)


def test_a_damaged_image_ends_in_one_sentence_or_is_left_out(score, exported, tmp_path):
    golden = exported.with_name("tiny_golden")
    images = sorted(golden.iterdir())
    whole = images[0].read_bytes()
    (golden / "cut.png").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "scores.csv"
    out.write_text("of yesterday")
    done = score(exported, golden, "--csv", "--out", out)
    assert done.returncode == 2
    assert "cannot be read as an image" in done.stderr and "cut.png" in done.stderr
    assert "Traceback" not in done.stderr
    assert out.read_text() == "of yesterday"
    done = score(exported, golden, "--csv", "--out", out, "--skip-unreadable")
    assert done.returncode == 0 and "1 skipped" in done.stderr
    assert len(out.read_text().splitlines()) == 1 + len(images)
    assert sorted(tmp_path.glob("*scores*")) == [out]


def test_verify_passes_and_tells_of_a_score_that_is_not_the_golden_one(score, exported):
    done = score(exported, "--verify")
    assert done.returncode == 0, done.stdout + done.stderr
    beside = exported.with_suffix(".json")
    told = json.loads(beside.read_text())
    count = len(told["golden"]["images"])
    assert f"{count} of {count} golden samples" in done.stdout
    told["golden"]["images"][1]["score"] += 2 * told["golden"]["tolerance"]
    beside.write_text(json.dumps(told))
    done = score(exported, "--verify")
    assert done.returncode == 1
    assert f"FAILED  {told['golden']['images'][1]['file']}" in done.stdout
    assert f"{count - 1} of {count} golden samples" in done.stdout


@pytest.mark.parametrize("key", ["threshold", "classes"])
def test_verify_finds_a_description_that_was_edited(score, exported, key):
    beside = exported.with_suffix(".json")
    told = json.loads(beside.read_text())
    told[key] = {
        "threshold": {**told["threshold"], "threshold": -0.79},
        "classes": {"majority": ["scratched"], "minority": ["good"]},
    }[key]
    beside.write_text(json.dumps(told))
    done = score(exported, "--verify")
    assert done.returncode == 1
    assert "FAILED  The JSON beside the model tells other things" in done.stdout
    assert f"expected the same {key}" in done.stdout
    done = score(exported, exported.with_name("tiny_golden"))
    assert done.returncode == 2 and "Copy both again" in done.stderr


def test_csv_and_json_go_to_files_as_with_egan_keras(score, exported, tmp_path):
    golden = exported.with_name("tiny_golden")
    printed = score(exported, golden, "--csv").stdout
    path = tmp_path / "deep" / "s.csv"
    done = score(exported, golden, "--csv", path)
    assert done.returncode == 0 and path.read_text() == printed
    assert done.stdout == score(exported, golden).stdout
    assert score(exported, golden, "--csv", "--out", path).stdout == ""
    assert path.read_text() == printed
    score(exported, golden, "--json", path.with_suffix(".json"))
    rows = json.loads(path.with_suffix(".json").read_text())["images"]
    assert [row["path"] for row in rows] == list(map(str, sorted(golden.iterdir())))


def test_names_are_escaped_for_people_and_true_in_the_csv(score, exported, tmp_path):
    source = next(exported.with_name("tiny_golden").iterdir())
    folder = tmp_path / "in"
    folder.mkdir()
    names = [b"a\x1b[2J\nfake 1.png", b"caf\xe9.png", "照片.png".encode()]
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(source.read_bytes())
    path = tmp_path / "s.csv"
    done = score(exported, folder, "--csv", path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4 and "\x1b" not in done.stdout
    assert "a\\x1b[2J\\nfake 1.png" in lines[1] and "caf\\udce9.png" in lines[2]
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        found = [os.fsencode(Path(row["path"]).name) for row in csv.DictReader(file)]
    assert found == names


@pytest.mark.parametrize(
    ("redirection", "code"), [("> /dev/full", 2), (">&-", 0), ("| head -1", 0)]
)
def test_a_file_is_finished_whatever_becomes_of_what_is_printed(
    python, exported, tmp_path, redirection, code
):
    golden, path = exported.with_name("tiny_golden"), tmp_path / "s.csv"
    command = [sys.executable, KIT / "score.py", exported, golden, "--csv", path]
    program = (
        "import subprocess, sys\n"
        f"sys.exit(subprocess.run({shlex.join(map(str, command))!r} + "
        f"' {redirection}; exit ${{PIPESTATUS[0]}}', shell=True, "
        "executable='/bin/bash').returncode)"
    )
    done = python("-c", program)
    assert done.returncode == code and "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert len(path.read_text().splitlines()) == 1 + len(list(golden.iterdir()))
    assert ("cannot be written" in done.stderr) == (code == 2)


def test_sigterm_ends_it_as_ctrl_c_does(exported, tmp_path):
    # Seconds of work, of which one is waited for.
    folder, path = tmp_path / "in", tmp_path / "s.csv"
    folder.mkdir()
    path.write_text("of yesterday")
    Image.new("RGB", (3000, 3000)).save(folder / "0.png")
    for number in range(1, 200):
        os.link(folder / "0.png", folder / f"{number}.png")
    command = [sys.executable, "-u", KIT / "score.py", exported, folder, "--csv", path]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.readline()
    child.terminate()
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130 and said.endswith(b"score.py: interrupted\n")
    assert path.read_text() == "of yesterday"
    assert [each.name for each in tmp_path.glob("*s.csv*")] == ["s.csv"]


def test_golden_images_outside_the_folder_are_refused(score, exported, tmp_path):
    beside = exported.with_suffix(".json")
    told = json.loads(beside.read_text())
    first = exported.parent / told["golden"]["images"][0]["file"]
    shutil.copy(first, tmp_path / "out.png")
    told["golden"]["images"][0]["file"] = "../out.png"
    beside.write_text(json.dumps(told))
    done = score(exported, "--verify")
    assert done.returncode == 2 and "files below its folder" in done.stderr


def test_info_tells_size_classes_threshold_and_guarantee(score, exported):
    told = score(exported, "--info").stdout
    for words in (
        f"{WIDTH} x {HEIGHT} pixels",
        "good (high score)",
        "scratched, dented (low score)",
        "-0.8; minority where the score is below",
        "No guarantee: the threshold was set on scores before quantisation",
    ):
        assert words in told


def test_benchmark_measures_each_number_of_threads(python, exported):
    done = python(
        KIT / "benchmark.py", exported, "--threads", "1,2", "--runs", 20, "--json"
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["model_bytes"] == exported.stat().st_size
    assert [row["threads"] for row in told["measured"]] == [1, 2]
    for row in told["measured"]:
        assert 0 < row["median_ms"] <= row["p90_ms"]
        assert row["images_per_second"] > 0 and row["load_ms"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected images, or one of --info and --verify"),
        (["--verify", "--csv"], "go with images only"),
        (["--threads", "0", "x.png"], "expected at least 1. Received: 0"),
        (["x.png", "--out", str(KIT)], "take a file to write; expected images before"),
        (["--csv", "x.png", "y.png"], "take a file to write; expected images before"),
        (["nowhere"], "There is no such file or folder. Received: path='nowhere'"),
        ([__file__], "not of a supported image type"),
    ],
)
def test_wrong_calls_are_told_in_words(score, exported, arguments, message):
    done = score(exported, *arguments)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


def _images() -> dict[str, Image.Image]:
    random = np.random.default_rng(0)
    pixels = Image.fromarray(random.integers(0, 256, (37, 53, 3), dtype=np.uint8))
    alpha = pixels.copy()
    alpha.putalpha(Image.fromarray(random.integers(0, 256, (37, 53), dtype=np.uint8)))
    deep = random.integers(0, 65536, (37, 53), dtype=np.uint16)
    return {
        "colour.jpg": pixels,
        "gray.png": pixels.convert("L"),
        "palette.png": pixels.convert("P", palette=Image.Palette.ADAPTIVE),
        "clear.gif": alpha.convert("P"),
        "alpha.png": alpha,
        "gray_alpha.png": alpha.convert("LA"),
        "deep.png": Image.fromarray(deep),
        "deep.tif": Image.fromarray(deep),
        "float.tif": Image.fromarray(random.random((37, 53), dtype=np.float32)),
        "print.jpg": pixels.convert("CMYK"),
        "black.bmp": pixels.convert("1"),
        "small.webp": alpha,
    }


@pytest.fixture
def kit(monkeypatch):
    """The kit's modules of these names, imported as its users do."""
    monkeypatch.syspath_prepend(KIT)
    names = ("decoding", "finding", "images")
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    for name in (*names, "text"):
        sys.modules.pop(name)


def test_images_are_decoded_bit_for_bit_as_by_the_package(kit, tmp_path):
    exif = Image.Exif()
    for name, image in _images().items():
        image.save(tmp_path / name)
    for turn in range(1, 9):
        exif[274] = turn
        _images()["colour.jpg"].save(tmp_path / f"turned{turn}.jpg", exif=exif)
    damaged = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x0f\x01\x03\0\x01\0\0\0\x05\0\0\0"
    damaged += b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    _images()["colour.jpg"].save(tmp_path / "mistyped.jpg", exif=damaged)
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 21
    for path in paths:
        for size in (None, (24, 32), (96, 80)):
            expected = decoding.decode(path, size).pixels
            np.testing.assert_array_equal(kit.images.decode_image(path, size), expected)


@pytest.mark.parametrize("name", ["decoding", "finding"])
def test_what_reads_images_is_a_copy_of_what_the_package_does_it_with(name):
    own = Path(decoding.__file__).with_name(f"{name}.py").read_text("utf-8")
    for package in ("egan_keras.data.", "egan_keras."):
        own = own.replace(f"from {package}", "from ")
    assert (KIT / f"{name}.py").read_text("utf-8") == own


def test_what_is_over_the_limits_is_refused(kit, tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    Image.new("RGB", (50, 40)).save(path)
    monkeypatch.setattr(kit.decoding, "MAX_PIXELS", 1999)
    with pytest.raises(
        kit.images.UnreadableImageError, match="50 x 40 pixels, more than"
    ):
        kit.images.decode_image(path)
    monkeypatch.setattr(kit.decoding, "MAX_FILE_BYTES", 10)
    with pytest.raises(
        kit.images.UnreadableImageError, match="more than the 10 allowed"
    ):
        kit.images.decode_image(path)
