import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import egan_keras

PACKAGE = Path(egan_keras.__file__).parent
ROOMS = (
    "version text files schemas keras_hooks logs litert losses "
    "thresholds metrics data backbones samples networks features model "
    "devices evaluation baselines exporting scale tuning experiments review cli"
).split()
MAY_IMPORT_TENSORFLOW = {
    "keras_hooks",
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
def test_no_file_imports_the_face(path):
    faces = {"egan_keras", *(f"egan_keras.{name}" for name in egan_keras.__all__)}
    faces |= {"egan_keras.__all__", "egan_keras.__version__"}
    rooms = {f"egan_keras.{room}" for room in ROOMS}
    used = {name for name in imported(path) if name != "egan_keras"} - rooms
    whole = [
        alias
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "egan_keras"
    ]
    assert not (used & faces) and not whole


def printed_by(program):
    """Returns what a program prints that ends well."""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.decode()


def test_the_face_is_lazy_and_has_no_side_effects():
    program = (
        "import sys, threading; before = list(sys.meta_path), sys.argv[:]\n"
        "import egan_keras\n"
        "slow = {'keras', 'tensorflow', 'numpy', 'sklearn', 'PIL'} & set(sys.modules)\n"
        "assert not slow, slow\n"
        "assert before == (list(sys.meta_path), sys.argv[:])\n"
        "assert set(egan_keras.__all__) <= set(dir(egan_keras))\n"
        "try: egan_keras.none_such\n"
        "except AttributeError as error: print(error)\n"
    )
    assert "'egan_keras' has no attribute 'none_such'" in printed_by(program)


def test_what_needs_no_keras_does_not_wait_for_it():
    program = (
        "import sys, egan_keras as ek, egan_keras.cli.score\n"
        "ek.load_tflite, ek.TFLiteModel\n"
        "slow = {'keras', 'tensorflow', 'scipy', 'sklearn', 'pandas', 'matplotlib'}\n"
        "slow |= {'jinja2', 'markupsafe'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    printed_by(program)


@pytest.mark.whole
def test_heat_maps_of_a_file_need_no_keras():
    program = (
        "import sys, egan_keras.evaluation\n"
        "egan_keras.evaluation.overlaid\n"
        "slow = {'keras', 'tensorflow'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    printed_by(program)


@pytest.mark.whole
def test_no_template_is_read_before_a_page_is_made():
    program = (
        "import sys, egan_keras as ek\n"
        "ek.evaluate, ek.EGAN\n"
        "assert 'jinja2' not in sys.modules\n"
    )
    printed_by(program)


@pytest.mark.whole
def test_keras_knows_a_saved_model_once_images_have_been_loaded():
    program = (
        "import egan_keras; egan_keras.load_folder\n"
        "import keras; keras.saving.get_registered_object('egan_keras>EGAN').fit\n"
    )
    printed_by(program)


def test_type_checkers_see_the_names_that_are_imported_when_used():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    )
    seen = {a.name: node.module for node in block.body for a in node.names}
    assert set(seen) == set(egan_keras.__all__)
    for name, module in seen.items():
        assert getattr(importlib.import_module(module), name) is getattr(
            egan_keras, name
        )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_tensorflow_stays_where_it_belongs(path):
    uses = any(name.split(".")[0] == "tensorflow" for name in imported(path))
    assert not uses or room_of(path) in MAY_IMPORT_TENSORFLOW


def test_everything_public_is_documented():
    for name in egan_keras.__all__:
        value = getattr(egan_keras, name)
        assert value.__doc__, name
