"""Which images there are, in shards: found once, and kept in a file of names.

A shard is the unit of work and of what is written: so many image files that follow one
another in the listing, or one .tar or .parquet file of many. Shard N is row group N of
the listing, so that whoever computes it reads its names alone.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from egan_keras.data import finding
from egan_keras.scale.folders import Folder, filesystem, is_local

LISTING = "listing.parquet"
TAR, PARQUET = ".tar", ".parquet"

_NO_TEXT = "name that is not UTF-8"
_CHAINED = "name with ::, which begins another address"

_SCHEMA = pa.schema([pa.field("path", pa.string())])
_SUFFIXES = (*finding.SUFFIXES, TAR, PARQUET)


class Listed(NamedTuple):
    """How much a listing holds."""

    n_shards: int
    n_files: int


def find(images: Iterable[str], passed_over: Counter[str]) -> Iterator[str]:
    """Yields the files found at places, each once, those in a folder sorted by path.

    Places are image files; folders, searched with all folders below them; .tar files of
    images, and .parquet files with a column of image files' bytes: paths, addresses, or
    patterns of both, such as `s3://bucket/train-*.tar`. What else is there is counted
    by reason. A place without images, or that may not be listed, is an error.
    """
    search, folders, named = finding.ImageSearch(), [], set()
    for place in images:
        fs, path = filesystem(place)
        try:
            is_folder = fs.isdir(path)
            for found in _at(place, fs, path, search, passed_over):
                if is_local(fs):
                    is_twice = not is_folder and search.was_found(found)
                else:
                    # Other buckets have files of the same path.
                    found = fs.unstrip_protocol(found)
                    is_twice = found in named or any(map(found.startswith, folders))
                    if not is_folder:
                        named.add(found)
                if reason := finding.TWICE if is_twice else _unnameable(found):
                    passed_over[reason] += 1
                else:
                    yield found
            if is_folder and not is_local(fs):
                folders.append(fs.unstrip_protocol(path).rstrip("/") + "/")
        except (FileNotFoundError, ValueError):
            raise
        # File systems raise errors of many types.
        except Exception as error:
            raise OSError(
                "The images cannot be listed; expected a place that may be read from "
                f"here. Received: {place!r} ({type(error).__name__}: {error}). Ask for "
                "the right, or log in."
            ) from error
    passed_over.update(search.passed_over)


def write(folder: Folder, paths: Iterable[str], shard_size: int) -> Listed:
    """Writes the listing of files, so many images a shard, holding no more of them."""
    n_shards = n_files = 0
    with (
        folder.new_file(LISTING) as file,
        pq.ParquetWriter(file, _SCHEMA, compression="zstd") as writer,
    ):
        for shard in _shards(paths, shard_size):
            writer.write_table(pa.table([shard], _SCHEMA), row_group_size=len(shard))
            n_shards, n_files = n_shards + 1, n_files + len(shard)
    return Listed(n_shards, n_files)


def holds_many(path: str) -> str | None:
    """Returns the suffix of a file of many images; None for a single one.

    >>> holds_many("a/B.TAR"), holds_many("a.png")
    ('.tar', None)
    """
    found = [suffix for suffix in (TAR, PARQUET) if path.lower().endswith(suffix)]
    return found[0] if found else None


class Listing:
    """A listing that `write` wrote into a folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    @functools.cached_property
    def _file(self) -> pq.ParquetFile:
        return pq.ParquetFile(self._folder.open(LISTING))

    def __getitem__(self, shard: int) -> list[str]:
        """Returns the files of a shard."""
        return self._file.read_row_group(shard)["path"].to_pylist()


def _shards(paths: Iterable[str], size: int) -> Iterator[list[str]]:
    waiting = []
    for path in paths:
        if waiting and (holds_many(path) or len(waiting) == size):
            yield waiting
            waiting = []
        if holds_many(path):
            yield [path]
        else:
            waiting.append(path)
    if waiting:
        yield waiting


def _at(
    place: str, fs: Any, path: str, search: finding.ImageSearch, passed_over: Counter
) -> Iterator[str]:
    # A file may be named so itself.
    if "*" in path and not fs.exists(path):
        found = sorted(fs.glob(path))
        if not found:
            raise FileNotFoundError(
                "No file is named so; expected a pattern of some. Received: "
                f"{place!r}. Check it, and quote it from the shell."
            )
        for each in found:
            yield _checked(each)
    elif not fs.isdir(path):
        if not fs.exists(path):
            raise FileNotFoundError(
                f"There is no such file or folder. Received: {place!r}. Check the path."
            )
        yield _checked(path)
    elif is_local(fs):
        yield from sorted(search.below(path))
    else:
        yield from _below(place, fs, path, passed_over)


def _unnameable(path: str) -> str | None:
    """Returns why a listing cannot name a file; None if it can."""
    try:
        # No column of text holds another.
        path.encode()
    except UnicodeEncodeError:
        return _NO_TEXT
    return _CHAINED if "://" in path and "::" in path else None


def _checked(path: str) -> str:
    if path.lower().endswith(_SUFFIXES):
        return path
    raise ValueError(
        f"The file is not of a supported type; expected one of {' '.join(_SUFFIXES)}. "
        f"Received: {path!r}. Convert or unpack it."
    )


def _below(place: str, fs: Any, root: str, passed_over: Counter) -> Iterator[str]:
    """Yields the images below a folder that is not on this machine: no links there."""
    waiting, is_empty = [root], True
    while waiting:
        folder, folders = waiting.pop(), []
        entries = fs.ls(folder, detail=True)
        # What it keeps of folders seen would grow with the number of images.
        fs.invalidate_cache(folder)
        for entry in sorted(entries, key=lambda entry: entry["name"]):
            path, is_file = entry["name"].rstrip("/"), entry["type"] == "file"
            name = path.rpartition("/")[2]
            if name.startswith("."):
                passed_over[finding.HIDDEN] += 1
            elif entry["type"] == "directory":
                folders.append(path)
            elif reason := finding.unusable(name, is_file):
                passed_over[reason] += 1
            else:
                is_empty = False
                yield path
        waiting += reversed(folders)
    if is_empty:
        raise FileNotFoundError(
            f"The folder holds no images; expected {' '.join(finding.SUFFIXES)} in it "
            f"or below. Received: {place!r}, with {passed_over.total()} other files "
            f"({finding.in_words(passed_over)}). Name .tar and .parquet files "
            f"themselves, as {place.rstrip('/')}/*.tar."
        )
