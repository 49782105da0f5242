"""The page of export/web in a headless Chromium, against Python's pixels and scores."""

import http.client
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import PIL
import pytest
from ai_edge_litert.interpreter import Interpreter
from PIL import Image
from tiny_export import HEIGHT, THRESHOLD, WIDTH, export_tiny

import egan_keras as ek
from egan_keras.data.decoding import decode
from egan_keras.evaluation import overlaid

pytestmark = pytest.mark.web

WEB = Path(__file__).parents[1] / "export" / "web"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPEN = {"open": "?model=models/tiny.tflite"}


@pytest.fixture(scope="session")
def node():
    found = shutil.which("node")
    if not found:
        pytest.skip("needs node (https://nodejs.org)")
    return found


@pytest.fixture(scope="session")
def browse(node):
    """browse(folder of models, *steps) returns what the page shows after each step."""
    if not (WEB / "node_modules" / "puppeteer-core").is_dir():
        pytest.skip("needs the packages of export/web: run `make test-web`")
    chromium = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, BROWSERS)), None
    )
    if not chromium:
        pytest.skip("needs Chromium, in the path or named by the variable CHROMIUM")

    def work(models, *steps):
        command = [node, "test/browser.mjs", chromium, models, json.dumps(steps)]
        done = subprocess.run(command, cwd=WEB, capture_output=True, timeout=180)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return work


@pytest.fixture(scope="module", params=["none", "int8"])
def exported(request, tmp_path_factory):
    """A folder with tiny.tflite, tiny.json and tiny_golden/."""
    return export_tiny(tmp_path_factory.mktemp("web"), request.param).parent


@pytest.fixture
def photo(tmp_path):
    """A JPEG of another size whose EXIF says that it lies on its side."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (15, 20, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "photo.jpg"
    Image.fromarray(pixels).resize((640, 427)).save(path, exif=exif)
    return path


def score_in_python(folder, pixels):
    run = Interpreter(str(folder / "tiny.tflite")).get_signature_runner()
    dtype = run.get_input_details()["images"]["dtype"]
    return float(run(images=pixels[None].astype(dtype))["score"][0, 0])


def pixels_of(state):
    return np.array(state["pixels"], np.uint8).reshape(HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        ((427, 640), (32, 32)),
        ((900, 1300), (224, 160)),
        ((7, 5), (32, 48)),
        ((1, 1), (8, 8)),
        ((1000, 333), (224, 96)),
    ],
)
def test_resize_equals_pillows_bilinear(node, size, wanted):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    command = [node, WEB / "test" / "resize.mjs", *map(str, size + wanted)]
    done = subprocess.run(command, input=pixels.tobytes(), stdout=subprocess.PIPE)
    resized = np.frombuffer(done.stdout, np.uint8).reshape(*wanted, 3)
    image = Image.fromarray(pixels)
    expected = np.array(image.resize(wanted[::-1], Image.Resampling.BILINEAR))
    # Only from version 13 on does Pillow begin with the columns of a tall image.
    columns_first = size[0] - wanted[0] > max(0, 2 * (size[1] - wanted[1]))
    largest = 1 if columns_first and int(PIL.__version__.split(".")[0]) < 13 else 0
    assert np.abs(resized.astype(int) - expected).max() <= largest


def test_golden_samples_pass(browse, exported):
    beside = json.loads((exported / "tiny.json").read_text())["golden"]
    _, state = browse(exported, OPEN, {"golden": True})
    assert state["message"] is None
    assert len(state["golden"]) == len(beside["images"]) > 0
    for row, expected in zip(state["golden"], beside["images"], strict=True):
        assert row["expected"] == expected["score"]
        assert row["difference"] == pytest.approx(abs(row["actual"] - row["expected"]))
        assert row["difference"] <= beside["tolerance"]
        assert row["passed"]


def test_a_golden_sample_that_differs_fails(browse, exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "models")
    beside = json.loads((folder / "tiny.json").read_text())
    beside["golden"]["images"][0]["score"] += 2 * beside["golden"]["tolerance"]
    beside["golden"]["images"][1]["is_minority"] ^= 1
    (folder / "tiny.json").write_text(json.dumps(beside))
    _, state = browse(folder, OPEN, {"golden": True})
    first, second, *others = (row["passed"] for row in state["golden"])
    assert (first, second, all(others)) == (False, False, True)
    count = len(others) + 2
    assert state["summary"].startswith(f"{count - 2} of {count} passed")


def test_photo_scores_as_in_python_however_it_comes(browse, exported, photo):
    expected = decode(photo, (HEIGHT, WIDTH)).pixels
    steps = [{name: [str(photo)]} for name in ("drop", "paste")]
    choice = {"choose": [str(photo)], "input": "image-input"}
    for state in browse(exported, OPEN, *steps, choice)[1:]:
        assert state["message"] is None
        np.testing.assert_array_equal(pixels_of(state), expected)
        score = score_in_python(exported, expected)
        assert state["score"] == pytest.approx(score, abs=1e-4)
        assert state["kind"] == ("minority" if score < THRESHOLD else "majority")
        assert "stretched from 427 x 640" in state["caption"]
        assert state["marked"] is None  # this model judges no places


def test_heat_map_is_drawn_as_in_python(browse, digits, tmp_path):
    images, labels = digits
    images = images[:, :32, :24]
    model = ek.EGAN.from_backbones(
        *2 * ["MobileNet:alpha=0.25"],
        image_shape=images.shape[1:],
        network_size=64,
        weights=None,
    )
    model.compile()
    model.fit(images[:60], labels[:60], epochs=1, verbose=0)
    held_out = {"validation_data": (images[60:90], labels[60:90])}
    path = tmp_path / "tiny.tflite"
    ek.export_tflite(model, path, heat_map=True, verbose=0, **held_out)
    files = [str(tmp_path / name) for name in ("image.png", "other.png")]
    for file, image in zip(files, images[100:102], strict=True):
        Image.fromarray(image).save(file)
    one, both = (
        {"choose": chosen, "input": "image-input"} for chosen in (files[:1], files)
    )
    state, listed = browse(tmp_path, OPEN, one, both)[1:]
    assert state["message"] is None
    heat = ek.heat_maps(ek.load_tflite(path), images[100:101])[0]
    expected = overlaid(images[100], heat).astype(int)
    row = next(row for row in listed["list"] if row["file"] == "image.png")
    for drawn in (state["marked"], row["picture"]):
        drawn = np.array(drawn).reshape(expected.shape)
        assert np.abs(drawn - expected).max() <= 3
    assert np.ptp(heat) > 0


@pytest.fixture
def folder(tmp_path):
    """Five images, one of them in a folder below, a text and a hidden file."""
    random = np.random.default_rng(3)
    path = tmp_path / "photographs"
    (path / "below").mkdir(parents=True)
    for name in ("a.png", "b.png", "c.png", "d.png", "below/e.png"):
        coarse = random.integers(0, 256, (3, 4, 3), dtype=np.uint8)
        pixels = coarse.repeat(8, axis=0).repeat(8, axis=1)
        Image.fromarray(pixels).save(path / name)
    (path / "notes.txt").write_text("no image")
    (path / ".hidden").write_text("no image")
    return path


def listed_in_python(exported, folder):
    """Scores of a folder's images by their paths, lowest first."""
    files = sorted(folder.rglob("*.png"))
    scores = [
        (
            str(file.relative_to(folder.parent)),
            score_in_python(exported, decode(file).pixels),
        )
        for file in files
    ]
    return sorted(scores, key=lambda pair: pair[1])


