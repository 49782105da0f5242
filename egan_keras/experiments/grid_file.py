"""A grid from a TOML file, or from values named as in one."""

import dataclasses
import difflib
import importlib.util
import tomllib
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from egan_keras import baselines, networks
from egan_keras.data.decoding import check_gray_range
from egan_keras.data.groups import group_namer
from egan_keras.data.images import check_image_size
from egan_keras.data.splits import ClassRoles, SplitRules
from egan_keras.experiments.grid import (
    REFERENCE,
    Grid,
    Method,
    Pairing,
    Part,
    Task,
    check_names,
)
from egan_keras.experiments.task_features import origin

DEFAULT_SEEDS = 5
ALL = "all"

# What a task may say for itself, in place of the whole grid.
_SHARED = {"seeds", "pairings", "methods"}
_OF_ALL = {"weights", "network_size"}
_OF_TASK = {
    field.name
    for field in dataclasses.fields(Task)
    if field.default is not dataclasses.MISSING and field.name != "features"
}
_OF_FEATURES = {"duplicates", "test_fraction"}
_NEEDED = {"majority", "minority", "counts"}
# The choices of a recipe that decide what vectors are.
_OF_VECTORS = ("network_size", "own_preprocessing", "depths")
_KINDS = {
    "test_fraction": (int | float, "a number"),
    "image_size": (int, "a whole number"),
    "labels": (str, "the path of a CSV file, below ROOT"),
    "groups": (str, "a regular expression with one pair of parentheses"),
    "skip_unreadable": (bool, "true or false"),
    "choices": (dict, "a table such as {real_minority = 0.0}"),
}


def read_grid(path: Path, base: Path, options: Mapping[str, Any]) -> Grid:
    """Reads a grid from a TOML file, the rest as by `make_grid`.

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
        base: the folder that each task's `data` or `features` is below.
        options: what takes the place of these, of the grid and its tasks; None stands
            for nothing. There must be `pairings` in one of the two.

    Raises:
        ValueError: for an unknown key, method, backbone or choice, one that is
            missing, or a value of another kind than expected.
    """
    forced = {name: value for name, value in options.items() if value is not None}
    _check_keys("the grid", values, _SHARED | _OF_ALL | {"variant"}, {"task"})
    tasks, variants = values["task"], values.get("variant", [])
    for key, tables in (("task", tasks), ("variant", variants)):
        if not isinstance(tables, list) or not all(isinstance(x, dict) for x in tables):
            raise _wrong(key, f"tables, each below a line [[{key}]]", tables)
    if not tasks:
        raise _wrong("task", "at least one table, below a line [[task]]", [])
    known = known_methods([_variant(each) for each in variants])
    settings = values | forced
    weights, size = settings.get("weights", "imagenet"), settings.get("network_size")
    shared = {name: values[name] for name in _SHARED & set(values)}
    of_tasks = {name: value for name, value in forced.items() if name not in _OF_ALL}
    return Grid(
        tuple(_part(shared | each | of_tasks, base, known) for each in tasks),
        None if weights == "none" else weights,
        None if size is None else _listed("network_size", size, int, 1)[0],
    )


def _variant(table: Mapping[str, Any]) -> Method:
    _check_keys("a [[variant]]", table, {"recipe", "choices"}, {"name"})
    (name,) = _listed("name", table["name"])
    return egan(name, table.get("recipe", "default"), **table.get("choices", {}))


def _part(table: Mapping[str, Any], base: Path, known: Mapping[str, Method]) -> Part:
    source = "features" if "features" in table else "data"
    optional, needed = _OF_TASK, _NEEDED | {source}
    if source == "features":
        optional = _OF_FEATURES
    _check_keys(f"a [[task]] of {source}", table, _SHARED | optional, needed)
    (label,) = _listed(source, table[source])
    seeds, names = table.get("seeds", DEFAULT_SEEDS), table.get("methods")
    if not isinstance(seeds, list | tuple):
        seeds = range(_listed("seeds", seeds, int, 1)[0])
    own = {name: table[name] for name in optional & set(table)}
    own["gray_range"] = check_gray_range(own.get("gray_range"))
    check_image_size(own.get("image_size"))
    group_namer(own.get("groups"))  # refuses what it cannot be
    if own.get("labels"):
        own["labels"] = base / own["labels"]
    names_of = (_listed(role, table[role]) for role in ("majority", "minority"))
    roles = ClassRoles.from_names(*names_of)
    place: Path | str = label if "://" in label else base / label
    if source == "features":
        pairing, own["features"] = origin(place)
        pairings: tuple[Pairing, ...] = (pairing,)
    else:
        texts = _listed("pairings", table.get("pairings", ()))
        pairings = tuple(Pairing.parse(text) for text in texts)
    task = Task(place, label, roles.majority, roles.minority, **own)
    SplitRules(test_fraction=task.test_fraction)  # refuses what it cannot be
    names = None if names is None else _listed("methods", names)
    methods = choose_methods(names, known)
    return Part(
        task,
        _listed("counts", table["counts"], int, 1),
        _listed("seeds", tuple(seeds), int),
        pairings,
        _on_vectors(methods) if source == "features" else methods,
    )


