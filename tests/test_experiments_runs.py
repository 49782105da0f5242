import dataclasses
import json
import os
import re
import shutil

import h5py
import keras
import numpy as np
import pytest
from PIL import Image

import egan_keras as ek
from egan_keras import baselines, data, features, networks
from egan_keras.experiments import compare, make_grid
from egan_keras.experiments.one_run import Samples, train_and_judge
from egan_keras.experiments.outcomes import Records
from egan_keras.experiments.task_images import FolderFeatures, TaskImages
from egan_keras.metrics import score_metrics
from egan_keras.thresholds import calibrate

pytestmark = pytest.mark.whole

TINY = "MobileNet:alpha=0.25"
COLOURS = {"red": (200, 40, 40), "pink": (220, 90, 110), "blue": (40, 40, 200)}
QUICK = {
    "name": "quick",
    "choices": {"epochs": 6, "minimum_steps": 1, "latent_size": 8},
}


def write_class(folder, colour, count, size=(32, 32), start=0):
    folder.mkdir(parents=True)
    noise = np.random.default_rng(start).integers(-40, 40, (count, *size, 3))
    for number, image in enumerate(np.clip(noise + np.array(colour), 0, 255), start):
        Image.fromarray(image.astype("uint8")).save(folder / f"{number:03}.png")


@pytest.fixture
def base(tmp_path):
    """A folder with train and test, and one without."""
    for name, colour in COLOURS.items():
        write_class(tmp_path / "parted" / "train" / name, colour, 30)
        write_class(tmp_path / "parted" / "test" / name, colour, 8, start=500)
        write_class(tmp_path / "flat" / name, colour, 20)
    return tmp_path


@pytest.fixture
def grid(base, tiny_weights):
    def make(folder="parted", counts=2, pairings=TINY, **more):
        task = {"data": folder, "majority": ["red", "pink"], "minority": "blue"}
        values = {"task": [task | {"counts": counts}], "variant": [QUICK]}
        options = {"pairings": pairings, "weights": str(tiny_weights), "seeds": 1}
        options |= {"network_size": 32, "methods": ["quick"]}
        return make_grid(values, base, options | more)

    return make


def first_run(grid, base):
    """Returns the first run of a grid, and what it reads."""
    files = {task: TaskImages(task) for task in grid.tasks}
    run = grid.runs(dict.fromkeys(grid.tasks, "files"))[0]
    store = FolderFeatures(base / "features", grid.weights)
    return run, Samples(store, files).of(run)


def loaded(grid, seed=0, count=2):
    task = grid.tasks[0]
    return data.load_folder(
        task.data,
        majority=task.majority,
        minority=task.minority,
        minority_count=count,
        seed=seed,
        test_fraction=task.test_fraction,
    )


@pytest.mark.filterwarnings("ignore:There are minority images to test on")
@pytest.mark.parametrize("folder", ["parted", "flat", "validated", "as mvtec"])
@pytest.mark.parametrize(("seed", "count"), [(0, 2), (3, 4)])
def test_splits_are_those_of_load_folder(base, grid, folder, seed, count):
    if folder == "validated":
        (base / "parted").rename(base / folder)
        for name, colour in COLOURS.items():
            write_class(base / folder / "val" / name, colour, 3, start=900)
    elif folder == "as mvtec":
        (base / "parted").rename(base / folder)
        shutil.rmtree(base / folder / "train" / "blue")
    of = grid(folder, counts=count)
    found = TaskImages(of.tasks[0]).splits(count, seed)
    for split, images in zip(found, loaded(of, seed, count), strict=True):
        assert split.paths == images.paths
        np.testing.assert_array_equal(split.labels, images.labels)


@pytest.mark.filterwarnings("ignore:.*different sizes")
@pytest.mark.parametrize("size", [(32, 32), (20, 24)])
def test_image_size_is_that_of_load_folder(base, grid, size):
    write_class(base / "flat" / "more", COLOURS["blue"], 3, size=size, start=700)
    for path in (base / "flat" / "more").iterdir():
        path.rename(base / "flat" / "blue" / f"more_{path.name}")
    of = grid("flat", counts=18)
    found = TaskImages(of.tasks[0]).splits(18, 0).train.images.shape[1:3]
    assert found == loaded(of, count=18).train.images.shape[1:3]
    assert found == ((32, 32) if size == (32, 32) else (224, 224))


