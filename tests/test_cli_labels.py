"""Runs on a table of labels, and on groups: what is kept, and what evaluate judges."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from egan_keras.cli import main, train
from egan_keras.cli.run_images import load_images
from egan_keras.cli.runs import RunConfig, describe_files
from egan_keras.data import load_folder, load_table

pytestmark = pytest.mark.whole

OPTIONS = {
    "majority": ["good"],
    "minority": ["bad"],
    "minority_count": None,
    "ratio": None,
    "seed": 0,
    "validation_fraction": 0.2,
    "test_fraction": 0.2,
}
BACKBONE = "MobileNet:alpha=0.25"


def write_image(path, colour=(128, 128, 128)):
    """Writes noise about a colour that is in no other file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(list(bytes(path))).integers(-60, 60, (32, 32, 3))
    pixels = np.clip(noise + np.array(colour), 0, 255).astype("uint8")
    Image.fromarray(pixels).save(path)


def write_table(file, rows, *columns):
    with open(file, "w", newline="") as target:
        csv.writer(target).writerows([["path", "label", *columns], *rows])
    return file


def write_parts(root, n_parts=20, first=0):
    """Writes parts of 4 good and 2 bad pictures each; returns rows of a table."""
    rows = []
    for part in range(first, first + n_parts):
        for view in range(6):
            label, colour = ("good", (200, 40, 40)) if view < 4 else ("bad", (40,) * 3)
            name = f"shots/part{part:02}_{view}.png"
            write_image(root / name, colour)
            rows.append([name, label, f"part{part:02}"])
    return rows


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def rows(root):
    return write_parts(root)


@pytest.fixture
def table(root, rows):
    return write_table(root / "labels.csv", rows, "group")


def config_of(root, table=None, **changes):
    """Returns what `train` notes of the images of a run."""
    options = OPTIONS | changes
    splits = (
        load_table(root, table, **options) if table else load_folder(root, **options)
    )
    options |= {"data": str(root), "labels": table and str(table), "prevalence": None}
    return RunConfig(
        command="egan-keras train",
        options=options,
        recipe={},
        image_shape=(8, 8, 3),
        versions={},
        **describe_files(splits, root),
    )


def judged(chosen, root):
    return {path.removeprefix(f"{root}/") for path in chosen.images.paths}


def named(config, split="test"):
    return {path for paths in config.files[split].values() for path in paths}


def test_the_run_s_own_split_is_judged_with_its_groups(root, table, tmp_path):
    config = config_of(root, table)
    config.save(tmp_path)
    config = RunConfig.load(tmp_path)
    chosen = load_images(config, root)
    assert chosen.split == "test" and judged(chosen, root) == named(config)
    assert not any(chosen.counts.values()) and not chosen.notes
    seen = {*config.group_of("train", "validation").values()}
    assert seen.isdisjoint(chosen.images.groups) and len({*chosen.images.groups}) == 4
    same = load_images(config, root, labels=table)
    assert judged(same, root) == named(config)


def test_a_folder_that_was_moved_brings_its_table(root, table, tmp_path):
    config = config_of(root, table)
    root.rename(tmp_path / "new")
    chosen = load_images(config, tmp_path / "new")
    assert chosen.split == "test" and judged(chosen, tmp_path / "new") == named(config)
    assert not chosen.notes


def test_rows_that_are_new_gone_or_have_another_label_are_told(root, rows, table):
    config = config_of(root, table)
    first, second = sorted(named(config))[:2]
    (root / first).unlink()
    other = {"good": "bad", "bad": "good"}
    rows = [[p, other[x] if p == second else x, g] for p, x, g in rows]
    rows += write_parts(root, 1, first=90)
    write_table(table, rows, "group")
    chosen = load_images(config, root)
    assert judged(chosen, root) == named(config) - {first, second}
    assert chosen.counts == {"n_gone": 1, "n_changed": 1, "n_new": 6}
    assert f"1 ({second}) have other contents or labels" in chosen.notes[0]
    everything = load_images(config, root, "all")
    assert everything.counts["n_seen"] == len(named(config, "train")) + len(
        named(config, "validation")
    )
    assert len(everything.images) == len(named(config)) - 1 + 6


def test_a_table_that_is_gone_is_told(root, table):
    config = config_of(root, table)
    table.unlink()
    chosen = load_images(config, root)
    assert judged(chosen, root) == named(config)
    assert "table of labels is gone" in chosen.notes[0]


def test_class_folders_judge_a_run_of_a_table_that_lies_elsewhere(root, rows, tmp_path):
    config = config_of(root, write_table(tmp_path / "labels.csv", rows, "group"))
    assert load_images(config, root).split == "test"
    for number in range(3):
        write_image(tmp_path / "new" / "good" / f"{number}.png")
    chosen = load_images(config, tmp_path / "new")
    assert chosen.split == "all" and len(chosen.images) == 3
    assert "There is no image of bad." in chosen.notes


