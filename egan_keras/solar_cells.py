"""Photographs of solar cells, functional and defective, as a table of labels.

The package `elpv-dataset` carries 2,624 electroluminescence photographs of 300x300
pixels (Deitsch et al. 2019, doi 10.1016/j.solener.2019.02.067), under CC BY-NC-SA 4.0:
they may be used and passed on with their authors' names, not for money, and what is
made of them under the same licence. So none of them is in this package.

Experts gave each cell a probability of a defect. Those of 0 are the majority, those of
1 the minority; the 401 cells of 1/3 and 2/3 are left out.

Cells of one module look alike, and no file says which module a cell is of. But the
list has its mono- and polycrystalline cells in stretches, most of them of a multiple of
60 or 72, which are usual sizes of modules: it seems to go through the modules one by
one. So about 60 neighbours of one type count as a group, which keeps most of a module
on one side of a split. Some are cut in two.
"""

import csv
import importlib.util
import os
from itertools import groupby
from pathlib import Path

from egan_keras.files import whole_file

FUNCTIONAL, DEFECTIVE = "functional", "defective"
_LABELS = {"0.0": FUNCTIONAL, "1.0": DEFECTIVE}
_CELLS_OF_A_MODULE = 60


def folder() -> Path:
    """Returns the folder below which the photographs are.

    Raises:
        ImportError: If the package that has them is not installed.
    """
    found = importlib.util.find_spec("elpv_dataset")
    if found is None:
        raise ImportError(
            "The photographs of solar cells are not installed: "
            "pip install elpv-dataset (91 MB, for non-commercial use)."
        )
    return Path(found.origin).resolve().parent / "data"


def write_labels(path: str | os.PathLike) -> Path:
    """Writes the table that `load_table` and `--labels` read; returns their ROOT.

    Its columns are `path`, `label` and `group`.

    Raises:
        ImportError: If the package that has the photographs is not installed.
    """
    root = folder()
    lines = (root / "labels.csv").read_text(encoding="utf-8").splitlines()
    cells = [line.split() for line in lines if line]
    rows = [("path", "label", "group")]
    for stretch, (_, found) in enumerate(groupby(cells, key=lambda cell: cell[2])):
        alike = list(found)
        n_groups = max(1, round(len(alike) / _CELLS_OF_A_MODULE))
        for number, (name, probability, _) in enumerate(alike):
            if probability in _LABELS:
                group = f"{stretch}-{number * n_groups // len(alike)}"
                rows.append((name, _LABELS[probability], group))

    with whole_file(path) as target:
        with target.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    return root
