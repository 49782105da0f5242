"""The files that rows of a table name: where they are, and each once."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from egan_keras.data.finding import SUFFIXES
from egan_keras.data.folders import PARTS, check_root
from egan_keras.data.table_rows import Row, Table
from egan_keras.text import first_few

_NAMED = 3
_TWICE, _NO_CLASS = "row given twice", "row of no class named"
_GONE = "row of a file that is not there"


def files_of(
    root: Path, table: Table, names: Sequence[str], *, skip_missing: bool = False
) -> tuple[dict[Path, Row], Counter[str]]:
    """Return the row of each file of these classes, and count the other rows.

    Paths of these rows are below the root, and their splits are those of `PARTS`.

    Raises:
        FileNotFoundError: if the root or, unless they are to be skipped and counted,
            some of the files are missing.
        ValueError: for a path out of the root, an unknown split, rows that contradict
            each other, and files of other types.
    """
    check_root(root)
    rows, n_twice = _each_once(_located(root, table), table.name)
    counts = {_TWICE: n_twice, _NO_CLASS: 0, _GONE: 0}
    chosen = {path: row for path, row in rows.items() if row.label in names}
    counts[_NO_CLASS] = len(rows) - len(chosen)
    gone = [path for path in chosen if not _is_file(path)]
    if skip_missing:
        counts[_GONE] = len(gone)
        lost = {*gone}
        chosen = {path: row for path, row in chosen.items() if path not in lost}
    elif gone:
        missing = [f"{chosen[path].path} in {chosen[path].place}" for path in gone]
        advice = "Paths are below ROOT (--data): check them."
        if any("\\" in path for path in missing):
            advice = r"Write / in place of \ in paths."
        raise FileNotFoundError(
            f"The {table.name} names files that are not there: expected all "
            f"below {str(root)!r}. Received: {len(missing)} of {len(chosen)} "
            f"({first_few(missing, _NAMED)}). {advice}"
        )
    others = [r.path for r in chosen.values() if not r.path.lower().endswith(SUFFIXES)]
    if others:
        raise ValueError(
            f"The {table.name} names files of no supported image type; "
            f"expected one of {' '.join(SUFFIXES)}. Received: {len(others)} "
            f"({first_few(others, _NAMED)}). Convert them, or delete their rows."
        )
    return chosen, Counter({reason: count for reason, count in counts.items() if count})


def _located(root: Path, table: Table) -> list[tuple[Path, Row]]:
    """Return the file of each row, its path below the root and its split made plain."""
    split_of = {name: part for part, names in PARTS.items() for name in names}
    tops = {os.path.abspath(root), os.path.realpath(root)}
    found, outside, unknown = [], [], []
    for row in table.rows:
        below = os.path.normpath(row.path)
        if os.path.isabs(below):
            near = (os.path.relpath(below, top) for top in tops)
            below = next((x for x in near if not _is_above(x)), os.pardir)
        if _is_above(below) or "\0" in below:
            outside.append(f"{row.path} in {row.place}")
        part = split_of.get(row.split.casefold(), "")
        if "split" in table.columns and not part:
            unknown.append(f"{row.split or 'nothing'} in {row.place}")
        told = row._replace(path=Path(below).as_posix(), split=part)
        found.append((root / below, told))
    if outside:
        raise ValueError(
            f"Paths of {table.name} lead out of the folder of images; expected all "
            f"below {str(root)!r}. Received: {len(outside)} "
            f"({first_few(outside, _NAMED)}). Name the folder that holds them all."
        )
    if unknown:
        raise ValueError(
            f"Unknown split in {table.name}; expected train, validation or test in "
            f"each row. Received: {len(unknown)} others ({first_few(unknown, _NAMED)})."
            " Fill them in, or delete the column to have a split made."
        )
    return found


def _each_once(
    located: Iterable[tuple[Path, Row]], name: str
) -> tuple[dict[Path, Row], int]:
    """Return each file's row, and how many rows say the same again."""
    rows: dict[Path, Row] = {}
    n_twice, torn = 0, []
    for path, row in located:
        first = rows.setdefault(path, row)
        if first is row:
            continue
        n_twice += 1
        if first[:4] != row[:4]:
            said = (",".join(filter(None, each[1:4])) for each in (first, row))
            told = " and ".join(said)
            torn.append(f"{row.path}: {told} in {first.place} and {row.place}")
    if torn:
        raise ValueError(
            f"Rows of {name} contradict each other: expected one label, group and "
            f"split for each file. Received: {len(torn)} files with several "
            f"({first_few(torn, _NAMED)}). Delete the wrong rows."
        )
    return rows, n_twice


def _is_above(path: str) -> bool:
    return path.split(os.sep)[0] == os.pardir


def _is_file(path: Path) -> bool:
    # Below a file that is taken for a folder there is an error.
    try:
        return path.is_file()
    except OSError:
        return False