def test_another_table_judges_its_rows_but_those_trained_on(root, table, tmp_path):
    config = config_of(root, table)
    new = tmp_path / "new"
    rows = write_parts(new, 3, first=50)
    copied = sorted(named(config, "train"))[0]
    shutil.copy(root / copied, new / "again.png")
    rows += [["again.png", "good", "part50"], ["shots/part50_0.png", "good", "part50"]]
    chosen = load_images(config, new, labels=write_table(new / "x.csv", rows, "group"))
    assert chosen.split == "all" and len(chosen.images) == 18
    assert chosen.counts["n_seen"] == 1 and chosen.images.passed_over.total() == 1
    assert {*chosen.images.groups} == {"part50", "part51", "part52"}
    rows = write_parts(root, 2, first=60)
    there = load_images(config, root, labels=write_table(root / "y.csv", rows, "group"))
    assert there.split == "all" and len(there.images) == 12


def test_images_of_groups_trained_on_are_told(root, table, tmp_path):
    config = config_of(root, table)
    group = sorted(config.group_of("train").values())[0]
    rows = [[*row[:2], group] for row in write_parts(tmp_path / "new", 1, first=70)]
    file = write_table(tmp_path / "new.csv", rows, "group")
    chosen = load_images(config, tmp_path / "new", labels=file)
    assert "6 images are of groups that the run was trained" in chosen.notes[0]
    assert group in chosen.notes[0]


def test_groups_by_an_expression_are_kept_and_found_again(root):
    write_parts(root)
    for path in sorted((root / "shots").iterdir()):
        label = "good" if path.stem[-1] < "4" else "bad"
        (root / label).mkdir(exist_ok=True)
        path.rename(root / label / path.name)
    (root / "shots").rmdir()
    config = config_of(root, groups="(part[0-9]+)_")
    chosen = load_images(config, root)
    assert judged(chosen, root) == named(config)
    assert {*chosen.images.groups} == {*config.group_of("test").values()}
    views = load_images(config, root, groups="_([0-9])").images.groups
    assert {*views} == set("012345")
    for split in ("validation", "train"):
        anew = load_images(config, root, split)
        assert judged(anew, root) == named(config, split)


def test_a_run_of_an_expression_judges_folders_it_does_not_fit(root, tmp_path):
    for number in range(30):
        write_image(root / "good" / f"part{number // 2}_{number}.png")
        write_image(root / "bad" / f"part{number // 2}_{number}.png")
    config = config_of(root, groups="(part[0-9]+)_")
    for number in range(4):
        write_image(tmp_path / "new" / "good" / f"{number}.png")
    assert len(load_images(config, tmp_path / "new").images) == 4


def run(*arguments):
    return main(list(map(str, arguments)))


def test_a_set_too_large_to_look_for_near_duplicates_is_told(
    root, table, monkeypatch, capsys
):
    monkeypatch.setattr("egan_keras.data.duplicates.MOST_IMAGES", 100)
    given = {"majority": ["good"], "minority": ["bad"], "specificity": None}
    train.load(train.Options(data=root, labels=table, out=root / "run", **given))
    assert "Not looked for among so many" in capsys.readouterr().out


def test_train_and_evaluate_take_a_table(root, rows, table, tmp_path, capsys):
    out = tmp_path / "run"
    with Image.open(root / rows[0][0]) as image:
        for number in range(3):
            # One of each part is in another split than what it shows.
            copy = ImageEnhance.Brightness(image).enhance(0.9 - number / 50)
            copy.save(root / f"again{number}.png")
            rows.append([f"again{number}.png", "good", f"part{number * 7:02}"])
    write_table(table, [*rows, ["other.png", "unsure", ""]], "group")
    command = ["train", "--data", root, "--labels", table, "--out", out]
    command += ["--majority", "good", "--minority", "bad", "--minority-count", 3]
    command += ["--encoder", BACKBONE, "--discriminator", BACKBONE, "--weights", "none"]
    command += ["--network-size", 32, "--epochs", 1, "--specificity", 0.8]
    assert run(*command) == 0
    printed = capsys.readouterr()
    assert "in 12 groups" in printed.out and "1 row of no class named" in printed.out
    config = RunConfig.load(out)
    assert config.options["labels"] == str(table.resolve())
    assert set(config.groups) == {"train", "validation", "test"}
    report = json.loads((out / "report.json").read_text())
    n_near = len(config.near_duplicates)
    assert report.get("n_near_duplicates", 0) == n_near
    assert ("nearly the same picture" in printed.err) == bool(n_near)
    file = tmp_path / "r.json"
    assert run("evaluate", out, "--data", root, "--json", file) == 0
    again = json.loads(file.read_text())
    assert again["sensitivity"] == report["sensitivity"]
    assert again["n_majority"] == report["n_majority"]
    new = tmp_path / "new"
    labels = write_table(tmp_path / "new.csv", write_parts(new, 2, 80), "group")
    given = ("--data", new, "--labels", labels, "--json", file)
    assert run("evaluate", out, *given) == 0
    assert json.loads(file.read_text())["n_minority"] == 4
    assert "All images:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--labels", "none.csv"], "no file of labels"),
        (["--groups", "part"], "regular expression with one pair of parentheses"),
        (["--groups", "("], "regular expression with one pair of parentheses"),
        (["--groups", "(zebra)"], "names a group for no image"),
    ],
)
def test_wrong_options_end_in_a_sentence(root, tmp_path, capsys, more, message):
    for number in range(3):
        write_image(root / "good" / f"{number}.png")
        write_image(root / "bad" / f"{number}.png")
    given = ["train", "--data", root, "--out", tmp_path / "run", "--majority", "good"]
    try:
        code = run(*given, "--minority", "bad", *more)
    except SystemExit as error:
        code = error.code
    assert code == 2 and message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()