def test_features_are_what_training_on_images_sees(base, grid, tiny_weights):
    of = grid()
    _, sample = first_run(of, base)
    on_images = ek.EGAN.from_backbones(
        TINY, TINY, image_shape=(32, 32, 3), weights=tiny_weights, network_size=32
    )
    on_rows = ek.EGAN.from_features(**sample.layout)
    splits = loaded(of)
    train = splits.train.images
    mirrored = train[splits.train.labels == 1][:, :, ::-1]
    for rows, images in (
        (sample.train, np.concatenate([train, mirrored])),
        (sample.validation, splits.validation.images),
        (sample.test, splits.test.images),
    ):
        (seen,), (expected,) = (
            features.stem_features(model.discriminator.stem, each)
            for model, each in ((on_rows, rows), (on_images, images))
        )
        # Maps are kept in 16 bits.
        np.testing.assert_allclose(seen, expected, atol=1e-5, rtol=1e-3)
    assert np.ptp(sample.test.vectors, axis=0).max() > 0.1
    labels = [*splits.train.labels, *np.ones(len(mirrored))]
    np.testing.assert_array_equal(sample.train_labels, labels)
    np.testing.assert_array_equal(sample.test_labels, splits.test.labels)


def test_features_are_computed_once_for_files_that_stay_the_same(base, grid, capsys):
    first = first_run(grid(), base)[1]
    assert capsys.readouterr().out.count("Frozen features of") == 7
    again = first_run(grid(), base)[1]
    assert capsys.readouterr().out == ""
    np.testing.assert_array_equal(again.train, first.train)
    vectors, maps = {}, {}
    for path in sorted((base / "features").iterdir()):
        name, _, depth = path.stem.partition("_maps")
        (maps if depth else vectors)[name] = path
    *damaged, third = list(vectors.values())[:3]
    damaged[0].write_bytes(b"")
    damaged[1].write_bytes(damaged[1].read_bytes()[:-1])
    maps[third.stem].unlink()
    again = first_run(grid(), base)[1]
    printed = capsys.readouterr().out
    assert all(f"again: {path} is damaged" in printed for path in [*damaged, third])
    np.testing.assert_array_equal(again.train, first.train)
    replace(base / "parted" / "train" / "red" / "000.png")
    os.utime(base / "parted" / "train" / "pink" / "000.png")
    first_run(grid(), base)
    printed = capsys.readouterr().out
    assert re.findall(r"features of [\d,]+ (\S+) images:", printed) == [
        "parted/train/red"
    ]


def test_features_of_another_version_are_not_read(base, grid, monkeypatch, capsys):
    first_run(grid(), base)
    monkeypatch.setattr("egan_keras.experiments.task_images.__version__", "0.0.1")
    capsys.readouterr()
    first_run(grid(), base)
    assert capsys.readouterr().out.count("Frozen features of") == 7


