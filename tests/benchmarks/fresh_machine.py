"""Times a newcomer's walk, in an empty environment and a clone of the last commit.

    python tests/benchmarks/fresh_machine.py [--images IMAGES] [--python PYTHON]

Steps: install the wheel; the demo; README's Python, on IMAGES/{train,test} of
automobiles and airplanes (left out without IMAGES); then, as CONTRIBUTING.md says,
`make demo`, `make quick`, a change with a test that fails before it, `make lint types`,
`make docs`.
Prints a table of seconds. It needs 7 GB of disk, and pip's index.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_CHANGED = "egan_keras/text.py"
_CHANGE = '''

def in_capitals(text: str) -> str:
    """Returns text in capitals.

    >>> in_capitals("good")
    'GOOD'
    """
    return text.upper()
'''
_TEST = '''"""A newcomer's change."""

from egan_keras.text import in_capitals


def test_text_is_in_capitals():
    assert in_capitals("rare") == "RARE"
'''


def main() -> None:
    """Walks, and prints what each step took."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=Path, help="such as images/cifar10")
    parser.add_argument("--python", default=sys.executable, help="that is installed")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        steps = _steps(Path(made), given.python, given.images)
        took = {name: _seconds(name, step) for name, step in steps.items()}
    print(f"Run on {date.today()} on {platform.machine()}, {os.cpu_count()} cores.\n")
    print("| step | seconds |")
    print("|---|---|")
    for name, seconds in [*took.items(), ("all", sum(took.values()))]:
        print(f"| {name} | {seconds:,.0f} |")


def _steps(
    place: Path, python: str, images: Path | None
) -> dict[str, Callable[[], object]]:
    environment, clone, work = place / "venv", place / "clone", place / "work"
    binaries = environment / "bin"
    work.mkdir()

    def run(*command: object, cwd: Path = work, may_fail: bool = False) -> int:
        done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True)
        if done.returncode and not may_fail:
            told = (done.stdout + done.stderr).decode(errors="replace")
            raise SystemExit(f"{command} failed:\n{told[-3000:]}")
        return done.returncode

    def install() -> None:
        run(python, "-m", "venv", environment)
        run(binaries / "pip", "wheel", "--no-deps", "-w", place, clone)
        run(binaries / "pip", "install", *place.glob("*.whl"))

    def quick_start() -> None:
        (work / "data").symlink_to(images.resolve())
        readme = (clone / "README.md").read_text("utf-8")
        code = re.search(r"```python\n(.*?)```", readme, re.DOTALL).group(1)
        run(binaries / "python", "-c", code)

    def make(*targets: str) -> None:
        run("make", *targets, f"PYTHON={python}", cwd=clone)

    def change() -> None:
        test, changed = clone / "tests/test_capitals.py", clone / _CHANGED
        test.write_text(_TEST)
        pytest = [clone / ".venv/bin/python", "-m", "pytest", "-q", test]
        if not run(*pytest, cwd=clone, may_fail=True):
            raise SystemExit("the test passes before the change")
        changed.write_text(changed.read_text("utf-8") + _CHANGE, "utf-8")
        run(*pytest, "--doctest-modules", changed, cwd=clone)

    steps = {
        "clone": lambda: run("git", "clone", "-q", _ROOT, clone),
        "install the wheel into an empty environment": install,
        "egan-keras demo": lambda: run(binaries / "egan-keras", "demo"),
        "README's Python, by copying it": quick_start,
        "make demo, environment of the clone included": lambda: make("demo"),
        "make quick": lambda: make("quick"),
        "a test that fails, a change, and both pass": change,
        "make lint types": lambda: make("lint", "types"),
        "make docs": lambda: make("docs"),
    }
    if not images:
        del steps["README's Python, by copying it"]
    return steps


def _seconds(name: str, step: Callable[[], object]) -> float:
    print(name, file=sys.stderr, flush=True)
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
