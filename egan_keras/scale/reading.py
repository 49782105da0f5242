"""The images of a shard's files as encoded bytes, each with its name."""

import os
import stat
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from egan_keras.data import finding
from egan_keras.data.decoding import MAX_FILE_BYTES, UnreadableError
from egan_keras.scale.folders import filesystem, is_local
from egan_keras.scale.listing import PARQUET, TAR

VANISHED, NO_RIGHT = "is no longer there", "may not be read"

_ROWS_AT_ONCE = 32
# Of a column of text; the first that a file has.
_NAMES = ("path", "file_name", "filename", "name", "key", "__key__", "id")


class Image(NamedTuple):
    """An image of a shard: its name, and what reads its bytes.

    `read` raises an `UnreadableError` that says why there are none.
    """

    name: str
    read: Callable[[], bytes]


def images(files: list[str], passed_over: Counter[str]) -> Iterator[Image]:
    """Yields the images of a shard's files, in their order.

    Args:
        files: Image files, or one .tar or .parquet file; paths or addresses.
        passed_over: Counts by reason what else is in a .tar file.

    Raises:
        OSError: If files cannot be reached.
        ValueError: If a .tar or .parquet file is damaged, or holds no images.
    """
    for path in files:
        if path.endswith(TAR):
            yield from _in_tar(path, passed_over)
        elif path.endswith(PARQUET):
            yield from _in_parquet(path)
        else:
            yield Image(path, lambda path=path: _read(path))


def _read(path: str) -> bytes:
    fs, place = filesystem(path)
    try:
        # Opening a pipe would wait for its other end.
        if is_local(fs) and not stat.S_ISREG(os.stat(place).st_mode):
            raise UnreadableError("not a regular file")
        # One byte more is enough to refuse it.
        return fs.cat_file(place, end=MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise UnreadableError(VANISHED) from error
    except PermissionError as error:
        raise UnreadableError(NO_RIGHT) from error


def _in_tar(path: str, passed_over: Counter[str]) -> Iterator[Image]:
    fs, place = filesystem(path)
    with fs.open(place) as file:
        try:
            # As a stream, from a bucket in one go; links in it lead nowhere.
            with tarfile.open(fileobj=file, mode="r|") as archive:
                for member in archive:
                    reason = finding.unusable(member.name, member.isreg())
                    if member.isdir():
                        continue
                    if reason:
                        passed_over[reason] += 1
                        continue
                    part = archive.extractfile(member)
                    content = part.read(MAX_FILE_BYTES + 1)
                    yield Image(f"{path}/{member.name}", lambda x=content: x)
        except tarfile.TarError as error:
            raise ValueError(_damaged(path, "a .tar file", error)) from error


def _in_parquet(path: str) -> Iterator[Image]:
    fs, place = filesystem(path)
    with fs.open(place) as file:
        try:
            table = pq.ParquetFile(file)
            pixels, names = _columns(table.schema_arrow, path)
            row = 0
            for batch in table.iter_batches(_ROWS_AT_ONCE, columns=[pixels, *names]):
                found = batch.column(pixels)
                if pa.types.is_struct(found.type):
                    found = found.field("bytes")
                told = batch.column(names[0]).to_pylist() if names else [None] * 32
                for content, name in zip(found, told, strict=False):
                    name = f"{path}/{row if name is None else name}"
                    yield Image(name, lambda x=content: _bytes(x))
                    row += 1
        except pa.ArrowException as error:
            raise ValueError(_damaged(path, "a Parquet file", error)) from error


def _bytes(content: pa.Scalar) -> bytes:
    if not content.is_valid:
        raise UnreadableError("a row without bytes")
    return content.as_py()


def _columns(schema: pa.Schema, path: str) -> tuple[str, list[str]]:
    """Returns the column of bytes, and that of names, if there is one."""

    def holds_bytes(kind: pa.DataType) -> bool:
        if pa.types.is_struct(kind):
            at = kind.get_field_index("bytes")
            return at >= 0 and holds_bytes(kind.field(at).type)
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    found = [field.name for field in schema if holds_bytes(field.type)]
    if not found:
        columns = ", ".join(f"{x.name} ({x.type})" for x in schema)
        raise ValueError(
            "The Parquet file has no column of image files' bytes; expected one of "
            "type binary, or a struct with such a field `bytes`. Received: "
            f"{path!r} with {columns}. Name other files."
        )
    texts = {field.name for field in schema if pa.types.is_string(field.type)}
    return found[0], [name for name in _NAMES if name in texts][:1]


def _damaged(path: str, what: str, error: Exception) -> str:
    said = " ".join(str(error).split())[:200]
    return (
        f"The file cannot be read; expected {what} of images. Received: {path!r} "
        f"({said}). Copy it again."
    )
