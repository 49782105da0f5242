"""Runs a script of this folder on one of Keras's backends."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run_on(backend, script, *arguments, **environment):
    """Returns what the script printed; skips the test where the backend is missing."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs the package {backend}, which `make test-backends` installs")
    finished = subprocess.run(
        [sys.executable, HERE / script, *map(str, arguments)],
        env={
            **os.environ,
            "PYTHONPATH": str(HERE.parent),
            "KERAS_BACKEND": backend,
            **environment,
        },
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    return finished.stdout
