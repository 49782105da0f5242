import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

import egan_keras as ek
from egan_keras.tuning import choosing, leaderboard, searching, tuner
from egan_keras.tuning.choosing import TrialRecord, load_records
from egan_keras.tuning.tuner import PairingTuner

pytestmark = pytest.mark.whole

TINY = "MobileNet:alpha=0.25"
SPACE = {
    "encoders": [TINY, "VGG16"],
    "discriminators": [TINY, "VGG16", "VGG19"],
    "network_size": 32,
    "depths": [1, 2],
    "verbose": False,
}


def pretended(tuner, trial, record):
    """Judges a trial without training; one backbone is missing its weights."""
    if record.encoder == "VGG16" and record.discriminator == "VGG19":
        raise OSError("The ImageNet weights of VGG19 are not on this machine")
    worth = 0.6 + 0.1 * (record.discriminator == TINY) + 0.05 * record.recipe["depths"]
    return replace(
        record,
        shares=(worth, worth + 0.1),
        trained_parameters=1000,
        features_size=256,
        training_seconds=1.5,
        int8_kb=1000.0 if "VGG" in record.discriminator else 300.0,
        latency_ms=0.5,
    )


@pytest.fixture
def pretend(monkeypatch):
    monkeypatch.setattr(PairingTuner, "_judged", pretended)
    # It takes half a second a trial, and there is nothing to collect.
    monkeypatch.setattr("gc.collect", lambda: 0)


@pytest.fixture
def splits(few_ones, digits):
    images, labels = digits
    zeros = np.flatnonzero(labels == 0)[100:140]
    return ek.LabelledImages(*few_ones), ek.LabelledImages(images[zeros], labels[zeros])


