"""A grid from a TOML file, or from values named as in one."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from egan_keras.experiments.grid import Grid, Pairing, Part, Task
from egan_keras.experiments.methods import Method, choose_methods, egan, known_methods

DEFAULT_SEEDS = 5

# What a task may say for itself, in place of the whole grid.
_SHARED = {"seeds", "pairings", "methods"}
_GRID = _SHARED | {"weights", "network_size", "task", "variant"}
_TASK_OWN = {"majority", "minority", "test_fraction", "image_size", "gray_range"}
_TASK_OWN |= {"duplicates"}
_TASK = _SHARED | _TASK_OWN | {"data", "counts"}
_VARIANT = {"name", "recipe", "choices"}


def read_grid(path: Path, base: Path, options: Mapping[str, Any]) -> Grid:
    """Reads a grid from a TOML file.

    Args:
        path: the file.
        base: the folder that each task's `data` is below.
        options: as for `make_grid`.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it is no TOML, or as for `make_grid`.
    """
    if not path.is_file():
        raise FileNotFoundError(
            "The file of the grid does not exist; expected a TOML file. Received: "
            f"{str(path)!r}. Check the path."
        )
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(
            f"The grid cannot be read; expected a TOML file. Received: {str(path)!r} "
            f"({error}). Correct it."
        ) from error
    return make_grid(values, base, options)


def make_grid(
    values: Mapping[str, Any], base: Path, options: Mapping[str, Any]
) -> Grid:
    """Makes a grid from values as a TOML file holds them.

    Args:
        values: `task`, a list of tables, and optionally `variant`, `seeds`,
            `pairings`, `methods`, `weights`, `network_size`.
        base: the folder that each task's `data` is below.
        options: what takes the place of these, of the grid and its tasks; None stands
            for nothing. There must be `pairings` in one of the two.

    Raises:
        ValueError: for an unknown key, method, backbone or choice, one that is
            missing, or a value of another kind than expected.
    """
    forced = {name: value for name, value in options.items() if value is not None}
    _check_keys("the grid", values, _GRID, {"task"})
    known = known_methods([_variant(each) for each in _tables(values, "variant")])
    if not _tables(values, "task"):
        raise _wrong("task", "at least one table, below a line [[task]]", [])
    shared = {name: values[name] for name in _SHARED & set(values)}
    parts = tuple(
        _part(shared | each | forced, base, known) for each in _tables(values, "task")
    )
    settings = values | forced
    weights = settings.get("weights", "imagenet")
    size = settings.get("network_size")
    if size is not None:
        size = _numbers("network_size", size, 1)[0]
    return Grid(parts, None if weights == "none" else weights, size)


def _variant(table: Mapping[str, Any]) -> Method:
    _check_keys("a [[variant]]", table, _VARIANT, {"name"})
    (name,) = _texts("name", table["name"])
    choices = table.get("choices", {})
    if not isinstance(choices, dict):
        raise _wrong("choices", "a table such as {real_minority = 0.0}", choices)
    return egan(name, table.get("recipe", "default"), **choices)


def _part(table: Mapping[str, Any], base: Path, known: Mapping[str, Method]) -> Part:
    forced = {"weights", "network_size"}
    _check_keys(
        "a [[task]]", table, _TASK | forced, {"data", "majority", "minority", "counts"}
    )
    seeds = table.get("seeds", DEFAULT_SEEDS)
    if not isinstance(seeds, list | tuple):
        seeds = range(_numbers("seeds", seeds, 1)[0])
    names = table.get("methods")
    pairings = _texts("pairings", table.get("pairings", ()))
    return Part(
        task=_task(table, base),
        counts=_numbers("counts", table["counts"], 1),
        seeds=_numbers("seeds", tuple(seeds), 0),
        pairings=tuple(Pairing.parse(text) for text in pairings),
        methods=choose_methods(
            None if names is None else _texts("methods", names), known
        ),
    )


def _task(table: Mapping[str, Any], base: Path) -> Task:
    (label,) = _texts("data", table["data"])
    own = {name: table[name] for name in _TASK_OWN & set(table)}
    for role in ("majority", "minority"):
        own[role] = _texts(role, own[role])
    if "test_fraction" in own and not isinstance(own["test_fraction"], int | float):
        raise _wrong("test_fraction", "a number", own["test_fraction"])
    return Task(data=base / label, label=label, **own)


def _tables(values: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    tables = values.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(x, dict) for x in tables):
        raise _wrong(key, f"tables, each below a line [[{key}]]", tables)
    return tables


def _check_keys(
    what: str, table: Mapping[str, Any], known: set[str], required: set[str]
) -> None:
    unknown, missing = sorted(set(table) - known), sorted(required - set(table))
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        raise ValueError(
            f"Unknown key in {what}; expected some of {', '.join(sorted(known))}. "
            f"Received: {', '.join(map(repr, unknown))}."
            + (f" Did you mean {near[0]!r}?" if near else " Remove it.")
        )
    if missing:
        raise ValueError(
            f"A key is missing in {what}; expected {', '.join(sorted(required))}. "
            f"Received: {', '.join(sorted(table)) or 'nothing'}. Add "
            f"{', '.join(missing)}."
        )


def _texts(key: str, value: Any) -> tuple[str, ...]:
    """Returns one text or several as a tuple."""
    texts = (value,) if isinstance(value, str) else value
    if not _are(texts, str) or not all(texts):
        raise _wrong(key, "a text, or several in a list", value)
    return tuple(dict.fromkeys(texts))


def _numbers(key: str, value: Any, lowest: int) -> tuple[int, ...]:
    """Returns one whole number or several as a tuple."""
    numbers = (value,) if isinstance(value, int) else value
    if not _are(numbers, int) or any(
        isinstance(number, bool) or number < lowest for number in numbers
    ):
        expected = f"a whole number of {lowest} or more, or several in a list"
        raise _wrong(key, expected, value)
    return tuple(dict.fromkeys(numbers))


def _are(values: Any, kind: type) -> bool:
    return (
        isinstance(values, Sequence)
        and len(values) > 0
        and all(isinstance(value, kind) for value in values)
    )


def _wrong(key: str, expected: str, received: Any) -> ValueError:
    return ValueError(
        f"A value of the grid cannot be used; expected {key} to be {expected}. "
        f"Received: {key} = {received!r}. Correct it."
    )
