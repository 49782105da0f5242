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
from egan_keras.scale.folders import filesystem, is_damage, is_local
from egan_keras.scale.listing import PARQUET, TAR, holds_many

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

    A shard has image files, or one .tar or .parquet file; what else a .tar file has is
    counted by reason. A file that is damaged, or has no column of images, is a
    `ValueError`.
    """
    for path in files:
        kind = holds_many(path)
        if kind == TAR:
            yield from _in_tar(path, passed_over)
        elif kind == PARQUET:
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
    # A folder may have become a file.
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UnreadableError(VANISHED) from error
    except PermissionError as error:
        raise UnreadableError(NO_RIGHT) from error


class _Member(tarfile.TarInfo):
    """A member of a .tar file; where the file breaks off, that is an error.

    Else tarfile takes a damaged header, or none, for the end, and what is behind it is
    lost.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> tarfile.TarInfo:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:
            # The last blocks are filled up with zeros.
            while rest := archive.fileobj.read(tarfile.RECORDSIZE):
                if rest.strip(b"\0"):
                    said = "something behind its end, such as another archive"
                    raise tarfile.ReadError(said) from None
            raise
        except tarfile.HeaderError as error:
            if not archive.offset:
                raise
            raise tarfile.ReadError(f"{error} in place of its end") from error


def _in_tar(path: str, passed_over: Counter[str]) -> Iterator[Image]:
    fs, place = filesystem(path)
    with fs.open(place) as file:
        try:
            # As a stream, from a bucket in one go; links in it lead nowhere.
            options = {"mode": "r|", "tarinfo": _Member}
            with tarfile.open(fileobj=file, **options) as archive:
                for member in archive:
                    reason = finding.unusable(member.name, member.isreg())
                    if member.isdir():
                        continue
                    if reason:
                        passed_over[reason] += 1
                        continue
                    part = archive.extractfile(member)
                    content = part.read(MAX_FILE_BYTES + 1)
                    name = _text(os.fsencode(member.name))
                    yield Image(f"{path}/{name}", lambda x=content: x)
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
                told = [None] * len(batch)
                if names:
                    texts = batch.column(names[0]).cast(pa.large_string())
                    told = texts.cast(pa.large_binary()).to_pylist()
                for content, name in zip(found, told, strict=True):
                    name = f"{path}/{row if name is None else _text(name)}"
                    yield Image(name, lambda x=content: _bytes(x))
                    row += 1
        except (pa.ArrowException, OSError) as error:
            if not is_damage(error):
                raise
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

    def holds_text(kind: pa.DataType) -> bool:
        if pa.types.is_dictionary(kind):
            return holds_text(kind.value_type)
        return pa.types.is_string(kind) or pa.types.is_large_string(kind)

    found = [field.name for field in schema if holds_bytes(field.type)]
    if not found:
        columns = ", ".join(f"{x.name} ({x.type})" for x in schema)
        raise ValueError(
            "The Parquet file has no column of image files' bytes; expected one of "
            "type binary, or a struct with such a field `bytes`. Received: "
            f"{path!r} with {columns}. Name other files."
        )
    texts = {field.name for field in schema if holds_text(field.type)}
    return found[0], [name for name in _NAMES if name in texts][:1]


def _text(name: bytes) -> str:
    r"""Returns a name as text; bytes that are no UTF-8 as numbers.

    >>> _text(b"a\xff.png")
    'a\\xff.png'
    """
    return name.decode("utf-8", "backslashreplace")


def _damaged(path: str, what: str, error: Exception) -> str:
    said = " ".join(str(error).split())[:200]
    return (
        f"The file cannot be read; expected {what} of images. Received: {path!r} "
        f"({said}). Copy it again."
    )
