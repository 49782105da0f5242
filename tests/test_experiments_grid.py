import importlib.util
from pathlib import Path

import pytest

from egan_keras import baselines, networks
from egan_keras.experiments import make_grid, read_grid
from egan_keras.experiments.grid import Pairing
from egan_keras.experiments.grid_file import choose_methods, known_methods

A, B = "MobileNet:alpha=0.25", "MobileNetV2:alpha=0.35"
GRID = """
seeds = 3
pairings = ["MobileNet:alpha=0.25->MobileNetV2:alpha=0.35"]
methods = ["default", "class means", "no fakes"]
[[task]]
data = "cars"
majority = ["car", "bus"]
minority = "truck"
counts = [1, 20]
[[task]]
data = "tiles"
majority = ["good"]
minority = ["bad"]
counts = 2
test_fraction = 0.5
image_size = 64
seeds = [7]
methods = ["published"]
[[variant]]
name = "no fakes"
choices = {real_minority = 1e12}
"""
TASK = {"data": "cars", "majority": ["car"], "minority": ["truck"], "counts": [2]}


def grid(options=None, **values):
    return make_grid({"task": [TASK], "pairings": [A], **values}, Path(), options or {})


def runs(of):
    return of.runs(dict.fromkeys(of.tasks, "files"))


def names(methods):
    return [method.name for method in methods]


def test_a_grid_is_read_from_a_file(tmp_path):
    (tmp_path / "grid.toml").write_text(GRID)
    cars, tiles = read_grid(tmp_path / "grid.toml", Path("/base"), {}).parts
    assert cars.task.name == "cars car+bus/truck"
    assert cars.task.data == Path("/base/cars")
    assert cars.counts, cars.seeds == ((1, 20), (0, 1, 2))
    assert cars.pairings == (Pairing(A, B),)
    assert names(cars.methods) == ["default", "no fakes", "class means"]
    assert cars.methods[1].recipe.real_minority == 1e12
    assert tiles.task.name == "tiles good/bad at 64 px"
    assert (tiles.counts, tiles.seeds, tiles.task.test_fraction) == ((2,), (7,), 0.5)
    assert names(tiles.methods) == ["published"]


def test_options_take_the_place_of_the_grid_and_its_tasks(tmp_path):
    (tmp_path / "grid.toml").write_text(GRID)
    options = {"seeds": 1, "methods": ["class means"], "pairings": B, "weights": "none"}
    changed = read_grid(tmp_path / "grid.toml", Path(), options)
    assert [(part.seeds, names(part.methods)) for part in changed.parts] == [
        ((0,), ["class means"])
    ] * 2
    assert changed.parts[0].pairings == (Pairing(B, B),)
    assert changed.weights is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": 3}, "Unknown key in the grid.*Did you mean 'seeds'"),
        ({"task": [TASK | {"count": [1]}]}, "Unknown key in a .*task.*'counts'"),
        # These are of the whole grid, and would have no effect on one task.
        ({"task": [TASK | {"network_size": 64}]}, "Unknown key in a .*'network_size'"),
        ({"task": [TASK | {"weights": "none"}]}, "Unknown key in a .*task.*'weights'"),
        ({"task": [{"data": "cars"}]}, "A key is missing in a .*task.*Add counts"),
        ({"task": []}, "expected task to be at least one table"),
        ({"task": "cars"}, "expected task to be tables"),
        ({"task": [TASK | {"counts": [0]}]}, "counts to be a whole number of 1"),
        ({"task": [TASK | {"counts": [True]}]}, "counts to be a whole number of 1"),
        ({"task": [TASK | {"majority": 3}]}, "majority to be a text"),
        ({"task": [TASK | {"majority": ["truck"]}]}, "may be named once only"),
        ({"task": [TASK | {"test_fraction": 1}]}, "must lie in"),
        ({"task": [TASK | {"test_fraction": "a"}]}, "test_fraction to be a number"),
        ({"task": [TASK | {"image_size": [32, 32]}]}, "image_size to be a whole"),
        ({"task": [TASK | {"skip_unreadable": 1}]}, "skip_unreadable to be true or"),
        ({"task": [TASK, TASK | {"test_fraction": 0.5}]}, "Different tasks have one"),
        ({"seeds": 0}, "seeds to be a whole number of 1"),
        ({"seeds": "5"}, "seeds to be a whole number of 1"),
        ({"methods": ["class mean"]}, "Unknown method.*Did you mean 'class means'"),
        ({"methods": []}, "methods to be a text"),
        ({"pairings": ["MobileNetV9"]}, "Unknown backbone"),
        ({"pairings": []}, "pairings to be a text"),
        ({"weights": "no.weights.h5"}, "weights file does not exist"),
        ({"network_size": 9.5}, "network_size to be a whole number"),
        ({"variant": [{"choices": {}}]}, "A key is missing in a .*variant"),
        ({"variant": [{"name": "x", "choices": {"speed": 1}}]}, "no such choice"),
        ({"variant": [{"name": "x", "choices": 1}]}, "choices to be a table"),
        ({"variant": [{"name": "default"}]}, "Two methods have one name"),
        ({"variant": [{"name": "all"}]}, "Two methods have one name"),
    ],
)
def test_wrong_grids_are_refused(values, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        grid(**values)


def test_a_file_that_is_no_grid_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="file of the grid does not exist"):
        read_grid(tmp_path / "grid.toml", tmp_path, {})
    (tmp_path / "grid.toml").write_text("seeds = ")
    with pytest.raises(ValueError, match="expected a TOML file"):
        read_grid(tmp_path / "grid.toml", tmp_path, {})