def replace(path):
    """Puts another image in the place of one, with its times."""
    times = path.stat()
    with Image.open(path) as image:
        pixels = np.random.default_rng(0).permuted(np.asarray(image))
    Image.fromarray(pixels).save(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_features_are_not_kept_of_files_that_change_meanwhile(base, grid, monkeypatch):
    of = features.FeatureStore.features

    def meanwhile(self, images, compute, what, **options):
        found = of(self, images, compute, what, **options)
        replace(base / "parted" / "train" / "red" / "000.png")
        return found

    monkeypatch.setattr(features.FeatureStore, "features", meanwhile)
    with pytest.raises(ValueError, match="changed while.*parted/train/red"):
        first_run(grid(), base)
    assert not list((base / "features").iterdir())


def test_random_weights_are_the_same_for_every_folder_and_process(base, grid):
    one = first_run(grid(weights="none"), base)[1]
    other = first_run(grid(weights="none"), base / "parted")[1]
    np.testing.assert_array_equal(one.test, other.test)


@pytest.mark.slow
def test_the_encoders_features_stand_first(base, grid):
    other = "MobileNet:alpha=0.5"
    both = grid(pairings=f"{other}->{TINY}", weights="none", methods=["quick"])
    run, sample = first_run(both, base)
    alone = [
        first_run(grid(pairings=spec, weights="none"), base)[1]
        for spec in (other, TINY)
    ]
    assert sample.layout["encoder_size"] == alone[0].test.vectors.shape[1]
    assert alone[0].test.vectors.shape[1] == 2 * alone[1].test.vectors.shape[1]
    # Behind both stand the maps of the discriminator's backbone.
    expected = np.concatenate([alone[0].test.vectors, alone[1].test], axis=1)
    np.testing.assert_array_equal(sample.test, expected)
    assert 0 <= train_and_judge(run, sample)["auroc"] <= 1


def test_an_unreadable_image_is_named(base, grid):
    (base / "flat" / "red" / "003.png").write_bytes(b"torn")
    with pytest.raises(ValueError, match="cannot be read.*003.png"):
        first_run(grid("flat"), base)


def test_unreadable_images_are_left_out_where_a_task_says_so(
    base, grid, monkeypatch, capsys
):
    fake(monkeypatch, column=column)
    (base / "flat" / "red" / "003.png").write_bytes(b"torn")
    of = grid("flat", methods=["column"])
    with pytest.raises(ValueError, match="cannot be read"):
        compare(of, base / "out")
    task = dataclasses.replace(of.tasks[0], skip_unreadable=True)
    assert task.definition() == of.tasks[0].definition() | {"skip_unreadable": True}
    part = dataclasses.replace(of.parts[0], task=task)
    outcomes = compare(dataclasses.replace(of, parts=(part,)), base / "out")
    told = "Skipped in flat 1 unreadable files or images of a single colour: "
    assert f"{told}{base / 'flat' / 'red' / '003.png'}" in capsys.readouterr().out
    (record,) = outcomes.records.values()
    counts = [f"n_{name}" for name in ("train_majority", "validation", "test")]
    assert sum(record.results[name] for name in counts) == 39 + 4


@pytest.mark.slow
def test_watching_the_test_split_changes_nothing(base, grid):
    run, sample = first_run(grid(), base)
    results = train_and_judge(run, sample)
    keras.backend.clear_session()
    keras.utils.set_random_seed(run.seed)
    model = ek.EGAN.from_features(**sample.layout, recipe=run.method.recipe)
    model.compile()
    model.fit(np.asarray(sample.train), sample.train_labels, verbose=0)
    scores = model.predict(sample.test, verbose=0)
    expected = score_metrics(scores, sample.test_labels, 0.0)
    assert results["auroc"] == expected["auroc"] == results["auroc_by_epoch"][-1]
    assert results["sensitivity_at_zero"] == expected["sensitivity"]
    assert results["f1_at_zero_by_epoch"][-1] == pytest.approx(expected["f1"])
    assert len(results["auroc_by_epoch"]) == 6


@pytest.mark.parametrize(("n", "confidence"), [(80, 0.95), (20, None)])
def test_the_threshold_is_set_on_validation_alone(
    base, grid, monkeypatch, n, confidence
):
    def first_column(train, labels, test, *, seed):
        return test[:, 0]

    monkeypatch.setitem(baselines.FEATURE_BASELINES, "column", first_column)
    run, sample = first_run(grid(methods=["column"]), base)
    random = np.random.default_rng(0)
    sample = sample._replace(
        validation=random.normal(size=(n, 3)), test=random.normal(size=(24, 3))
    )
    results = train_and_judge(run, sample)
    wanted = calibrate(
        sample.validation[:, 0], np.zeros(n), specificity=0.95, confidence=confidence
    )
    assert results["threshold"] == wanted.threshold
    assert results["threshold_confidence"] == confidence
    at = score_metrics(sample.test[:, 0], sample.test_labels, wanted.threshold)
    assert {name: results[name] for name in ("auroc", "f1", "sensitivity")} == {
        name: at[name] for name in ("auroc", "f1", "sensitivity")
    }


def test_pixels_are_those_of_load_folder(base, grid, monkeypatch):
    seen = {}

    def remember(train, labels, test, **options):
        seen.update(options, train=train, test=test)
        return test.mean(axis=(1, 2, 3)).astype(float)

    monkeypatch.setattr(baselines, "IMAGE_BASELINES", {"mean": remember})
    of = grid(methods=["mean"])
    results = train_and_judge(*first_run(of, base))
    splits = loaded(of)
    np.testing.assert_array_equal(seen["train"], splits.train.images)
    held = [splits.validation.images, splits.test.images]
    np.testing.assert_array_equal(seen["test"], np.concatenate(held))
    assert (seen["backbone"], seen["network_size"], seen["seed"]) == (TINY, 32, 0)
    assert results["n_validation"] == len(splits.validation)


def test_a_recipe_that_trains_layers_reads_pixels(base, grid, monkeypatch):
    quick = networks.get_recipe("published", epochs=2)
    monkeypatch.setitem(networks.RECIPES, "published", quick)
    run, sample = first_run(grid(methods=["published"]), base)
    assert sample.train.dtype == np.uint8
    assert len(train_and_judge(run, sample)["auroc_by_epoch"]) == 2


def fake(monkeypatch, **functions):
    for name, function in functions.items():
        monkeypatch.setitem(baselines.FEATURE_BASELINES, name, function)


def test_what_fails_stops_nothing_and_what_has_run_stays(
    base, grid, monkeypatch, capsys
):
    calls = []

    def good(train, labels, test, *, seed):
        calls.append(seed)
        return test[:, 0] + 0.01 * np.arange(len(test))

    def broken(*arguments, seed):
        raise ZeroDivisionError("by\nzero")

    def picky(train, labels, test, *, seed):
        if labels.sum() < 2:
            raise ValueError("needs two minority images")
        return test[:, 0]

    fake(monkeypatch, broken=broken, good=good, picky=picky)
    of = grid(counts=[1, 2], methods=["good", "broken", "picky"], seeds=2)
    outcomes = compare(of, base / "out")
    assert calls == [0, 1, 0, 1]
    assert {run.method.name for run in outcomes.failed} == {"broken"}
    assert {str(run) for run in outcomes.not_possible} == {
        f"parted red+pink/blue 1 seed {seed}: picky" for seed in (0, 1)
    }
    assert len(outcomes.records) == 6 and len(outcomes.missing) == 6
    printed = capsys.readouterr().out
    assert "12 runs, 0 of them done before" in printed
    line = r"\[   2/  12\] .* 1 seed 0: good AUROC \S+ \(0.0 s\), \d min left"
    assert re.search(line, printed)
    assert "FAILED: ZeroDivisionError: by zero" in printed
    again = compare(of, base / "out")
    assert calls == [0, 1, 0, 1] and len(again.records) == 6
    assert "12 runs, 6 of them done before" in capsys.readouterr().out


def test_errors_of_libraries_do_nothing_to_a_terminal(base, grid, monkeypatch, capsys):
    def broken(*arguments, seed):
        raise ZeroDivisionError("\x1b[2Jgone")

    fake(monkeypatch, broken=broken)
    compare(grid(methods=["broken"]), base / "out")
    assert r"FAILED: ZeroDivisionError: \x1b[2Jgone" in capsys.readouterr().out


def test_ctrl_c_keeps_what_has_run_and_writes_the_tables(base, grid, monkeypatch):
    def interrupted(train, labels, test, *, seed):
        if seed == 1:
            raise KeyboardInterrupt
        return test[:, 0]

    fake(monkeypatch, interrupted=interrupted)
    of = grid(methods=["interrupted"], seeds=3)
    with pytest.raises(KeyboardInterrupt):
        compare(of, base / "out")
    assert len(list((base / "out" / "runs").iterdir())) == 1
    assert "1 of 3 runs" in (base / "out" / "report.md").read_text()
    assert len((base / "out" / "results.csv").read_text().splitlines()) == 2


def test_tables_only_runs_nothing(base, grid, capsys):
    outcomes = compare(grid(), base / "out", tables_only=True)
    assert len(outcomes.missing) == 1 and not outcomes.records
    assert "Not run yet" in (base / "out" / "report.md").read_text()
    assert not (base / "out" / "features").exists()


def column(train, labels, test, *, seed):
    return test[:, 0]


@pytest.mark.parametrize("folder", ["parted", "flat"])
def test_results_of_other_images_are_left_aside(
    base, grid, monkeypatch, capsys, folder
):
    fake(monkeypatch, column=column)

    def compared(seeds):
        outcomes = compare(grid(folder, methods=["column"], seeds=seeds), base / "out")
        return outcomes, capsys.readouterr().out

    compared(seeds=1)
    shutil.copytree(base / folder, base / "copy")
    shutil.rmtree(base / folder)
    (base / "copy").rename(base / folder)
    assert "2 runs, 1 of them done before" in compared(seeds=2)[1]
    part = base / folder / ("train" if folder == "parted" else "")
    for path in (part / "red").iterdir():
        replace(path)
    (part / "blue" / "000.png").unlink()
    write_class(part / "blue" / "more", COLOURS["blue"], 2, start=800)
    outcomes, printed = compared(seeds=2)
    count = 30 if folder == "parted" else 20
    assert "2 earlier results are left aside, since their images were others" in printed
    assert f": {count} have other contents, 1 are gone, 2 new" in printed
    assert "2 runs, 0 of them done before" in printed
    assert len(outcomes.records) == 2
    assert len(list((base / "out" / "runs").iterdir())) == 4


def test_results_that_earlier_versions_wrote_are_left_aside(
    base, grid, monkeypatch, capsys
):
    fake(monkeypatch, column=column)
    compare(grid(methods=["column"]), base / "out")
    (path,) = (base / "out" / "runs").iterdir()
    values = json.loads(path.read_text())
    del values["run"]["task"]["duplicates"]
    values["run"]["files"] = "names and sizes"
    path.with_name("old.json").write_text(json.dumps(values))
    path.unlink()
    (base / "out" / "images.json").write_text("{")
    outcomes = compare(grid(methods=["column"]), base / "out")
    printed = capsys.readouterr().out
    assert "1 earlier results are left aside" in printed
    assert "1 runs, 0 of them done before" in printed and len(outcomes.records) == 1


@pytest.mark.parametrize("option", ["weights", "image_size", "test_fraction"])
def test_what_changes_results_is_run_again(
    base, grid, monkeypatch, capsys, tiny_weights, tmp_path, option
):
    fake(monkeypatch, column=column)
    weights = tmp_path / "own.weights.h5"
    shutil.copy(tiny_weights, weights)
    options = {"methods": ["column"], "weights": str(weights)}
    compare(grid("flat", **options), base / "out")
    if option == "weights":
        state = weights.stat()
        with h5py.File(weights, "r+") as file:
            file.visititems(
                lambda name, item: (
                    item.write_direct(item[...] * 1.5)
                    if isinstance(item, h5py.Dataset) and item.ndim == 4
                    else None
                )
            )
        os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))
        again = grid("flat", **options)
    else:
        of = grid("flat", **options)
        task = dataclasses.replace(
            of.tasks[0], **{option: {"image_size": 24, "test_fraction": 0.4}[option]}
        )
        part = dataclasses.replace(of.parts[0], task=task)
        again = dataclasses.replace(of, parts=(part,))
    capsys.readouterr()
    compare(again, base / "out")
    assert "1 runs, 0 of them done before" in capsys.readouterr().out


