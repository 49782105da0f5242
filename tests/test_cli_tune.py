import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import pytest
from PIL import Image

from egan_keras.cli import main, runs
from egan_keras.tuning import searching, tuner

pytestmark = pytest.mark.whole

TINY = "MobileNet:alpha=0.25"
COMMAND = [sys.executable, "-m", "egan_keras"]


@pytest.fixture(scope="module")
def root(digits, tmp_path_factory):
    """Zeros and ones, 60 to train and 20 to test of each."""
    root = tmp_path_factory.mktemp("digits")
    images, labels = digits
    for label, name in enumerate(("zero", "one")):
        for number, image in enumerate(images[labels == label][:80]):
            split = "train" if number < 60 else "test"
            (root / split / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(root / split / name / f"{number:03}.png")
    return root


@pytest.fixture
def arguments(root, tmp_path, tiny_weights):
    def make(*more):
        given = ["tune", "--data", root, "--out", tmp_path / "run"]
        given += ["--majority", "zero", "--minority", "one", "--minority-count", 3]
        given += ["--encoders", TINY, "--weights", tiny_weights, "--specificity", 0.9]
        given += ["--confidence", "none", "--network-sizes", 32, "--depths", "1,2"]
        given += ["--choose", "epochs=1", "--choose", "minimum_steps=2", "--trials", 2]
        return [str(each) for each in [*given, *more]]

    return make


@pytest.fixture
def no_conversion(monkeypatch):
    found = {"int8_kb": 300.0, "latency_ms": 0.1}
    monkeypatch.setattr(tuner, "measure", lambda *arguments: found)


@pytest.mark.slow
def test_the_best_becomes_a_run(arguments, root, tmp_path, no_conversion, capsys):
    assert main(arguments("--tuner", "grid", "--no-mirror")) == 0
    printed = capsys.readouterr().out
    best = r"(Best|Kept the default): trial [12], .*held-out AUROC [01]\.\d+ ± "
    assert re.search(best, printed)
    run = tmp_path / "run"
    assert not (tmp_path / "run.search").exists()
    written = {path.name for path in run.iterdir()}
    assert {"leaderboard.csv", "leaderboard.md", "heatmap.png"} <= written
    config = runs.RunConfig.load(run)
    assert config.options["encoders"] == [TINY] and len(config.files["test"]) == 2
    assert config.recipe["mirrored_minority"] is False and config.recipe["epochs"] == 1
    assert runs.load_model(run).calibration.criterion
    assert json.loads((run / "report.json").read_text())["split"] == "test"
    assert main(["evaluate", str(run), "--data", str(root)]) == 0
    assert main(["score", str(run), str(root / "test" / "one")]) == 0
    assert main(["export", str(run), "--format", "savedmodel", "--out",
                 str(tmp_path / "saved")]) == 0  # fmt: skip


def test_ctrl_c_keeps_the_search(arguments, tmp_path, no_conversion, monkeypatch):
    def interrupted(*given, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "fit", interrupted)
        assert main(arguments()) == 130
    assert (tmp_path / "run.search" / "search.json").is_file()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--encoders", "VGG99"], "Unknown backbone.*VGG"),
        (["--choose", "colour=1"], "no such choice.*latent_size"),
        (["--minority-count", "1"], "2 minority images or more.*Add a second"),
        (["--minority", "two"], "Unknown class 'two'"),
        (["--specificity", "0.99", "--confidence", "0.95"], "Too few validation"),
    ],
)
def test_wrong_input_is_refused(arguments, tmp_path, capsys, more, message):
    assert main(arguments(*more)) == 2
    error = capsys.readouterr().err
    assert error.startswith("egan-keras tune: error:") and re.search(message, error)
    assert not any(tmp_path.iterdir())


def test_another_search_beside_is_refused(arguments, tmp_path, capsys):
    (tmp_path / "run.search").mkdir()
    (tmp_path / "run.search" / "notes.txt").write_text("mine")
    assert main(arguments()) == 2
    assert "holds something else" in capsys.readouterr().err


@pytest.mark.slow
def test_a_chief_and_workers_of_which_one_is_killed(arguments, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def start(name):
        environment = os.environ | {
            "KERASTUNER_TUNER_ID": name,
            "KERASTUNER_ORACLE_IP": "127.0.0.1",
            "KERASTUNER_ORACLE_PORT": str(port),
        }
        command = [
            *COMMAND,
            *arguments("--trials", 6, "--choose", "latent_size=8,16,32"),
        ]
        log = (tmp_path / f"{name}.log").open("a")
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    chief, worker, killed = start("chief"), start("worker1"), start("worker2")
    trials = tmp_path / "run.search" / "trials"
    wait_for(lambda: trials.is_dir() and any(trials.iterdir()))
    kill_in_a_trial(killed, "worker2", tmp_path)
    worker.wait(timeout=300)
    # The chief waits for the trial of the one that was killed.
    assert chief.poll() is None and is_running(tmp_path, "worker2")
    again = start("worker2")
    assert again.wait(timeout=120) == worker.returncode == 0
    assert chief.wait(timeout=120) == 0
    assert runs.load_model(tmp_path / "run").pairing == f"{TINY}->{TINY}"
    rows = (tmp_path / "run" / "leaderboard.csv").read_text().splitlines()
    assert len(rows) == 7


def is_running(folder: Path, worker: str) -> bool:
    """Whether a worker is in the middle of a trial.

    KerasTuner's list of ongoing trials still names one that has just ended.
    """
    project = folder / "run.search" / "tuner"
    try:
        trial = json.loads((project / "oracle.json").read_text())["ongoing_trials"]
        state = project / f"trial_{trial[worker]}" / "trial.json"
        return json.loads(state.read_text())["status"] == "RUNNING"
    except (FileNotFoundError, KeyError, json.JSONDecodeError):
        return False  # no trial yet, or a file that is just being written


def kill_in_a_trial(process: subprocess.Popen, worker: str, folder: Path) -> None:
    """Kills a worker while it has a trial, which it cannot end once it stands still."""
    deadline = time.monotonic() + 180
    while True:
        wait_for(lambda: is_running(folder, worker), deadline - time.monotonic())
        process.send_signal(signal.SIGSTOP)
        time.sleep(2)  # for the chief, to deal with what the worker has sent
        if is_running(folder, worker):
            break
        process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGKILL)
    process.wait()


def wait_for(condition, seconds=180):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_only_workers_leave_the_rest_to_the_chief(monkeypatch):
    assert not searching.is_worker()
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    for name, expected in {"chief": False, "worker1": True}.items():
        monkeypatch.setenv("KERASTUNER_TUNER_ID", name)
        assert searching.is_worker() is expected
