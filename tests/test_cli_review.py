import json
import os
import signal
import socket
import sys
import threading
import urllib.request
import webbrowser

import numpy as np
import pytest
from PIL import Image
from test_cli_runs import config

from egan_keras.cli import main

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    """`old`, 60 zeros and 4 ones that were trained on, and `new`, 20 and 4 others."""
    root, (pixels, labels) = tmp_path_factory.mktemp("review"), digits
    zeros, ones = (np.flatnonzero(labels == label) for label in (0, 1))
    for place, rows in {
        "old/zero": zeros[:60],
        "old/one": ones[:4],
        "new": [*zeros[60:80], *ones[4:8]],
    }.items():
        (root / place).mkdir(parents=True)
        for row in rows:
            Image.fromarray(pixels[row]).save(root / place / f"{row}.png")
    (root / "new" / "broken.png").write_text("no image")
    return root


@pytest.fixture
def run(build_tiny, few_ones, folder, tmp_path):
    """The folder of a run, which is the current one, too."""
    os.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    model = build_tiny()
    model.fit(*few_ones, epochs=1, verbose=0)
    model.save(tmp_path / "run" / "model.keras")
    write_config(folder, tmp_path)
    return tmp_path / "run"


def write_config(folder, place, **changes):
    old = folder / "old"
    files = {
        name: [path.relative_to(old).as_posix() for path in (old / name).iterdir()]
        for name in ("zero", "one")
    }
    options = config().options | {"data": str(old)}
    options |= {"majority": ["zero"], "minority": ["one"]} | changes
    files = {"train": files, "validation": {}, "test": {}}
    config(options=options, files=files).save(place / "run")


@pytest.fixture
def with_page(monkeypatch):
    """with_page(work, *argv) runs a command, and works its page, until Ctrl-C."""
    monkeypatch.setenv("DISPLAY", ":0")

    def with_page(work, *argv):
        threads = []

        def opened(url):
            def worked():
                try:
                    work(url)
                finally:
                    os.kill(os.getpid(), signal.SIGINT)

            threads.append(threading.Thread(target=worked))
            threads[0].start()

        monkeypatch.setattr(webbrowser, "open", opened)
        code = main(["review", *map(str, argv)])
        threads[0].join()
        return code

    return with_page


def ask(url, what, body=None):
    origin = url[: url.index("/", 7)]
    headers = {"Content-Type": "application/json", "Origin": origin}
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + what, content, headers)
    with urllib.request.urlopen(request) as answer:
        return answer.read() if what.endswith(".jpg") else json.load(answer)


def test_a_review_from_start_to_resuming(run, folder, with_page, capsys):
    seen = []

    def work(url):
        state = ask(url, "state")
        for kind in ("minority", "majority", "unsure"):
            number = state["current"]["number"]
            for what in ("image", "heat"):
                assert ask(url, f"{what}/{number}.jpg").startswith(b"\xff\xd8")
            state = ask(url, "label", {"number": number, "kind": kind})
        ask(url, "train", {})
        while ask(url, "state")["training"]:
            threading.Event().wait(0.2)
        seen.append(ask(url, "state"))

    assert with_page(work, run, folder / "new") == 0
    printed = capsys.readouterr().out
    assert "Passed over: 1 unreadable images" in printed
    assert "24 images to label" in printed and "3 labels in" in printed
    assert " train --data" in printed
    assert "--labels labels.csv --majority zero --minority one" in printed
    assert "1 majority and 1 minority labels" in seen[0]["told"]
    rows = (run.parent / "labels.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows] == ["label", "one", "zero", "unsure"]
    assert (
        with_page(lambda url: seen.append(ask(url, "state")), run, folder / "new") == 0
    )
    assert seen[1]["labelled"] == 3 and seen[1]["left"] == 21


def test_what_was_trained_on_is_left_out_and_what_is_gone_is_told(
    run, folder, with_page, capsys
):
    here = run.parent
    write_config(folder, here, data=str(here / "moved"))
    argv = (run, folder, "--labels", "others/of today.csv")
    assert with_page(lambda url: None, *argv) == 0
    printed = capsys.readouterr().out
    assert "64 of 64 images that the run was trained on are no longer" in printed
    assert "--labels 'others/of today.csv'" in printed
    write_config(folder, here)
    assert with_page(lambda url: None, run, folder) == 0
    assert "Left out: 64 images that the run was trained on" in capsys.readouterr().out


def refused(capsys, *argv):
    assert main(["review", *map(str, argv)]) == 2
    return capsys.readouterr().err


def test_wrong_input_is_refused_in_a_sentence(run, folder, capsys, monkeypatch):
    empty = run.parent / "empty"
    empty.mkdir()
    assert "folder holds no images" in refused(capsys, run, empty)
    assert "There is no such folder" in refused(capsys, run, empty / "none")
    assert "no image to label" in refused(capsys, run, folder / "old")
    assert "There is no run" in refused(capsys, empty, folder / "new")
    (run.parent / "labels.csv").write_text("path,label\n1.png,two\n")
    assert "unknown label" in refused(capsys, run, folder / "new")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = refused(capsys, run, folder / "new", "--port", port)
    assert f"Received: --port {port}" in told
    monkeypatch.setitem(sys.modules, "flask", None)
    told = refused(capsys, run, folder / "new")
    assert "pip install 'egan-keras[review]'" in told


def test_a_class_called_unsure_is_refused(run, folder, capsys):
    write_config(folder, run.parent, minority=["unsure"])
    assert "A class of the run is called 'unsure'" in refused(
        capsys, run, folder / "new"
    )
