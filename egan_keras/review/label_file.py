"""`labels.csv`: each label on the disk at once, by one writer, undone line by line."""

import contextlib
import csv
import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from egan_keras import files
from egan_keras.text import first_few

UNSURE = "unsure"
_HEADER = ("path", "label")
# Names whose bytes are no text keep their bytes.
_TEXT = {"encoding": "utf-8", "errors": "surrogateescape"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Windows would write two bytes for a line's end.
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)


class TakenError(ValueError):
    """Somebody else writes to the file."""


class LabelFile:
    """Labels of images in a CSV file with the columns path and label, and perhaps more.

    A label is one line, which is on the disk when `add` returns; undoing cuts the last
    line off. What a crash left of a line is dropped when the file is opened, and of
    rows of one image the last is kept; `notes` tells of both. The file is locked, by
    the system, until it is closed or the process ends; a `TakenError` tells of another
    process. `labels` are by path, those labelled first come first.
    """

    def __init__(self, path: str | os.PathLike, known: Sequence[str]) -> None:
        self.path, self.labels, self.notes = Path(path), {}, []
        with files.telling_full_disk(self.path):
            self._file = _opened(self.path)
            try:
                self._read(known)
            except BaseException:
                self._file.close()
                raise

    def add(self, path: str, label: str) -> None:
        """Writes a label of an image that has none; if that fails, nothing changes."""
        cells = [path, label, *[""] * (self._width - len(_HEADER))]
        self._append(_line(cells))
        self.labels[path] = label

    def undo(self) -> tuple[str, str] | None:
        """Takes the last label back, and returns its path and label; None of none."""
        if not self.labels:
            return None
        path, label = self.labels.popitem()
        try:
            self._cut(self._starts[-1])
        except OSError:
            self.labels[path] = label
            raise
        self._starts.pop()
        return path, label

    def close(self) -> None:
        """Closes and unlocks the file."""
        self._file.close()

    def _read(self, known: Sequence[str]) -> None:
        """Reads the file, and mends it: whole lines, the last of each image, a header.

        What is kept stays where it is as long as it can, so that nothing is at risk.
        """
        content = self._file.read()
        first = len(_BYTE_ORDER_MARK) * content.startswith(_BYTE_ORDER_MARK)
        lines = list(_whole_lines(content[first:]))
        whole = first + sum(map(len, lines))
        torn = content[whole:]
        header = _cells(lines[0]) if lines else list(_HEADER)
        is_other = tuple(header[:2]) != _HEADER
        if is_other or not (lines or _line(_HEADER).startswith(torn)):
            raise ValueError(
                "The file of labels is of another kind; expected the first line "
                f"path,label. Received: {str(self.path)!r}, which begins with "
                f"{content[:40]!r}. Name another file with --labels."
            )
        ends = accumulate(map(len, lines), initial=first)
        every = zip(ends, lines, map(_cells, lines), strict=False)
        rows = [row for row in list(every)[1:] if row[2]]
        for _, line, cells in rows:
            if len(cells) < 2 or cells[1] not in known:
                raise ValueError(
                    f"The file of labels holds an unknown label; expected one of "
                    f"{', '.join(known)}. Received: {line.decode(**_TEXT).strip()!r} in"
                    f" {str(self.path)!r}. Correct it, or name another file with "
                    "--labels."
                )
        if torn:
            told = torn.decode("utf-8", "replace")
            self.notes.append(f"Dropped the torn last line of {self.path}: {told!r}")
        self._width = len(header)
        latest = {cells[0]: number for number, (_, _, cells) in enumerate(rows)}
        kept = [rows[number] for number in sorted(latest.values())]
        self.labels = {cells[0]: cells[1] for _, _, cells in kept}
        self._starts = [start for start, _, _ in kept]
        if len(kept) < len(rows):
            times = Counter(cells[0] for _, _, cells in rows)
            told = first_few([path for path in times if times[path] > 1])
            self.notes.append(
                f"{len(rows) - len(kept)} rows of {self.path} were of images labelled "
                f"again further down, which holds: {told}"
            )
            parts = [content[: rows[0][0]], *(line for _, line, _ in kept)]
            self._starts = list(accumulate(map(len, parts)))[:-1]
            self._file.close()
            text = b"".join(parts)
            files.write_atomically(self.path, lambda place: place.write_bytes(text))
            self._file = _opened(self.path)
            return
        self._cut(whole)
        if not lines:
            self._append(_line(_HEADER))
            self._starts.clear()
            _sync_folder(self.path.parent)

    def _append(self, line: bytes) -> None:
        start = self._file.seek(0, os.SEEK_END)
        try:
            with files.telling_full_disk(self.path):
                rest = memoryview(line)
                while rest:
                    rest = rest[self._file.write(rest) :]
                os.fsync(self._file.fileno())
        except OSError:
            # A part may have been written.
            with contextlib.suppress(OSError):
                self._cut(start)
            raise
        self._starts.append(start)

    def _cut(self, size: int) -> None:
        if os.fstat(self._file.fileno()).st_size != size:
            self._file.truncate(size)
            os.fsync(self._file.fileno())


def _opened(path: Path) -> io.FileIO:
    """Opens a file to read and write, and locks it where the system can."""
    while True:
        file = os.fdopen(os.open(path, _FLAGS, 0o666), "rb+", 0)
        if files.fcntl is None:
            return file
        try:
            files.fcntl.flock(file, files.fcntl.LOCK_EX | files.fcntl.LOCK_NB)
            # It may have been replaced between both.
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        except BlockingIOError as error:
            file.close()
            raise TakenError(
                "Somebody else is labelling into this file; expected one reviewer at a "
                f"time. Received: {str(path)!r}. End the other egan-keras review, or "
                "name another file with --labels."
            ) from error
        except FileNotFoundError:
            pass
        file.close()


def _whole_lines(content: bytes) -> Iterator[bytes]:
    """Yields the lines that are complete; a line end in quotes ends none."""
    start = end = 0
    while (end := content.find(b"\n", end) + 1) > 0:
        if content.count(b'"', start, end) % 2 == 0:
            yield content[start:end]
            start = end


def _cells(line: bytes) -> list[str]:
    text = line.decode(**_TEXT)
    return next(csv.reader(io.StringIO(text, newline="")), [])


def _line(cells: Sequence[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode(**_TEXT)


def _sync_folder(folder: Path) -> None:
    # A new name is on the disk when its folder is; not all systems can.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
