"""A headless Chromium that works a page."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

_HELPER = Path(__file__).with_name("report_browser.mjs")
_WEB = Path(__file__).parents[2] / "export" / "web"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def worker() -> Callable:
    """Returns work(page, *steps), which returns what a page shows after each step.

    A test is skipped where there is no Chromium.
    """
    node, chromium = shutil.which("node"), os.environ.get("CHROMIUM")
    chromium = chromium or next(filter(None, map(shutil.which, _BROWSERS)), None)
    if not (node and chromium):
        pytest.skip("needs node (https://nodejs.org) and Chromium")
    if not (_WEB / "node_modules" / "puppeteer-core").is_dir():
        pytest.skip("needs the packages of export/web: run `make test-web`")

    def work(page, *steps):
        command = [node, _HELPER, chromium, page, json.dumps(steps)]
        done = subprocess.run(command, capture_output=True, timeout=180)
        assert done.returncode == 0, done.stderr.decode()
        answer = json.loads(done.stdout)
        assert answer["errors"] == answer["requests"] == []
        return answer["states"]

    return work