def test_a_folder_is_listed_lowest_scores_first(browse, exported, folder):
    choice = {"choose": [str(folder)], "input": "folder-input"}
    for state in browse(exported, OPEN, {"drop": [str(folder)]}, choice)[1:]:
        *rows, last = state["list"]
        expected = listed_in_python(exported, folder)
        assert [row["file"] for row in rows] == [file for file, _ in expected]
        scores = [score for _, score in expected]
        assert [row["score"] for row in rows] == pytest.approx(scores, abs=1e-4)
        told = ["minority" if score < THRESHOLD else "majority" for score in scores]
        assert [row["told"] for row in rows] == told
        for row in rows:
            picture = decode(folder.parent / row["file"]).pixels
            np.testing.assert_array_equal(row["picture"], picture.ravel())
        assert "The file is not an image that this page reads" in last["file"]
        assert "file=photographs/notes.txt" in last["file"]
        counts = f"{told.count('minority')} minority, {told.count('majority')} majority"
        assert state["listed"] == f"{counts}, 1 could not be read."
        assert state["running"] is state["message"] is state["score"] is None


def test_a_row_shows_its_image_by_the_keyboard(browse, exported, folder):
    press = {"press": "Enter", "on": "#list-rows tr:nth-child(2) button"}
    drop = {"drop": [str(folder)]}
    file, score = listed_in_python(exported, folder)[1]
    state = browse(exported, OPEN, drop, press)[2]
    assert state["caption"].startswith(f"{file} as the model sees it")
    assert state["score"] == pytest.approx(score, abs=1e-4)
    np.testing.assert_array_equal(pixels_of(state), decode(folder.parent / file).pixels)
    assert len(state["list"]) == 6


def test_many_images_are_stopped_by_escape_and_by_others(browse, exported, tmp_path):
    random = np.random.default_rng(4)
    pixels = random.integers(0, 256, (1500, 2000, 3), dtype=np.uint8)
    files = [str(tmp_path / f"{index:03}.jpg") for index in range(40)]
    for file in files:
        Image.fromarray(pixels).save(file)
    many = {"choose": files, "input": "image-input", "stopAfter": 2}
    one = {"choose": files[:1], "input": "image-input"}
    stopped, other = browse(exported, OPEN, many, one)[1:]
    assert 2 <= len(stopped["list"]) < 40
    assert stopped["listed"].startswith(f"Stopped after {len(stopped['list'])} of 40. ")
    assert stopped["running"] is None
    assert other["list"] == []
    assert other["caption"].startswith("000.jpg as the model sees it")


