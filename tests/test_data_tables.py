"""Labels in a table give the splits that class folders would, with groups beside."""

import csv
import shutil

import numpy as np
import pandas
import pytest
from PIL import Image

import egan_keras as ek
from egan_keras.data import load_folder, load_table

CLASSES = {"majority": "good", "minority": ["bad", "bent"]}
HEAD = ["path", "label"]


def write_image(path):
    """Writes noise that is in no other file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(list(bytes(path)))
    Image.fromarray(random.integers(0, 256, (8, 8, 3), "uint8")).save(path)


def write_classes(root, **counts):
    for name, count in counts.items():
        for number in range(count):
            write_image(root / name / f"{number:02}.png")
    return root


@pytest.fixture
def root(tmp_path):
    return write_classes(tmp_path / "images", good=20, bad=10, bent=5)


@pytest.fixture
def rows(root):
    files = sorted(root.rglob("*.png"), reverse=True)
    return [[x.relative_to(root).as_posix(), x.parent.name] for x in files]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "labels.csv"


def write(file, rows, head=HEAD, **form):
    with open(file, "w", newline="", encoding="utf-8") as target:
        csv.writer(target, **form).writerows([head, *rows] if head else rows)
    return file


def load(root, table, **options):
    return load_table(root, table, **CLASSES | options)


def paths(splits):
    return [split.paths for split in splits]


@pytest.mark.parametrize("options", [{}, {"seed": 3}, {"minority_count": 4}])
def test_a_table_gives_the_splits_of_class_folders(root, rows, file, options):
    folders = load_folder(root, **CLASSES | options)
    table = load(root, write(file, rows), **options)
    for ours, theirs in zip(table, folders, strict=True):
        assert ours.paths == theirs.paths and ours.class_names == theirs.class_names
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert table.train.groups == () and not table.train.passed_over


@pytest.mark.parametrize("names", [("Training", "TEST"), ("train", "testing", "val")])
def test_given_splits_are_those_of_train_and_test_folders(tmp_path, file, names):
    parts = ("train", "test", "validation")[: len(names)]
    rows = []
    for part, name in zip(parts, names, strict=True):
        write_classes(tmp_path / part, good=20, bad=5, bent=3)
        files = sorted((tmp_path / part).rglob("*.png"))
        rows += [[x.relative_to(tmp_path), x.parent.name, name] for x in files]
    table = load(tmp_path, write(file, rows, [*HEAD, "split"]))
    assert paths(table) == paths(load_folder(tmp_path, **CLASSES))


def test_columns_in_memory_are_a_table_too(root, rows, file):
    expected = paths(load(root, write(file, rows)))
    columns = dict(zip(HEAD, zip(*rows, strict=True), strict=True))
    assert paths(load(root, columns)) == expected
    assert paths(ek.load_table(root, pandas.DataFrame(columns), **CLASSES)) == expected
    numbers = {"good": 0, "bad": 1, "bent": 1}
    columns["label"] = [numbers[label] for label in columns["label"]]
    splits = load(root, columns, majority="0", minority="1")
    assert sum(split.minority_count for split in splits) == 15


def test_absolute_paths_and_a_mark_of_the_bytes_order_are_read(root, rows, file):
    expected = paths(load(root, write(file, rows)))
    write(file, [[root.resolve() / path, label] for path, label in rows])
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"path,", b" Path ,"))
    assert paths(load(root, file)) == expected


def test_a_group_is_on_one_side_and_an_empty_cell_is_its_own(root, rows, file):
    told = [[*row, f"p{int(row[0][-6:-4]) // 2}"] for row in rows]
    told[0][2] = told[1][2] = ""
    with pytest.warns(UserWarning, match=r"2 images have no group.*good/19.png, "):
        splits = load(root, write(file, told, [*HEAD, "group"]))
    seen = [set(split.groups) for split in splits]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    assert {"good/19.png", "good/18.png", "p0"} <= set.union(*seen)
    for split in splits:
        assert split.majority_count and split.minority_count


def test_an_expression_may_stand_in_place_of_the_column(root, rows, file):
    write(file, rows)
    splits = load(root, file, groups=r"(\d)\.png")
    assert set(splits.test.groups).isdisjoint(splits.train.groups)
    write(file, [[*row, "a"] for row in rows], [*HEAD, "group"])
    with pytest.raises(ValueError, match="groups are given twice"):
        load(root, file, groups=r"(\d)\.png")


def test_rows_of_other_labels_and_rows_given_twice_are_counted(root, rows, file):
    more = [["none/such.png", "unsure"], rows[0], ["./" + rows[1][0], rows[1][1]]]
    splits = load(root, write(file, rows + more))
    told = {"row given twice": 2, "row of no class named": 1}
    assert splits.train.passed_over == told
    assert sum(map(len, splits)) == 35


def test_a_minority_to_test_on_alone_is_halved(root, rows, file):
    split = {"good": "train", "bad": "test", "bent": "test"}
    given = [[*row, split[row[1]]] for row in rows]
    for row in given[-4:]:
        row[2] = "test"
    assert given[-1][1] == "bad"
    for row in [row for row in given if row[1] == "good"][:5]:
        row[2] = "test"
    with pytest.warns(UserWarning, match="none to train on"):
        splits = load(root, write(file, given, [*HEAD, "split"]))
    assert splits.test.majority_count == 5 and splits.test.minority_count == 7


def changed(change):
    """Returns what changes the rows of a table."""

    def apply(rows):
        rows = [list(row) for row in rows]
        change(rows)
        return rows

    return apply


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r[2].__setitem__(0, ""), r"no path.*1 without \(line 4\)"),
        (lambda r: r[2].__setitem__(1, " "), r"no label.*1 without \(line 4\)"),
        (lambda r: r[2].append("x"), r"number of cells.*1 rows \(line 4 with 3\)"),
        (
            lambda r: r.append([r[0][0], "bad"]),
            "contradict.*good and bad in line 2 and line 37",
        ),
        (lambda r: r[0].__setitem__(0, "../a.png"), r"lead out of.*\(../a.png in li"),
        (lambda r: r[0].__setitem__(0, "/etc/a.png"), r"lead out of.*/etc/a.png in"),
        (lambda r: r[0].__setitem__(0, "good"), "files that are not there.*1 of 35"),
        (lambda r: r[0].__setitem__(0, "a\\b.png"), r"not there.*Write / in place of"),
        (lambda r: r[0].__setitem__(1, "Good"), "upper and lower case.*good,Good"),
        (lambda r: [x.__setitem__(1, "ok") for x in r], "Unknown class 'good', 'bad'"),
        (lambda r: r.clear(), "no row below its first line"),
    ],
)
def test_rows_that_cannot_be_are_refused(root, rows, file, change, message):
    write(file, changed(change)(rows))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load(root, file)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (None, r"has no header; expected a first line path,label.*good/19.png"),
        (["path", "label", "groups"], "Unknown column.*Did you mean 'group'"),
        (["path", "label", "date"], "Unknown column.*path, label, date. Delete"),
        (["path", "split"], "lacks the column 'label'"),
        (["path", "path"], "lacks the column 'label'"),
        (["path", "label", "label"], "has twice the column 'label'"),
    ],
)
def test_headers_that_cannot_be_are_refused(root, rows, file, head, message):
    rows = [[*row, "x"][: len(head or row)] for row in rows]
    with pytest.raises(ValueError, match=message):
        load(root, write(file, rows, head))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; expected a first line path,label"),
        (b"\n\n", "is empty"),
        (b"path;label\ngood/00.png;good\n", "have semicolons between them"),
        (b"path\tlabel\ngood/00.png\tgood\n", "have tabs between them"),
        (
            "path,label\nMüll.png,good\n".encode("latin-1"),
            "not in UTF-8.*0xfc in line 2",
        ),
        ("path,label\na.png,good\n".encode("utf-16"), "not in UTF-8.*0xff in line 1"),
        (b'path,label\n"a.png,good\n', "cannot be read as CSV.*line 2: unexpected end"),
    ],
)
def test_files_that_are_no_such_tables_are_refused(root, file, content, message):
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load(root, file)


def test_missing_huge_and_other_tables_are_refused(root, rows, file, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no file of labels.*labels\.csv"):
        load(root, file)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load(root / "none", write(file, rows))
    monkeypatch.setattr("egan_keras.data.table_rows.MAX_TABLE_BYTES", 100)
    with pytest.raises(ValueError, match="too large; expected at most 100 bytes"):
        load(root, file)
    with pytest.raises(ValueError, match="mapping or DataFrame.*Received: list"):
        load(root, rows)
    with pytest.raises(ValueError, match="lists of one length"):
        load(root, {"path": ["a.png"], "label": []})


def test_files_of_other_types_are_refused(root, rows, file):
    (root / "notes.txt").write_text("notes")
    with pytest.raises(ValueError, match=r"no supported image type.*notes\.txt"):
        load(root, write(file, [*rows, ["notes.txt", "good"]]))


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"good/19.png": "holdout"}, r"Unknown split.*1 others \(holdout in line 2\)"),
        ({"good/19.png": ""}, r"Unknown split.*\(nothing in line 2\)"),
        ({}, "Unknown class 'good', 'bad', 'bent'; split test of table"),
        ({"good": "test"}, "Unknown class 'good'; split train of table"),
        ({"bent": "test"}, "Unknown class 'bent'; split train.*delete the column"),
    ],
)
def test_given_splits_that_lack_something_are_refused(
    root, rows, file, splits, message
):
    def split(path, label):
        return splits.get(path, splits.get(label, "train"))

    given = [[*row, split(*row)] for row in rows]
    with pytest.raises(ValueError, match=message):
        load(root, write(file, given, [*HEAD, "split"]))


def test_groups_on_both_sides_of_given_splits_are_refused(root, rows, file):
    given = [[*r, ("train", "test")[n % 2], f"p{n // 2}"] for n, r in enumerate(rows)]
    with pytest.raises(ValueError, match=r"17 of 18 groups \(p. in train and test"):
        load(root, write(file, given, [*HEAD, "split", "group"]))


def test_equal_contents_are_told_of_tables_as_of_folders(root, rows, file):
    shutil.copy(root / "good/00.png", root / "good/again.png")
    write(file, [*rows, ["good/again.png", "good"]])
    with pytest.warns(UserWarning, match="further copies, kept on one side"):
        assert sum(len(split.duplicates) for split in load(root, file)) == 1
