import csv
from pathlib import Path

import pytest

import egan_keras as ek
from egan_keras import samples

CLASSES = {"majority": samples.FUNCTIONAL, "minority": samples.DEFECTIVE}


def test_cells_that_experts_were_not_sure_of_are_left_out(photographs, tmp_path):
    assert samples.write_solar_cells(tmp_path / "labels.csv") == photographs
    with (tmp_path / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 360 - 36
    assert {row["label"] for row in rows} == set(CLASSES.values())
    assert all(int(row["path"][-5]) for row in rows)


def test_neighbours_of_one_type_stay_on_one_side(photographs, tmp_path):
    root = samples.write_solar_cells(tmp_path / "labels.csv")
    splits = ek.load_table(root, tmp_path / "labels.csv", **CLASSES)
    groups = [set(split.groups) for split in splits]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 2 + 4
    numbers = {}
    for split in splits:
        for path, group in zip(split.paths, split.groups, strict=True):
            numbers.setdefault(group, []).append(int(Path(path).stem[-4:]))
    for found in numbers.values():
        assert max(found) - min(found) < 65
        assert (min(found) < 100) == (max(found) < 100)


@pytest.mark.whole
def test_the_real_photographs_are_as_described(tmp_path):
    pytest.importorskip("elpv_dataset", reason="needs pip install elpv-dataset")
    root = samples.write_solar_cells(tmp_path / "labels.csv")
    splits = ek.load_table(root, tmp_path / "labels.csv", **CLASSES, lazy=True)
    assert sum(split.majority_count for split in splits) == 1508
    assert sum(split.minority_count for split in splits) == 715
    assert splits.train.images.shape[1:] == (300, 300, 3)
