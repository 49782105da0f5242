import errno
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from egan_keras.data.decoding import UnreadableError
from egan_keras.review import server
from egan_keras.review.label_file import LabelFile
from egan_keras.review.learner import Judged
from egan_keras.review.session import RefusedError, Session

NAMES = [f"{number}.png" for number in range(6)]
TOKEN, PORT = "a-secret", 8000
OWN = {"Host": f"127.0.0.1:{PORT}", "Origin": f"http://127.0.0.1:{PORT}"}


class Learner:
    """Scores images by their number; after training the other way round."""

    can_learn = has_heat_maps = True
    vectors = np.arange(6.0)[:, None]
    seen = np.zeros((1, 1))

    def __init__(self):
        self.taught = []
        self.may_end = threading.Event()
        self.may_end.set()

    def judge(self):
        return Judged(np.arange(6.0), 0.5, np.zeros(6, bool))

    def learn(self, numbers, labels):
        assert self.may_end.wait(10)
        self.taught.append((list(numbers), list(labels)))
        if 1 not in labels:
            raise ValueError("To train takes images of both classes.")
        return Judged(-np.arange(6.0), 0.0, np.zeros(6, bool))


@pytest.fixture
def begin(tmp_path):
    """begin() starts a session as a new program does."""
    files = []

    def begin(learner=None):
        for each in files:
            each.close()
        known = ("good", "fine", "bad", "unsure")
        files.append(LabelFile(tmp_path / "labels.csv", known))
        classes = {"majority": ["good", "fine"], "minority": ["bad"]}
        return Session(NAMES, learner or Learner(), files[-1], **classes)

    begin.path = tmp_path / "labels.csv"
    yield begin
    for each in files:
        each.close()


def current(session):
    return session.state()["current"]["number"]


def test_labels_are_written_and_the_next_image_comes(begin):
    session = begin()
    assert current(session) == 0
    session.label(0, "minority")
    session.label(current(session), "majority")
    session.label(current(session), "unsure")
    state = session.state()
    assert [state[k] for k in ("minority", "majority", "unsure", "left")] == [
        1,
        1,
        1,
        3,
    ]
    rows = begin.path.read_text().splitlines()
    assert [row.split(",")[1] for row in rows] == ["label", "bad", "good", "unsure"]


def test_undo_brings_the_image_back_also_after_a_restart(begin):
    session = begin()
    session.label(0, "minority")
    session.label(1, "majority")
    again = begin()
    assert again.state()["labelled"] == 2
    again.undo()
    assert current(again) == 1 and again.state()["majority"] == 0
    again.undo()
    assert current(again) == 0
    with pytest.raises(RefusedError, match="no label to undo"):
        again.undo()


def test_an_image_gets_one_label(begin):
    session = begin()
    session.label(0, "minority")
    with pytest.raises(RefusedError, match="labelled already"):
        session.label(0, "majority")
    for number, kind in ((99, "minority"), (1, "scratched")):
        with pytest.raises(RefusedError, match="no such label or image"):
            session.label(number, kind)


def test_each_of_several_rare_classes_has_a_label_of_its_own(tmp_path):
    class Knowing(Learner):
        def judge(self):
            most_like = np.array(["dented", "torn"] * 3)
            return super().judge()._replace(most_like=most_like)

    labels = LabelFile(tmp_path / "labels.csv", ("good", "dented", "torn", "unsure"))
    classes = {"majority": ["good"], "minority": ["dented", "torn"]}
    session = Session(NAMES, Knowing(), labels, **classes)
    assert session.state()["current"]["most_like"] == "dented"
    session.label(0, "minority2")
    session.label(1, "minority")
    assert list(labels.labels.values()) == ["torn", "dented"]
    assert session.state()["minority"] == 2
    with pytest.raises(RefusedError, match="no such label"):
        session.label(2, "minority3")
    labels.close()


def test_labels_of_images_elsewhere_stay(begin):
    begin.path.write_text("path,label\nelsewhere.png,bad\n")
    session = begin()
    assert session.foreign == ["elsewhere.png"]
    with pytest.raises(RefusedError, match="elsewhere.png is none of these"):
        session.undo()


def test_all_labelled_shows_none(begin):
    begin.path.write_text("path,label\n" + "".join(f"{n},good\n" for n in NAMES))
    state = begin().state()
    assert state["current"] is None and state["left"] == 0


