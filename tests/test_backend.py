"""A backend that is not there ends in one sentence."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.whole


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "import egan_keras; egan_keras.EGAN"],
        ["-c", "from egan_keras import losses"],
        None,
    ],
)
def test_an_absent_backend_is_told_of(arguments, tmp_path):
    (tmp_path / "keras.json").write_text('{"backend": "none_such"}')
    train = ["-m", "egan_keras", "train", "--majority", "a", "--minority", "b"]
    options = ["--data", str(tmp_path), "--out", str(tmp_path / "run")]
    environment = {**os.environ, "KERAS_HOME": str(tmp_path)}
    environment.pop("KERAS_BACKEND", None)
    done = subprocess.run(
        [sys.executable, *(arguments or [*train, *options])],
        capture_output=True,
        text=True,
        env=environment,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert "Keras cannot start on the backend that was asked for" in last
    assert str(tmp_path / "keras.json") in last and "KERAS_BACKEND=tensorflow" in last
    if arguments is None:
        lines = done.stderr.splitlines()
        assert done.returncode == 2 and lines[:-1] == ["Starting Keras"]
