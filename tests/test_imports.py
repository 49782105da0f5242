import ast
from pathlib import Path

import pytest

import egan_keras

PACKAGE = Path(egan_keras.__file__).parent
ROOMS = (
    "version text files schemas backend logs accelerators losses thresholds metrics "
    "data backbones networks features model devices evaluation baselines exporting "
    "tuning experiments cli"
).split()
MAY_IMPORT_TENSORFLOW = {
    "accelerators",
    "data",
    "features",
    "model",
    "devices",
    "exporting",
}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path):
    """Returns the dotted names that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_file_is_in_a_room():
    assert {room_of(path) for path in FILES} <= {*ROOMS, "__init__", "__main__"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downward_only(path):
    room = room_of(path)
    if room not in ROOMS:
        return
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "egan_keras" and len(parts) > 1 and parts[1] in ROOMS:
            assert ROOMS.index(parts[1]) <= ROOMS.index(room), f"{room} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_tensorflow_stays_where_it_belongs(path):
    uses = any(name.split(".")[0] == "tensorflow" for name in imported(path))
    assert not uses or room_of(path) in MAY_IMPORT_TENSORFLOW


def test_everything_public_is_documented():
    for name in egan_keras.__all__:
        value = getattr(egan_keras, name)
        assert value.__doc__, name