def _on_vectors(methods: Sequence[Method]) -> tuple[Method, ...]:
    """Returns the methods that need vectors alone, and tells of the others."""
    default = networks.get_recipe(REFERENCE)
    left_out = [
        method.name
        for method in methods
        if method.needs_images
        or method.name in baselines.MAP_BASELINES
        or any(
            getattr(method.recipe or default, choice) != getattr(default, choice)
            for choice in _OF_VECTORS
        )
    ]
    kept = tuple(method for method in methods if method.name not in left_out)
    names = ", ".join(map(repr, left_out))
    why = "read feature maps, pixels or features of their own, and there are vectors"
    if not kept:
        raise ValueError(
            f"None of the methods can be compared on features: all {why} alone; "
            f"expected others, such as {REFERENCE}. Received: {names}. Name others, or "
            "compare the images themselves: --data ROOT."
        )
    if left_out:
        warnings.warn(
            f"{names} are left out: they {why} alone. To have them, compare the images "
            "themselves: --data ROOT",
            stacklevel=2,
        )
    return kept


def egan(name: str, recipe: str = "default", **choices: Any) -> Method:
    """Returns an eGAN by a recipe, with other choices where they are given."""
    chosen = networks.get_recipe(recipe, **choices)
    needs_images = bool(chosen.trained_layers) or chosen.generates != "features"
    return Method(name, chosen, needs_images)


def known_methods(variants: Sequence[Method] = ()) -> dict[str, Method]:
    """Returns every method by its name, in the order of the tables."""
    methods = [egan(name, name) for name in sorted(networks.RECIPES)] + list(variants)
    methods += [Method(name) for name in baselines.FEATURE_BASELINES]
    methods += [Method(name) for name in baselines.MAP_BASELINES]
    methods += [Method(name, needs_images=True) for name in baselines.IMAGE_BASELINES]
    names = [ALL, *(method.name for method in methods)]
    check_names(names, "Two methods", "Rename the variant")
    return {method.name: method for method in methods}


def choose_methods(
    names: Sequence[str] | None, known: Mapping[str, Method]
) -> tuple[Method, ...]:
    """Returns methods by name, or all, in the order of `known`.

    Without names these are the default recipe, variants that train on features and
    baselines on features, but for those whose packages are not installed.
    """
    if names is None:
        names = [name for name, method in known.items() if not method.needs_images]
        lacking = [name for name in names if "SMOTE" in name]
        if lacking and importlib.util.find_spec("imblearn") is None:
            warnings.warn(
                f"{', '.join(map(repr, lacking))} is left out: it needs imbalanced-"
                "learn, which is not installed: pip install imbalanced-learn",
                stacklevel=2,
            )
            names = [name for name in names if name not in lacking]
    unknown = [name for name in names if name not in known and name != ALL]
    if unknown:
        raise ValueError(
            f"Unknown method; expected {ALL}, or some of {', '.join(known)}. "
            f"Received: methods={list(names)!r}.{_near(unknown[0], known)}"
        )
    chosen = known if ALL in names else names
    return tuple(method for name, method in known.items() if name in chosen)


def _check_keys(
    what: str, table: Mapping[str, Any], optional: set[str], required: set[str]
) -> None:
    """Refuses unknown and missing keys, and values of other kinds."""
    known = optional | required
    unknown, missing = sorted(set(table) - known), sorted(required - set(table))
    if unknown:
        raise ValueError(
            f"Unknown key in {what}; expected some of {', '.join(sorted(known))}. "
            f"Received: {', '.join(map(repr, unknown))}."
            f"{_near(unknown[0], known) or ' Remove it.'}"
        )
    if missing:
        raise ValueError(
            f"A key is missing in {what}; expected {', '.join(sorted(required))}. "
            f"Received: {', '.join(sorted(table)) or 'nothing'}. Add "
            f"{', '.join(missing)}."
        )
    for name, (kinds, expected) in _KINDS.items():
        if name in table and not isinstance(table[name], kinds):
            raise _wrong(name, expected, table[name])


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _listed(key: str, value: Any, kind: type = str, lowest: int = 0) -> tuple:
    """Returns one text or whole number, or several, as a tuple."""
    found = (value,) if isinstance(value, kind) else value
    if not (
        isinstance(found, Sequence)
        and found
        and all(type(x) is kind and (x if kind is str else x >= lowest) for x in found)
    ):
        expected = "a text" if kind is str else f"a whole number of {lowest} or more"
        raise _wrong(key, f"{expected}, or several in a list", value)
    return tuple(dict.fromkeys(found))


def _wrong(key: str, expected: str, received: Any) -> ValueError:
    return ValueError(
        f"A value of the grid cannot be used; expected {key} to be {expected}. "
        f"Received: {key} = {received!r}. Correct it."
    )