def test_copies_do_not_judge_and_are_counted(base, grid, monkeypatch):
    fake(monkeypatch, column=column)
    for number in range(3):
        source = base / "parted" / "train" / "red" / f"{number:03}.png"
        shutil.copy(source, base / "parted" / "test" / "red" / f"again{number}.png")
    with pytest.warns(UserWarning, match="left out there: 3 "):
        outcomes = compare(grid(methods=["column"]), base / "out")
    (record,) = outcomes.records.values()
    assert record.results["n_test"] == 24
    assert record.results["n_dropped_duplicates"] == 3
    report = (base / "out" / "report.md").read_text()
    assert "Left out, as equal to another file: 3 of parted red+pink/blue." in report
    shutil.copy(source, base / "parted" / "train" / "blue" / "both.png")
    with pytest.raises(ValueError, match="majority and minority both"):
        compare(grid(methods=["column"]), base / "out")


def test_a_result_of_another_run_is_refused(base, grid):
    of = grid()
    run = of.runs(dict.fromkeys(of.tasks, "files"))[0]
    kept = Records(base / "runs")
    assert kept.read(run) is None
    assert kept.write(run, {"auroc": 0.5}) == kept.read(run)
    values = json.loads(kept.path(run).read_text())
    values["run"]["seed"] = 9
    kept.path(run).write_text(json.dumps(values))
    with pytest.raises(ValueError, match="the result of another run.*Remove it"):
        kept.read(run)


def test_a_folder_that_is_no_comparison_is_left_alone(base, grid):
    with pytest.raises(FileExistsError, match="not a comparison"):
        compare(grid(), base)


def test_tasks_are_checked_before_anything_is_read(base, grid):
    with pytest.raises(ValueError, match="asks for 99"):
        compare(grid(counts=[1, 99]), base / "out")
    assert not (base / "out").exists()
