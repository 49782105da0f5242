"""Ctrl-C, SIGTERM and kills; full disks."""

import os
import signal
import subprocess
import sys

import pytest

from egan_keras import cli, files
from egan_keras.cli import main, runs, score
from egan_keras.cli.runs import RunConfig

pytestmark = pytest.mark.whole

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def command(monkeypatch, action):
    """Makes `egan-keras score` do something else, and returns its arguments."""
    monkeypatch.setattr(score, "run", lambda arguments: action() or 0)
    return ["score", "run", "image.png"]


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_command_in_order(monkeypatch, capsys, number):
    before = signal.getsignal(number)
    cleaned = []

    def work():
        try:
            send(number)
        finally:
            cleaned.append(True)

    assert main(command(monkeypatch, work)) == SIGNALS[number]
    assert "egan-keras score: interrupted" in capsys.readouterr().err
    assert cleaned and signal.getsignal(number) is before


def test_what_is_being_saved_is_finished_first(monkeypatch, capfd):
    done = []

    def work():
        with cli.saving("the model"):
            with cli.saving("a part"):
                send(signal.SIGTERM)
            done.append("saved")
        done.append("went on")

    assert main(command(monkeypatch, work)) == 143
    assert done == ["saved"]
    assert "score: saving a part; two more end it at once" in capfd.readouterr().err


def test_a_second_signal_does_not_interrupt_the_saving(monkeypatch, capfd):
    done = []

    def work():
        try:
            send(signal.SIGINT)
        except KeyboardInterrupt:
            with cli.saving("the model"):
                send(signal.SIGINT)
                done.append("saved")
            raise

    assert main(command(monkeypatch, work)) == 130
    assert done == ["saved"]
    assert "saving the model; once more ends it at once" in capfd.readouterr().err


def test_a_third_signal_ends_at_once():
    program = (
        "import os, sys\nsys.argv = ['egan-keras']\n"
        "from egan_keras import cli\n"
        "with cli.signals('train'), cli.saving('the model'):\n"
        "    for _ in range(3): os.kill(os.getpid(), 15)\n"
        "    print('went on')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert ended.returncode == -signal.SIGTERM and ended.stdout == b""


def test_ignored_signals_stay_ignored(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(command(monkeypatch, lambda: send(signal.SIGHUP))) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def write_run(folder, model="a model"):
    options = {"data": "images", "majority": ["a"], "minority": ["b"], "seed": 0}
    options |= dict.fromkeys(("minority_count", "ratio", "prevalence"))
    options |= {"validation_fraction": 0.2, "test_fraction": 0.2}
    files = dict.fromkeys(("train", "validation", "test"), {})
    values = {"recipe": {}, "versions": {}, "image_shape": [32, 32, 3], "skipped": []}
    config = RunConfig("train", options=options, files=files, **values)
    config.save(folder)
    (folder / runs.MODEL).write_text(model)


def killed(out, *, with_model):
    """Leaves what a killed command leaves: its folder without its lock."""
    folder = out.with_name(f".{out.name}.0123abcd.unfinished")
    folder.mkdir()
    (folder / "features").write_bytes(bytes(2_000_000))
    if with_model:
        write_run(folder)
    return folder


def test_what_a_killed_command_left_is_removed_and_named(tmp_path, capsys):
    folder = killed(tmp_path / "run", with_model=False)
    with runs.writing(tmp_path / "run") as made:
        write_run(made)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert f"was killed, 2.0 MB: {folder}" in capsys.readouterr().err


def test_the_model_of_a_killed_command_is_kept(tmp_path, capsys):
    killed(tmp_path / "run", with_model=True)
    with runs.writing(tmp_path / "run") as made:
        write_run(made)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run", "run-unfinished"]
    kept = tmp_path / "run-unfinished"
    assert f"{kept / 'model.keras'}, without history.csv" in capsys.readouterr().err
    assert "report.json" in RunConfig.load(kept).lacking


def test_the_folders_of_others_stay(tmp_path):
    names = [".run.0123abcd.unfinished.txt", ".run2.0123abcd.unfinished", ".run.x"]
    for name in names:
        (tmp_path / name).mkdir()
    with runs.writing(tmp_path / "run"):
        (at_work,) = set(os.listdir(tmp_path)) - {*names}
        with files.leftovers(tmp_path / "run") as left:
            assert left == []
        assert at_work.endswith(".unfinished")


def test_a_run_that_was_being_replaced_comes_back(tmp_path):
    """As where two folders cannot be exchanged in one step."""
    aside = tmp_path / ".run.0123abcd.unfinished.replaced"
    aside.mkdir()
    write_run(aside, "the earlier one")
    with files.leftovers(tmp_path / "run"):
        pass
    assert (tmp_path / "run" / runs.MODEL).read_text() == "the earlier one"
    aside.mkdir()
    with pytest.raises(FileExistsError):
        with runs.writing(tmp_path / "run"):
            pass
    with runs.writing(tmp_path / "run", overwrite=True) as made:
        write_run(made)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


REPLACING = """
import sys
from pathlib import Path
out = Path(sys.argv[1])
sys.argv = ["egan-keras"]
from egan_keras.cli import runs
print("ready", flush=True)
for number in range(10**9):
    with runs.writing(out, overwrite=True) as folder:
        for name in ("config.json", "history.csv", "model.keras", "report.json"):
            (folder / name).write_text("{}")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="exchanges in one step on Linux")
def test_a_run_is_never_gone_while_it_is_replaced(tmp_path):
    out = tmp_path / "run"
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", REPLACING, str(out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        process.stdout.readline()
        while not out.exists():
            assert process.poll() is None
        assert all((out / "model.keras").exists() for _ in range(2000))
        process.kill()
        process.wait()
        assert len(list(out.iterdir())) == 4
    with runs.writing(out, overwrite=True) as folder:
        write_run(folder)
    assert not [path for path in os.listdir(tmp_path) if path.startswith(".")]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_named_with_file_and_remedy(small_disk):
    (small_disk / "kept").write_text("before")
    for write in (
        lambda: files.reserve(small_disk / "new", 2_000_000),
        lambda: files.check_space(small_disk / "deep" / "new", 2_000_000, "a run"),
        lambda: files.write_atomically(
            small_disk / "kept", lambda path: path.write_bytes(bytes(2_000_000))
        ),
    ):
        with pytest.raises(files.FullDiskError, match="Received: .* Delete") as caught:
            write()
        assert f" free on the disk at '{small_disk}'" in str(caught.value)
    assert (small_disk / "kept").read_text() == "before"
    files.reserve(small_disk / "new", 900_000)
    assert files.free_bytes(small_disk) < 200_000