def test_the_default_methods_read_features_alone():
    every = known_methods()
    assert "published" in every and names(choose_methods(["all"], every)) == [*every]
    chosen = choose_methods(None, every)
    known = [*baselines.FEATURE_BASELINES, *baselines.MAP_BASELINES]
    assert names(chosen) == ["default", *known]


def test_a_baseline_without_its_package_is_left_out(monkeypatch):
    def without(name):
        return None if name == "imblearn" else object()

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.warns(UserWarning, match="pip install imbalanced-learn"):
        chosen = choose_methods(None, known_methods())
    assert "class means" in names(chosen)
    assert not any("SMOTE" in name for name in names(chosen))


def test_runs_that_differ_have_other_names(tmp_path):
    weights = tmp_path / "a.weights.h5"
    weights.write_bytes(b"one")
    variant = {"name": "x", "choices": {"loss": "hinge"}}
    grids = [
        grid(**{"methods": ["x"], "seeds": 1, "variant": [variant], **more})
        for more in (
            {},
            {"pairings": [B]},
            {"weights": "none"},
            {"weights": str(weights)},
            {"network_size": 64},
            {"seeds": [1]},
            {"variant": [variant | {"choices": {"loss": "wasserstein"}}]},
            {"task": [TASK | {"counts": [3]}]},
            {"task": [TASK | {"test_fraction": 0.3}]},
        )
    ]
    ids = [run.id for each in grids for run in runs(each)]
    weights.write_bytes(b"other")
    ids += [run.id for run in runs(grids[3])]
    ids += [run.id for run in grids[0].runs({grids[0].tasks[0]: "other files"})]
    assert len(set(ids)) == len(ids) == 11
    assert all(name.startswith("cars-car-truck_") for name in ids)


def test_baselines_do_not_see_the_encoder():
    methods = ["default", "class means"]
    both = runs(grid(pairings=[B, f"{A}->{B}"], methods=methods, seeds=1))
    ids = {name: {r.id for r in both if r.method.name == name} for name in methods}
    assert {name: len(found) for name, found in ids.items()} == {
        "default": 2,
        "class means": 1,
    }


def test_a_baseline_on_other_features_is_another_run(monkeypatch):
    def ids():
        return [run.id for run in runs(grid(methods=["class means"], seeds=1))]

    before = ids()
    other = networks.get_recipe("default", own_preprocessing=False)
    monkeypatch.setitem(networks.RECIPES, "default", other)
    assert before != ids()
    same = networks.get_recipe("default", own_preprocessing=True, epochs=99)
    monkeypatch.setitem(networks.RECIPES, "default", same)
    assert before == ids()


def test_a_run_asked_for_twice_is_one_and_pixels_come_last():
    tasks = [TASK | {"methods": ["published", "default"]}, TASK]
    found = runs(grid(task=tasks, methods=["default", "class means"], seeds=2))
    assert names(run.method for run in found) == [
        *["default"] * 2,
        *["class means"] * 2,
        *["published"] * 2,
    ]
