"""Rows of a table of labels: from a CSV file or columns in memory, cells checked."""

import csv
import io
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from egan_keras.text import first_few

NEEDED, OPTIONAL = ("path", "label"), ("group", "split")
COLUMNS = NEEDED + OPTIONAL
MAX_TABLE_BYTES = 256 * 1024**2

_HEADER = "a first line path,label[,group][,split]"
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_NAMED = 3


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
    columns: frozenset[str]
    rows: list[Row]


def read_table(table: Any) -> Table:
    """Return the rows of a CSV file, or of a mapping or DataFrame of columns.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no table of such columns, has no row, or has rows without
            a path or a label.

    >>> read_table({"path": ["a.png"], "label": ["good"]}).rows[0][:2]
    ('a.png', 'good')
    """
    if isinstance(table, str | PathLike):
        name = f"table {os.fspath(table)!r}"
        lines = list(_lines(Path(table), name))
        kind = "line"
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
            f"has {len(columns)}. Received: {len(wrong)} rows "
            f"({first_few(wrong, _NAMED)}). Put what holds a comma into quotes."
        )
    if not body:
        raise ValueError(
            f"The {name} has no row below its first line; "
            f"expected one for each image. Received: {','.join(columns)}. Write the "
            "labels into it."
        )
    places = {column: place for place, column in enumerate(columns)}
    rows = []
    for number, cells in body:
        found = {c: cells[places[c]] if c in places else "" for c in COLUMNS}
        # A name of a file may begin or end with a space.
        told = {c: x if c == "path" else x.strip() for c, x in found.items()}
        rows.append(Row(**told, place=f"{kind} {number}"))
    for column in NEEDED:
        empty = [row.place for row in rows if not getattr(row, column).strip()]
        if empty:
            raise ValueError(
                f"Rows of {name} have no {column}; expected one in each. Received: "
                f"{len(empty)} without ({first_few(empty, _NAMED)}). Fill in or delete "
                "these rows."
            )
    return Table(name, frozenset(columns), rows)


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
