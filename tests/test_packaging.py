"""What `setup.py` declares has bounds, and a place in the docs."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# CONTRIBUTING.md tells why.
UNBOUNDED = {"fsspec", "importlib-resources", "pillow", "pyarrow"}


def declared():
    """Returns all requirements with their names, and names of those of no extra."""
    tree = ast.parse((ROOT / "setup.py").read_text("utf-8"))
    (call,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"
    )
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    required = ast.literal_eval(given["install_requires"])
    extras = ast.literal_eval(given["extras_require"])
    found = required + [x for name in extras if name != "test" for x in extras[name]]
    names = {re.match(r"[\w.-]+", each)[0] for each in required}
    return {each: re.match(r"[\w.-]+", each)[0] for each in found}, names


DECLARED, REQUIRED = declared()


@pytest.mark.parametrize("requirement", DECLARED)
def test_each_dependency_has_bounds(requirement):
    assert ">=" in requirement
    assert (",<" in requirement) == (DECLARED[requirement] not in UNBOUNDED)


def test_the_docs_tell_what_each_dependency_is_for():
    text = (ROOT / "docs/explanation/dependencies.md").read_text("utf-8")
    table = text.partition("\n| package |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| ([\w-]+) \|", table, re.M)) == REQUIRED
