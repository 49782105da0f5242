import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import egan_keras as ek
from egan_keras.cli import main, train

pytestmark = pytest.mark.whole

PROGRAMS = {
    "egan-keras": [str(Path(sysconfig.get_path("scripts")) / "egan-keras")],
    "python -m": ["-m", "egan_keras"],
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_arguments_are_read_before_slow_imports(program, tmp_path):
    arguments = [sys.executable, "-X", "importtime", *PROGRAMS[program], "train"]
    ended = subprocess.run([*arguments, "--data", "."], capture_output=True, text=True)
    assert ended.returncode == 2
    assert "the following arguments are required: --majority" in ended.stderr
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "egan_keras.cli.runs" in imported  # by egan_keras.cli.train
    assert not {"tensorflow", "keras", "sklearn", "matplotlib"} & imported


@pytest.mark.slow
def test_only_the_error_is_printed(tmp_path):
    program = [sys.executable, *PROGRAMS["python -m"]]
    arguments = [*program, "train", "--majority", "a", "--minority", "b"]
    arguments += ["--data", str(tmp_path), "--out", str(tmp_path / "run")]
    arguments += ["--weights", "none", "--encoder", "MobileNet"]
    arguments += ["--discriminator", "MobileNet"]
    environment = dict(os.environ)
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    ended = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    assert ended.returncode == 2
    start, error = ended.stderr.splitlines()
    assert start == "Starting Keras"
    assert error.startswith("egan-keras train: error: The folder is empty")
    assert ended.stdout.startswith("Listing the images below")
    assert len(ended.stdout.splitlines()) == 1


@pytest.mark.slow
def test_a_module_of_another_package_gets_the_whole_library(tmp_path):
    package = tmp_path / "mypackage"
    package.mkdir()
    (package / "__init__.py").write_text("import egan_keras\negan_keras.EGAN\n")
    (package / "train.py").write_text("print('done')\n")
    ended = subprocess.run(
        [sys.executable, "-m", "mypackage.train"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert ended.stdout == "done\n", ended.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", "model.tflite", "a.png"], "There is no run"),
        (["score", "absent", "a.png"], "There is no run"),
        (["score", "absent", "a.png", "--csv", "new/s.csv"], "There is no run"),
        (["score", "absent", "a.png", "--csv", "letter/s.csv"], "letter is a file"),
        (["score", "absent", "a.png", "--csv", "/dev/full"], "is no plain file"),
        (["score", "absent", "a.png", "--csv", "."], "is a folder; expected a file"),
        (["evaluate", "absent", "--data", "."], "There is no run"),
        (["export", "absent", "--format", "tflite", "--out", "a"], "There is no run"),
    ],
)
def test_wrong_runs_and_files(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letter").write_text("dear")
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["letter"]


def test_help_of_every_command(capsys):
    for command in ("demo", "train", "evaluate", "score", "export", "compare"):
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code == 0
        printed = capsys.readouterr().out
        assert f"usage: egan-keras {command}" in printed
        assert f"egan-keras {command}" in printed.partition("Example")[2]


@pytest.mark.parametrize(
    ("size", "network_size", "told"), [(64, 32, True), (63, 32, False), (96, 96, False)]
)
def test_what_shrinks_images_says_so(size, network_size, told, capsys):
    model = ek.EGAN.from_backbones(
        "MobileNet:alpha=0.25",
        "MobileNet:alpha=0.25",
        image_shape=(size, 2 * size, 3),
        network_size=network_size,
        weights=None,
    )
    train._tell_of_shrinking(model)
    printed = capsys.readouterr().out
    assert ("shrunk to 32 x 32 pixels" in printed) == told
    assert ("--network-size 64" in printed) == told
