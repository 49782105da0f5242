"""The public interface is annotated, in files that `make types` checks."""

import inspect
import tomllib
from pathlib import Path

import pytest

import egan_keras as ek

ROOT = Path(__file__).parents[1]
PUBLIC = [name for name in ek.__all__ if callable(getattr(ek, name))]


# What Keras calls for each batch, and no user: there is one for each backend.
NOT_CALLED = "egan_keras.model.step"


def own_classes(value):
    """Returns a class and those of this package that it is made of."""
    modules = {each: each.__module__ for each in value.__mro__}
    own = [each for each in modules if modules[each].startswith("egan_keras")]
    return [each for each in own if not modules[each].startswith(NOT_CALLED)]


def functions(value):
    """Yields names and functions that a user of a public name may call or read."""
    if not inspect.isclass(value):
        yield value.__name__, value
        return
    for each in own_classes(value):
        for name, member in vars(each).items():
            if isinstance(member, property):
                member = member.fget
            member = getattr(member, "__func__", member)
            if inspect.isfunction(member) and (name[0] != "_" or name == "__init__"):
                yield f"{each.__name__}.{name}", member


def unannotated(name, function):
    """Yields what of a function has no annotation."""
    signature = inspect.signature(function)
    for parameter in list(signature.parameters.values())["." in name :]:
        if parameter.annotation is parameter.empty:
            yield f"{name}({parameter.name})"
    # Generated constructors, as of dataclasses, return None without a word.
    if signature.return_annotation is signature.empty and name[-8:] != "__init__":
        yield f"{name}() ->"


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_is_annotated(name):
    found = [x for each in functions(getattr(ek, name)) for x in unannotated(*each)]
    assert not found


def test_a_missing_annotation_is_found():
    def half(x: int, y): ...

    assert list(unannotated("half", half)) == ["half(y)", "half() ->"]


@pytest.mark.parametrize("name", PUBLIC)
def test_make_types_checks_where_public_names_are_defined(name):
    value = getattr(ek, name)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    checked = [ROOT / path for path in settings["tool"]["mypy"]["files"]]
    assert all(path.exists() for path in checked)
    for each in own_classes(value) if inspect.isclass(value) else [value]:
        path = Path(inspect.getfile(each)).relative_to(Path(ek.__file__).parents[1])
        assert {ROOT / path, *(ROOT / path).parents} & {*checked}
