"""Rows of a table of labels, of a CSV file or columns in memory, and their files."""

import csv
import io
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from egan_keras.data.finding import SUFFIXES
from egan_keras.data.folders import PARTS, check_root
from egan_keras.text import counted, first_few

NEEDED, OPTIONAL = ("path", "label"), ("group", "split")
COLUMNS = NEEDED + OPTIONAL
MAX_TABLE_BYTES = 256 * 1024**2

_HEADER = "a first line path,label[,group][,split]"
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


class Row(NamedTuple):
    """The cells of a row, empty where there is no such column, and where it stands."""

    path: str
    label: str
    group: str
    split: str
    place: str


class Table(NamedTuple):
    """Rows, the columns that there are, and how messages call it."""

    name: str
    columns: Sequence[str]
    rows: list[Row]


def read_table(table: Any) -> Table:
    """Return the rows of a CSV file, or of a mapping or DataFrame of columns.

    What is no table of such columns, or has rows without a path or a label, is refused.

    >>> read_table({"path": ["a.png"], "label": ["good"]}).rows[0][:2]
    ('a.png', 'good')
    """
    if isinstance(table, str | PathLike):
        name, kind = f"table {os.fspath(table)!r}", "line"
        lines = list(_lines(Path(table), name))
    else:
        name, kind = "table given", "row"
        lines = _columns_in_memory(table)
    if not lines:
        raise ValueError(
            f"The {name} is empty; expected {_HEADER} and a line "
            "for each image. Received: no line. Write the labels into it."
        )
    (_, header), *body = lines
    columns = _check_header(header, name)
    wrong = [f"{kind} {n} with {len(x)}" for n, x in body if len(x) != len(columns)]
    if wrong:
        raise ValueError(
            f"Rows of {name} have another number of cells than its first line, which "
            f"has {len(columns)}. Received: {counted(wrong, 'rows')}. Put what holds "
            "a comma into quotes."
        )
    if not body:
        raise ValueError(
            f"The {name} has no row below its first line; "
            f"expected one for each image. Received: {','.join(columns)}. Write the "
            "labels into it."
        )
    rows = []
    for number, cells in body:
        found = dict.fromkeys(COLUMNS, "") | dict(zip(columns, cells, strict=True))
        # A name of a file may begin or end with a space.
        told = {c: x if c == "path" else x.strip() for c, x in found.items()}
        rows.append(Row(**told, place=f"{kind} {number}"))
    for column in NEEDED:
        empty = [row.place for row in rows if not getattr(row, column).strip()]
        if empty:
            raise ValueError(
                f"Rows of {name} have no {column}; expected one in each. Received: "
                f"{counted(empty, 'without')}. Fill in or delete these rows."
            )
    return Table(name, columns, rows)


def files_of(
    root: Path, table: Table, names: Sequence[str], *, skip_missing: bool = False
) -> tuple[dict[Path, Row], Counter[str]]:
    """Return the row of each file of these classes, and count the other rows.

    Paths of these rows are below the root, and their splits are those of `PARTS`. What
    contradicts itself, leads elsewhere or, unless skipped and counted, is missing, is
    refused.
    """
    check_root(root)
    located = _located(root, table)
    # Of rows that say the same, the first.
    rows = dict(reversed(located))
    rows = {path: rows[path] for path, _ in located}
    torn = [
        f"{row.path}: {_told(rows[path])} and {_told(row)} in {rows[path].place} and "
        f"{row.place}"
        for path, row in located
        if row[:4] != rows[path][:4]
    ]
    if torn:
        raise ValueError(
            f"Rows of {table.name} contradict each other: expected one label, group "
            f"and split for each file. Received: {counted(torn, 'files with several')}."
            " Delete the wrong rows."
        )
    chosen = {path: row for path, row in rows.items() if row.label in names}
    beside = Counter({"row given twice": len(located) - len(rows)})
    beside["row of no class named"] = len(rows) - len(chosen)
    gone = {path: row for path, row in chosen.items() if not _is_file(path)}
    if gone and not skip_missing:
        missing = [f"{row.path} in {row.place}" for row in gone.values()]
        advice = "Paths are below ROOT (--data): check them."
        if any("\\" in path for path in missing):
            advice = r"Write / in place of \ in paths."
        raise FileNotFoundError(
            f"The {table.name} names files that are not there: expected all "
            f"below {str(root)!r}. Received: {counted(missing, f'of {len(chosen)}')}. "
            f"{advice}"
        )
    beside["row of a file that is not there"] = len(gone)
    chosen = {path: row for path, row in chosen.items() if path not in gone}
    others = [r.path for r in chosen.values() if not r.path.lower().endswith(SUFFIXES)]
    if others:
        raise ValueError(
            f"The {table.name} names files of no supported image type; "
            f"expected one of {' '.join(SUFFIXES)}. Received: {counted(others)}. "
            "Convert them, or delete their rows."
        )
    return chosen, +beside