def test_training_ranks_anew_and_the_shown_image_stays(begin):
    learner = Learner()
    session = begin(learner)
    session.label(0, "minority")
    session.label(1, "majority")
    session.label(5, "unsure")
    shown = current(session)
    learner.may_end.clear()
    session.train()
    assert session.state()["training"]
    with pytest.raises(RefusedError, match="trained already"):
        session.train()
    learner.may_end.set()
    session.wait()
    assert learner.taught == [([0, 1], [1, 0])]
    state = session.state()
    assert state["current"]["number"] == shown and state["next"]["number"] == 4
    assert "1 majority and 1 minority labels" in state["told"]
    assert state["generation"] == 1 and state["threshold"] == 0.0


def test_training_that_fails_is_told_and_nothing_changes(begin):
    session = begin()
    session.label(0, "majority")
    session.train()
    session.wait()
    assert "takes images of both classes" in session.state()["told"]
    assert current(session) == 1


@pytest.fixture
def page(begin):
    """The page of a session, asked as its own page asks."""
    session, gone = begin(), set()

    def picture(number):
        if number in gone:
            raise UnreadableError("No such file or directory")
        return b"a picture"

    app = server.make_app(session, picture, picture, token=TOKEN, port=PORT)
    client = app.test_client()

    def ask(path, headers=OWN, token=TOKEN, **options):
        asked = client.post if options else client.get
        return asked(f"/{token}/{path}", headers=headers, **options)

    return SimpleNamespace(ask=ask, session=session, gone=gone)


def test_the_page_labels_and_undoes(page):
    answer = page.ask("label", json={"number": 0, "kind": "minority"})
    assert answer.status_code == 200 and answer.json["minority"] == 1
    assert page.ask("undo", json={}).json["minority"] == 0
    again = page.ask("undo", json={})
    assert again.status_code == 409 and "no label to undo" in again.json["refused"]


def test_the_page_loads_nothing_from_elsewhere(page):
    answer = page.ask("")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    for name in ("review.js", "review.css", "page.css"):
        assert page.ask(name).status_code == 200
        assert b"http" not in page.ask(name).data
    assert b"http" not in answer.data


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": f"evil.example:{PORT}"},
        {"Host": "127.0.0.1:1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
    ],
)
def test_other_pages_can_neither_read_nor_write(page, headers):
    label = {"number": 0, "kind": "minority"}
    assert page.ask("label", OWN | headers, json=label).status_code == 403
    if "Host" in headers:
        assert page.ask("state", OWN | headers).status_code == 403
    assert page.session.state()["labelled"] == 0


def test_a_form_of_another_kind_is_refused(page):
    answer = page.ask("label", data={"number": 0, "kind": "minority"})
    assert answer.status_code == 403


@pytest.mark.parametrize("token", ["", "other", "a-secre", "a-secret-", "é"])
def test_without_the_secret_there_is_nothing(page, token):
    for path in ("", "state", "image/0.jpg"):
        assert page.ask(path, token=token).status_code == 404


@pytest.mark.parametrize(
    "path",
    ["image/6.jpg", "image/-1.jpg", "image/..%2f0.jpg", "image/0.png", "setup.py"],
)
def test_images_are_asked_for_by_number_alone(page, path):
    assert page.ask("image/0.jpg").data == b"a picture"
    assert page.ask(path).status_code == 404


@pytest.mark.parametrize(
    "given", [[], {}, {"number": "0", "kind": "minority"}, {"number": 0, "kind": None}]
)
def test_what_is_no_label_is_refused(page, given):
    assert page.ask("label", json=given).status_code == 400


def test_an_image_that_vanished_is_told_and_passed_over(page):
    page.gone.add(0)
    assert page.ask("image/0.jpg").status_code == 410
    state = page.ask("state").json
    assert state["current"]["number"] == 1 and state["passed_over"] == 1
    assert "Passed over, 0.png: No such file" in state["told"]


def test_an_image_that_vanishes_behind_its_label_keeps_it(page):
    page.ask("label", json={"number": 0, "kind": "minority"})
    page.gone.add(0)
    assert page.ask("heat/0.jpg").status_code == 410
    state = page.ask("state").json
    assert state["minority"] == 1 and state["passed_over"] == 0


def test_a_full_disk_refuses_the_key(page, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    answer = page.ask("label", json={"number": 0, "kind": "minority"})
    assert answer.status_code == 507
    assert "nothing is lost: The disk is full" in answer.json["refused"]
    assert answer.json["current"]["number"] == 0 and answer.json["labelled"] == 0