def test_tables_fit_a_narrow_screen(browse, exported, folder, tmp_path):
    narrow = {"look": str(tmp_path / "page.png"), "width": 390}
    steps = [OPEN, {"golden": True}, {"drop": [str(folder)]}, narrow]
    state = browse(exported, *steps)[-1]
    assert len(state["list"]) == 6
    assert len(state["golden"]) > 0
    assert state["wider"] == 0


def test_without_a_model_a_folder_is_not_scored(browse, folder, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    state = browse(models, {"open": ""}, {"drop": [str(folder)]})[1]
    assert "There is no model yet: expected one before an image." in state["message"]
    assert state["list"] == []


def test_transparent_image_is_laid_on_white(browse, exported, tmp_path):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    path = tmp_path / "transparent.png"
    Image.fromarray(pixels).save(path)
    choice = {"choose": [str(path)], "input": "image-input"}
    state = browse(exported, OPEN, choice)[1]
    difference = pixels_of(state).astype(int) - decode(path).pixels
    assert np.abs(difference).max() <= 1


def test_dropped_folder_is_a_model_with_its_golden_samples(browse, exported, tmp_path):
    states = browse(tmp_path, {"open": ""}, {"drop": [str(exported)]}, {"golden": True})
    assert "Put egan.tflite, egan.json and egan_golden/ into" in states[0]["message"]
    assert states[1]["model"].startswith("tiny.tflite")
    count = len(states[2]["golden"])
    assert states[2]["summary"].startswith(f"{count} of {count} passed")


def test_what_cannot_be_used_is_refused_in_a_sentence(browse, exported, tmp_path):
    content = (exported / "tiny.tflite").read_bytes()
    (tmp_path / "cut.tflite").write_bytes(content[: len(content) // 2])
    (tmp_path / "none.tflite").write_bytes(b"no model")
    other = content.replace(b"egan_keras", b"other_name")
    (tmp_path / "foreign.tflite").write_bytes(other)
    free = content.replace(b'"shape": [1,', b'"shape": [2,')
    (tmp_path / "batch.tflite").write_bytes(free)
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    beside = str(exported / "tiny.json")
    refused = {
        "cut.tflite": "The model is damaged: .* Received: file=cut.tflite of",
        "none.tflite": "The file is no TFLite model: .* file=none.tflite",
        "foreign.tflite": "The model is not one of egan_keras: ",
        "batch.tflite": "The model's input does not fit: .* shape=2,24,32,3",
        "text.png": "The file is not an image that this page reads: ",
        "broken.png": "The image cannot be decoded: .* file=broken.png of 8 bytes",
    }
    steps = [
        {"choose": [str(tmp_path / name)], "input": "model-input"} for name in refused
    ]
    alone = {"choose": [beside], "input": "model-input"}
    states = browse(exported, OPEN, *steps, alone)[1:]
    expected = [*refused.values(), "The files are not one model: .* files=tiny.json"]
    for state, pattern in zip(states, expected, strict=True):
        assert re.search(pattern, state["message"])
        assert state["model"].startswith("tiny.tflite")


def test_json_of_another_model_is_refused(browse, exported, tmp_path):
    content = (exported / "tiny.tflite").read_bytes()
    changed = tmp_path / "changed.tflite"
    changed.write_bytes(content.replace(b"scratched", b"SCRATCHED"))
    files = [str(changed), str(exported / "tiny.json")]
    choice = {"choose": files, "input": "model-input"}
    alone = {"choose": files[:1], "input": "model-input"}
    with_json, without = browse(exported, OPEN, choice, alone)[1:]
    assert "Model and JSON do not belong together" in with_json["message"]
    assert "without its .json neither damage nor" in without["model"]


def test_server_shows_the_page_and_nothing_outside_its_folders(node, tmp_path):
    (tmp_path / "secret.json").write_text("{}")
    (tmp_path / "models").mkdir()
    command = [node, "serve.mjs", "--port", "0", "--models", tmp_path / "models"]
    with subprocess.Popen(command, cwd=WEB, stdout=subprocess.PIPE) as server:
        try:
            address = re.search(rb"//(.+)/ ", server.stdout.readline())[1].decode()
            answers = {}
            for path in ("/", "/page.js", "/models/..%2fsecret.json", "/.npmrc"):
                connection = http.client.HTTPConnection(address)
                connection.request("GET", path)
                answer = connection.getresponse()
                answers[path] = answer.status, answer.getheader("Content-Type")
        finally:
            server.terminate()
    assert answers["/"] == (200, "text/html; charset=utf-8")
    assert answers["/page.js"] == (200, "text/javascript; charset=utf-8")
    assert answers["/models/..%2fsecret.json"] == (404, None)
    assert answers["/.npmrc"] == (404, None)
