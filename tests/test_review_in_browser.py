"""The page that labels, in a headless Chromium: by keyboard alone."""

import contextlib
import csv
import threading
import types

import numpy as np
import pytest
from browser import worker
from PIL import Image

from egan_keras.review import learner, server
from egan_keras.review.label_file import LabelFile
from egan_keras.review.learner import Judged
from egan_keras.review.session import Session

pytestmark = pytest.mark.web

NAMES = [f"a_long_name_without_any_space_in_it_{number}.png" for number in range(8)]
START = {"await": "labelled", "in": "progress"}


class Learner(learner.Learner):
    can_learn = has_heat_maps = True
    vectors, seen = np.arange(8.0)[:, None], np.zeros((1, 1))

    def __init__(self, folder):
        self._paths, self._gray_range = [folder / name for name in NAMES], None
        self._model = types.SimpleNamespace(image_shape=(60, 90, 3))

    def heat_map(self, image):
        return np.ones(image.shape[:2], "float32")

    def judge(self):
        return Judged(np.arange(8.0), 2.5, np.zeros(8, bool))

    def learn(self, numbers, labels):
        return Judged(-np.arange(8.0), 0.0, np.zeros(8, bool))


@pytest.fixture(scope="session")
def work():
    """work(page, *steps) returns what a page shows after each step."""
    return worker()


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for name in NAMES:
        pixels = random.integers(0, 256, (60, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    return tmp_path


@pytest.fixture
def review(folder):
    """review() serves the page, and gives its address."""

    @contextlib.contextmanager
    def review(rare=("bad",)):
        labels = LabelFile(folder / "labels.csv", ("good", *rare, "unsure"))
        classes = {"majority": ["good"], "minority": rare}
        judge = Learner(folder)
        session = Session(NAMES, judge, labels, **classes)
        place = server.Server()
        shown = judge.picture, judge.heat_picture
        app = server.make_app(session, *shown, token=place.token, port=place.port)
        thread = threading.Thread(target=place.serve, args=(app,))
        thread.start()
        try:
            yield place.url
        finally:
            place.stop()
            thread.join()
            labels.close()

    return review


def rows(folder):
    with (folder / "labels.csv").open(newline="") as file:
        return [
            (NAMES.index(path), label) for path, label in list(csv.reader(file))[1:]
        ]


def test_keys_label_undo_and_resume(work, review, folder):
    with review() as page:
        start, three, undone = work(
            page, START, {"keys": ["1", "j", "u"]}, {"keys": ["Backspace"]}
        )
    assert start["texts"]["name"] == NAMES[0] and start["broken"] == 0
    assert "the model says bad" in start["texts"]["score"]
    assert "3 images labelled: 1 bad, 1 good, 1 unsure" in three["texts"]["progress"]
    assert ": unsure. Next: " in three["texts"]["told"]
    assert undone["texts"]["told"].startswith("Undone: ")
    first = rows(folder)
    assert [label for _, label in first] == ["bad", "good"]
    with review() as page:
        again, left = work(page, START, {"keys": ["ArrowLeft"]})
    assert "2 images labelled" in again["texts"]["progress"]
    shown = NAMES.index(again["texts"]["name"])
    assert shown not in dict(first)
    assert rows(folder) == [*first, (shown, "bad")]
    assert "3 images labelled: 2 bad" in left["texts"]["progress"]


def test_training_is_told_and_buttons_do_what_keys_do(work, review, folder):
    ranked = {"await": "ranked anew", "in": "told"}
    clicks = [{"click": "minority"}, {"await": "1 image", "in": "progress"}]
    with review() as page:
        *_, trained, done = work(
            page, START, *clicks, {"keys": ["t"]}, ranked, {"keys": ["0"] * 7}
        )
    assert "threshold 0.00" in trained["texts"]["score"]
    assert "No image is left" in done["texts"]["done"]
    assert len(rows(folder)) == 8


def test_several_rare_classes_have_a_key_and_a_button_each(work, review, folder):
    click = {"click": "minority3"}, {"await": "2 images", "in": "progress"}
    with review(("bad", "torn", "dented")) as page:
        start, *_ = work(page, START, {"keys": ["2"]}, *click, {"keys": ["1"]})
        narrow = work(page, START, {"width": 390})[-1]
    assert "the model says minority" in start["texts"]["score"]
    assert [label for _, label in rows(folder)] == ["torn", "dented", "bad"]
    assert narrow["overflow"] <= 0


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_does_not_scroll_sideways(work, review, dark):
    with review() as page:
        widths = ({"width": width, "dark": dark} for width in (390, 320, 1280))
        for state in work(page, START, *widths)[1:]:
            assert state["overflow"] <= 0 and state["broken"] == 0
