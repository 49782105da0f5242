import ast
from pathlib import Path

import pytest

import egan_keras
from egan_keras.version import warn_deprecated

FILES = sorted(Path(egan_keras.__file__).parent.rglob("*.py"))
CALL = "warn_deprecated('x', since='0.1.0', removed_in='{}', instead='y')"


def as_numbers(version):
    return tuple(map(int, version.split(".")))


def overdue(source, version):
    """Returns what a file tells will be gone by a version, and still has."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    ends = [
        (ast.unparse(call.args[0]), keyword.value.value)
        for call in calls
        if getattr(call.func, "id", "") == "warn_deprecated"
        for keyword in call.keywords
        if keyword.arg == "removed_in"
    ]
    return [what for what, end in ends if as_numbers(end) <= as_numbers(version)]


def test_it_tells_what_to_use_and_who_called():
    def old():
        warn_deprecated("old()", since="0.2.0", removed_in="0.4.0", instead="new()")

    expected = (
        r"old\(\) is deprecated since egan_keras 0\.2\.0 .* 0\.4\.0\. Use new\(\)"
    )
    with pytest.warns(FutureWarning, match=expected) as told:
        old()
    assert told[0].filename == __file__


@pytest.mark.parametrize(("end", "found"), [("0.2.0", ["'x'"]), ("0.10.0", [])])
def test_what_is_overdue_is_found(end, found):
    assert overdue(CALL.format(end), "0.2.0") == found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_is_kept_longer_than_announced(path):
    assert not overdue(path.read_text("utf-8"), egan_keras.__version__)