def rows_of(folder):
    with (folder / "leaderboard.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("tuner", ["random", "bayesian", "grid", "hyperband"])
def test_a_search_goes_past_failures(splits, pretend, tmp_path, tuner, capsys):
    options = SPACE | {"verbose": True}
    search = ek.search_pairings(
        *splits, folder=tmp_path / "s", tuner=tuner, trials=12, **options
    )
    first = search.records[0]
    assert (first.encoder, first.discriminator, first.recipe["depths"]) == (
        TINY,
        TINY,
        2,
    )
    assert len({record.number for record in search.records}) == len(search.records) > 5
    assert search.best.discriminator == TINY and search.best.recipe["depths"] == 2
    printed = capsys.readouterr().out
    failed = [record for record in search.records if record.failure]
    assert printed.count("failed") == len(failed) > 0
    assert printed.count("The ImageNet weights of VGG19") == len(failed)
    assert len(printed.splitlines()) == 2 + len(search.records)


def test_a_leaderboard_is_written(splits, pretend, tmp_path):
    search = ek.search_pairings(
        *splits, folder=tmp_path / "s", tuner="grid", trials=12, **SPACE
    )
    rows = rows_of(search.folder)
    assert [row["rank"] for row in rows] == [str(n) for n in range(1, 13)]
    objectives = [float(r["held_out_auroc"]) for r in rows if r["held_out_auroc"]]
    assert objectives == sorted(objectives, reverse=True) and len(objectives) == 10
    assert [row["chosen"] for row in rows].count("True") == 1
    assert rows[0]["chosen"] == "True" and float(rows[0]["int8_kb"]) == 300
    assert all("VGG19 are not on" in row["failure"] for row in rows[-2:])
    text = read_table(search.folder)
    assert f"Chosen: trial {search.best.number}, {search.best.pairing}." in text
    assert "Failed:\n\n- trial" in text and "| 1,000 | 256 | 1.5 | 0.50 |" in text
    assert (search.folder / "heatmap.png").stat().st_size > 5000


def read_table(folder):
    """Returns the table for people, without the spaces that align columns."""
    return re.sub(" +", " ", (folder / "leaderboard.md").read_text("utf-8"))


def test_the_best_within_a_budget_is_chosen(splits, pretend, tmp_path):
    options = {"folder": tmp_path / "s", "tuner": "grid", "trials": 12, **SPACE}
    assert ek.search_pairings(*splits, **options).best.int8_kb == 300
    # Another budget needs no new trial, but for those that lacked weights.
    before = completed_in(tmp_path / "s")
    with pytest.raises(ValueError, match=r"budget.*int8_kb 300 at least \(max_.*=200"):
        ek.search_pairings(*splits, **options, max_int8_kb=200)
    with pytest.raises(ValueError, match="latency_ms 0.5 at least"):
        ek.search_pairings(*splits, **options, max_latency_ms=0.4)
    assert completed_in(tmp_path / "s") == before and len(before) == 10


def completed_in(folder):
    return [record for record in load_records(folder) if record.failure is None]


def test_what_cannot_be_converted_is_in_no_budget():
    records = [record(number=1, mean=0.9, int8_kb=None), record(number=2, mean=0.8)]
    assert choosing.choose(records)[0].number == 1
    within = choosing.within(records, max_int8_kb=500, max_latency_ms=None)
    assert [each.number for each in within] == [2]


def record(number=1, mean=0.5, epochs=20, **values):
    values = {"int8_kb": 300.0, "latency_ms": 0.1, **values}
    recipe = {"depths": 1, "trained_layers": 0, "epochs": values.pop("whole", 20)}
    shares = (mean, mean)
    encoder = values.pop("encoder", TINY)
    return TrialRecord(
        number, encoder, TINY, {}, recipe, 32, epochs, shares=shares, **values
    )


@pytest.mark.parametrize(
    ("leads", "wins"),
    [
        ([0.1, 0.1, 0.1], True),
        ([0.01, 0.012, 0.011], True),
        ([0.0, 0.0, 0.3], False),
        ([-0.1, -0.1, -0.1], False),
        ([0.0, 0.0, 0.0], False),
    ],
)
def test_the_default_stays_unless_another_is_clearly_better(leads, wins):
    default = replace(record(number=1), shares=(0.6, 0.5, 0.4))
    shares = tuple(np.add(default.shares, leads))
    other = replace(record(number=2), shares=shares)
    assert choosing.choose([default, other], default)[0].number == (2 if wins else 1)
    if sum(leads) > 0:
        assert choosing.choose([other], default)[0].number == 2
        assert choosing.choose([default, other])[0].number == 2


@pytest.mark.parametrize(
    ("leads", "reason"),
    [
        ([0.1, 0.1, 0.1], r"lead over the default, trial 1, is \+0.100 ± 0.000, more"),
        (
            [0.0, 0.0, 0.3],
            r"No other .* beyond chance: .* trial 2, 0.600, is \+0.100 ± 0.1",
        ),
        ([-0.1, -0.1, -0.1], "No other trial has a higher figure"),
    ],
)
def test_why_a_trial_was_chosen_is_said(leads, reason, tmp_path):
    default = replace(record(number=1), shares=(0.6, 0.5, 0.4))
    shares = tuple(np.add(default.shares, leads))
    records = [default, replace(record(number=2), shares=shares)]
    best, said = choosing.choose(records, default)
    assert re.search(reason, said)
    leaderboard.write_leaderboard(tmp_path, records, best, said)
    text = (tmp_path / "leaderboard.md").read_text()
    assert f"Chosen: trial {best.number}, {best.pairing}. {said}" in text
    other = records[1]
    assert "could not be chosen" in choosing.choose([other], default)[1]


def test_the_heat_map_marks_the_one_chosen(monkeypatch):
    drawn = []
    monkeypatch.setattr(Axes, "text", lambda *given, **style: drawn.append(given[3]))
    chosen, better = record(number=1, mean=0.7), record(number=2, mean=0.8)
    elsewhere = record(number=3, mean=0.9, encoder="VGG16")
    figure = leaderboard.plot_heatmap([chosen, better, elsewhere], chosen)
    first, second = drawn
    assert "0.800" in first and "chosen: 0.700" in first and "chosen" not in second
    frame = figure.axes[0].patches[0]
    assert (frame.get_x(), frame.get_y()) == (-0.47, -0.46)
    drawn.clear()
    leaderboard.plot_heatmap([chosen, better, elsewhere], elsewhere)
    assert "chosen" not in drawn[0] and drawn[1].endswith("\nchosen")


def test_trials_of_fewer_epochs_are_not_compared():
    short = record(number=1, mean=0.9, epochs=7)
    whole = record(number=2, mean=0.8)
    assert choosing.completed([short, whole]) == [whole]
    assert leaderboard.ranked([short, whole]) == [whole, short]
    assert choosing.completed([short, record(number=3, epochs=2)]) == [short]
    # A recipe of fewer epochs is none the less whole.
    quick = record(number=4, mean=0.7, epochs=5, whole=5)
    assert choosing.completed([quick, whole]) == [quick, whole]
    assert choosing.comparable(quick, whole) and not choosing.comparable(short, whole)


@pytest.mark.parametrize("other", ["images", "validation", "options", "seed"])
def test_another_search_is_not_mixed_in(splits, pretend, tmp_path, other):
    train, validation = splits
    options = {"folder": tmp_path / "s", "trials": 2, **SPACE}
    ek.search_pairings(train, validation, **options)
    changed = np.array(train.images)
    changed[0, 0, 0, 0] ^= 1
    if other == "images":
        train = ek.LabelledImages(changed, train.labels)
    elif other == "validation":
        validation = ek.LabelledImages(validation.images[1:], validation.labels[1:])
    else:
        options |= {"depths": [1, 3]} if other == "options" else {"seed": 1}
    words = {"images": "training images", "options": "recipe or choices"}
    with pytest.raises(FileExistsError, match=words.get(other, other)):
        ek.search_pairings(train, validation, **options)
    assert len(load_records(tmp_path / "s")) == 2


def test_two_processes_do_not_run_one_search(splits, pretend, tmp_path):
    options = {"folder": tmp_path / "s", "trials": 1, **SPACE}
    ek.search_pairings(*splits, **options)
    with searching.alone(tmp_path / "s"):
        with pytest.raises(FileExistsError, match="Another process runs this search"):
            ek.search_pairings(*splits, **options)
    assert len(ek.search_pairings(*splits, **options).records) == 1


def test_a_folder_of_something_else_is_refused(splits, pretend, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds something else"):
        ek.search_pairings(*splits, folder=tmp_path, **SPACE)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_wrong_arguments_are_refused_before_anything_is_written(splits, tmp_path):
    train, validation = splits
    one = ek.LabelledImages(train.images[:101], train.labels[:101])
    ones = ek.LabelledImages(train.images[100:], train.labels[100:])
    wrong = [
        ((one, validation), {}, "2 minority images or more.*Received: 1"),
        ((train, ones), {}, "none of them majority"),
        ((train, validation), {"tuner": "magic"}, "Unknown strategy.*hyperband"),
    ]
    for images, more, message in wrong:
        with pytest.raises(ValueError, match=message):
            ek.search_pairings(*images, folder=tmp_path / "s", **SPACE, **more)
    assert not (tmp_path / "s").exists()


def test_ctrl_c_leaves_the_leaderboard_and_the_search_goes_on(
    splits, pretend, monkeypatch, tmp_path, capsys
):
    options = {"folder": tmp_path / "s", "tuner": "grid", "trials": 6, **SPACE}

    def interrupted(self, trial, record):
        if record.number == 4:
            raise KeyboardInterrupt
        return pretended(self, trial, record)

    with monkeypatch.context() as patch:
        patch.setattr(PairingTuner, "_judged", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ek.search_pairings(*splits, **options | {"verbose": True})
    assert "Interrupted after 3 trials. The leaderboard" in capsys.readouterr().out
    assert len(rows_of(tmp_path / "s")) == 3
    search = ek.search_pairings(*splits, **options)
    whole = ek.search_pairings(*splits, **options | {"folder": tmp_path / "t"})
    assert pairings(search) == pairings(whole) and len(search.records) == 6


def pairings(search):
    return [(r.number, r.pairing, r.choices, r.failure) for r in search.records]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tuner", "number"), [("random", 1), ("hyperband", 4), ("grid", 4)]
)
def test_a_killed_search_goes_on(splits, pretend, tmp_path, tuner, number):
    train, validation = splits
    np.savez(tmp_path / "x.npz", *train.images, *validation.images)
    program = f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import numpy as np
        import egan_keras as ek
        import test_tuning_search as shared
        arrays = list(np.load("x.npz").values())
        def killed(tuner, trial, record):
            if record.number == int(sys.argv[1]):
                os.kill(os.getpid(), signal.SIGKILL)
            return shared.pretended(tuner, trial, record)
        shared.PairingTuner._judged = killed
        train = ek.LabelledImages(np.stack(arrays[:104]), np.arange(104) >= 100)
        zeros = np.stack(arrays[104:])
        validation = ek.LabelledImages(zeros, np.zeros(len(zeros), int))
        ek.search_pairings(train, validation, folder="s", tuner={tuner!r}, trials=6,
            **shared.SPACE)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(number)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(load_records(tmp_path / "s")) == number - 1
    options = {"tuner": tuner, "trials": 6, **SPACE}
    search = ek.search_pairings(*splits, folder=tmp_path / "s", **options)
    whole = ek.search_pairings(*splits, folder=tmp_path / "t", **options)
    assert pairings(search) == pairings(whole)
    assert json.loads((tmp_path / "s" / "tuner" / "oracle.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("tuner", ["random", "bayesian", "grid", "hyperband"])
def test_failures_of_the_surroundings_are_tried_again(
    splits, pretend, monkeypatch, tmp_path, tuner
):
    options = {"folder": tmp_path / "s", "tuner": tuner, "trials": 4, **SPACE}
    run = []

    def lacking(self, trial, record):
        run.append(record.number)
        if record.number == 2:
            raise ValueError("this configuration cannot be")
        if record.number == 3:
            raise MemoryError("4 GB")
        if record.number == 1:
            raise RuntimeError("no features") from OSError(28, "No space left")
        return pretended(self, trial, record)

    with monkeypatch.context() as patch:
        patch.setattr(PairingTuner, "_judged", lacking)
        for _ in range(2):
            search = ek.search_pairings(*splits, **options)
            assert [r.is_run_again for r in search.records[:3]] == [True, False, True]
        again = [number for number in (1, 3) if number <= len(search.records)]
        assert sorted(run[len(search.records) :]) == [
            *again,
            *(r.number for r in search.records[3:] if r.is_run_again),
        ]
    search = ek.search_pairings(*splits, **options)
    failures = [record.failure for record in search.records]
    assert failures[0] is failures[2] is None
    assert failures[1] == "this configuration cannot be"
    assert len({record.number for record in search.records}) == len(failures)


def test_a_disk_that_is_full_throughout_leaves_a_search_that_goes_on(
    splits, pretend, monkeypatch, tmp_path
):
    options = {"folder": tmp_path / "s", "trials": 3, **SPACE}

    def full(*given):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(PairingTuner, "_judged", full)
        for _ in range(3):
            with pytest.raises(ValueError, match="No space left.*runs them again"):
                ek.search_pairings(*splits, **options)
    assert all(
        r.failure is None for r in ek.search_pairings(*splits, **options).records
    )


def test_a_record_that_cannot_be_written_is_told_and_run_again(
    splits, pretend, monkeypatch, tmp_path
):
    options = {"folder": tmp_path / "s", "trials": 3, **SPACE}

    def full(self, folder):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(TrialRecord, "save", full)
        with pytest.raises(OSError, match="disk is full.*Delete something"):
            ek.search_pairings(*splits, **options)
    assert len(ek.search_pairings(*splits, **options).records) == 3


@pytest.mark.parametrize("kind", ["weights", "image"])
def test_a_search_of_other_contents_is_not_mixed_in(
    splits, pretend, tmp_path, tiny_weights, kind
):
    weights = tmp_path / "own.weights.h5"
    shutil.copy(tiny_weights, weights)
    paths = []
    for number, image in enumerate(splits[0].images):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(image).save(paths[-1])
    train = ek.LabelledImages(ek.ImageFiles(paths, 32), splits[0].labels)
    options = {"folder": tmp_path / "s", "trials": 1, "weights": weights, **SPACE}
    ek.search_pairings(train, splits[1], **options)
    ek.search_pairings(train, splits[1], **options)
    if kind == "weights":
        with weights.open("ab") as file:
            file.write(b"more")
    else:
        shutil.copy2(paths[1], paths[0])
    with pytest.raises(FileExistsError, match="other (weights|training images)"):
        ek.search_pairings(train, splits[1], **options)


def test_no_completed_trial_ends_with_the_reasons(splits, monkeypatch, tmp_path):
    def broken(self, trial, record):
        raise MemoryError("4 GB")

    monkeypatch.setattr(PairingTuner, "_judged", broken)
    with pytest.raises(ValueError, match=r"3 trials, which failed: out of memory: 4"):
        ek.search_pairings(*splits, folder=tmp_path / "s", trials=3, **SPACE)
    assert len(rows_of(tmp_path / "s")) == 3


def test_reasons_of_failures_do_nothing_to_a_terminal():
    error = RuntimeError("\x1b[2J\ngone")
    assert tuner._reason(error) == r"RuntimeError: \x1b[2J gone"


def test_trials_train_and_share_features(splits, tiny_weights, tmp_path, monkeypatch):
    measured = []

    def measure(*arguments):
        measured.append(arguments)
        return {"int8_kb": 300.0, "latency_ms": 0.1}

    monkeypatch.setattr(tuner, "measure", measure)
    options = SPACE | {"encoders": [TINY], "discriminators": None, "depths": 1}
    search = ek.search_pairings(
        *splits,
        folder=tmp_path / "s",
        weights=tiny_weights,
        trials=2,
        latent_size=[8, 16],
        epochs=1,
        minimum_steps=2,
        **options,
    )
    assert [record.failure for record in search.records] == [None, None]
    assert [record.trained_parameters for record in search.records][0] > 5000
    # Majority and its maps, validation, the minority of both fits with maps, and that
    # for the encoder.
    assert len(list(search.features.iterdir())) == 5 and len(measured) == 2
    model = search.build()
    assert model.recipe.latent_size == search.best.recipe["latent_size"]
    model.fit(*vars_of(splits[0]), verbose=0, cache_features=search.features)


def vars_of(images):
    return images.images, images.labels


def test_footprint(build_tiny, few_ones, tmp_path):
    model, train = build_tiny(), ek.LabelledImages(*few_ones)
    found = tuner.measure(model, TINY, 32, train, tmp_path)
    assert 200 < found["int8_kb"] < 500 and found["latency_ms"] > 0
    assert tuner.measure(model, TINY, 32, train, tmp_path) == found
    assert len(list((tmp_path / "footprints").iterdir())) == 1


def test_each_graph_has_a_footprint_of_its_own(
    build_tiny, few_ones, tmp_path, monkeypatch
):
    def lacking(*given, **options):
        raise ValueError("no operator")

    monkeypatch.setattr(tuner.conversion, "write_saved_model", lacking)
    train = ek.LabelledImages(*few_ones)
    for choices in ({}, {"place_depths": 1}, {"place_depths": 0}, {"loss": "hinge"}):
        tuner.measure(build_tiny(**choices), TINY, 32, train, tmp_path)
    # The loss is none of the graph.
    assert len(list((tmp_path / "footprints").iterdir())) == 3


def test_groups_may_have_names_that_are_no_text(splits, pretend, tmp_path):
    train, validation = splits
    train = replace(train, groups=[f"caf\udce9 {n}" for n in range(len(train))])
    options = {"folder": tmp_path / "s", "trials": 1, **SPACE}
    assert len(ek.search_pairings(train, validation, **options).records) == 1