def _lines(path: Path, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and cells of each line of a CSV file that is not blank."""
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file of labels; expected a CSV file with {_HEADER}. "
            f"Received: {str(path)!r}. Check the path."
        )
    n_bytes = path.stat().st_size
    if n_bytes > MAX_TABLE_BYTES:
        raise ValueError(
            f"The {name} is too large; expected at most {MAX_TABLE_BYTES:,} bytes. "
            f"Received: {n_bytes:,}. Is it a CSV file of labels?"
        )
    content = path.read_bytes()
    try:
        # Excel writes a mark of the order of bytes in front.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"The {name} is not in UTF-8; expected text in it. Received: the byte "
            f"{content[error.start]:#04x} in line {line}. Save it as CSV UTF-8."
        ) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            if any(map(str.strip, cells)):
                yield reader.line_num, cells
    except csv.Error as error:
        raise ValueError(
            f"The {name} cannot be read as CSV; expected commas between cells and "
            f"quotes in pairs. Received: line {reader.line_num}: {error}. Correct it."
        ) from error


def _columns_in_memory(table: Any) -> list[tuple[int, list[str]]]:
    """Return the header of columns in memory as row 0, and their rows."""
    import pandas  # slow to import

    if not isinstance(table, Mapping | pandas.DataFrame):
        raise ValueError(
            "`table` must be the path of a CSV file, or a mapping or DataFrame with "
            f"the columns path and label. Received: {type(table).__name__}. Pass "
            "{'path': [...], 'label': [...]}."
        )
    try:
        frame = pandas.DataFrame(table)
    except (ValueError, TypeError) as error:
        raise ValueError(
            "The columns of the table do not fit; expected lists of one length. "
            f"Received: {error}. Pass as many labels as paths."
        ) from error
    cells = frame.astype(object).where(frame.notna(), "").astype(str)
    body = enumerate(cells.to_numpy().tolist(), 1)
    return [(0, list(map(str, frame.columns))), *body]


def _check_header(cells: Sequence[str], name: str) -> list[str]:
    """Return the names of the columns, or say why they cannot be these."""
    columns = [cell.strip().casefold() for cell in cells]
    shown = first_few([cell[:40] for cell in cells], 8)
    for separator, word in _SEPARATORS.items():
        split = [x.strip().casefold() for x in separator.join(cells).split(separator)]
        if len(columns) < len(split) and {*NEEDED} & {*split}:
            raise ValueError(
                f"The cells of {name} have {word} between them; expected commas. "
                f"Received: {shown}. Save it with commas, as CSV UTF-8."
            )
    if not {*columns} & {*COLUMNS}:
        raise ValueError(
            f"The {name} has no header; expected {_HEADER}. "
            f"Received: {shown}. Write the names of the columns above the rows."
        )
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown:
        near = get_close_matches(unknown[0], COLUMNS, n=1)
        advice = f"Did you mean {near[0]!r}?" if near else "Delete or rename it."
        raise ValueError(
            f"Unknown column in {name}; expected {', '.join(NEEDED)} and perhaps "
            f"{', '.join(OPTIONAL)}. Received: {shown}. {advice}"
        )
    missing = [column for column in NEEDED if column not in columns]
    doubled = [column for column, count in Counter(columns).items() if count > 1]
    if missing or doubled:
        what = "lacks" if missing else "has twice"
        raise ValueError(
            f"The {name} {what} the column "
            f"{(missing or doubled)[0]!r}; expected {', '.join(NEEDED)}, each once. "
            f"Received: {shown}. Correct its first line."
        )
    return columns


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
            f"below {str(root)!r}. Received: {counted(outside)}. Name the folder that "
            "holds them all."
        )
    if unknown:
        raise ValueError(
            f"Unknown split in {table.name}; expected train, validation or test in "
            f"each row. Received: {counted(unknown, 'others')}. Fill them in, or "
            "delete the column to have a split made."
        )
    return found


def _told(row: Row) -> str:
    return ",".join(filter(None, row[1:4]))


def _is_above(path: str) -> bool:
    return path.split(os.sep)[0] == os.pardir


def _is_file(path: Path) -> bool:
    # Below a file that is taken for a folder there is an error.
    try:
        return path.is_file()
    except OSError:
        return False
