"""Features of many images, read from shards as the rows that models take."""

import json
import os
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from egan_keras import data
from egan_keras.data.lazy import fingerprint
from egan_keras.files import cache_folder
from egan_keras.scale import jobs, rows
from egan_keras.scale.folders import Folder, is_damage
from egan_keras.text import first_few

_ROWS_AT_ONCE = 1024
_NAMES = ["path", "content_hash"]


class FeatureTable:
    """The features that `egan-keras features` wrote, of those images it could read.

    Args:
        place: What was its `--out`, a folder or an address.

    Attributes:
        manifest: What the job tells of itself.
        vector_sizes: For `EGAN.from_features(None, vector_sizes, place_depths=0)`.

    Raises:
        ValueError: If there are no features, or not all of them.
    """

    def __init__(self, place: str | os.PathLike[str]) -> None:
        self._folder = Folder(os.fspath(place))
        self.manifest = jobs.finished(self._folder)
        if self.manifest["job"]["kind"] != rows.FEATURES:
            raise ValueError(
                "The folder holds no features; expected one that `egan-keras features` "
                f"wrote. Received: {self._folder.place!r}, which holds "
                f"{self.manifest['job']['kind']}. Name another one."
            )
        self.vector_sizes: list[int] = self.manifest["vector_sizes"]
        self._n_rows = self.manifest["n_images"] - self.manifest["n_problems"]
        if not self._n_rows:
            raise ValueError(
                "There are no features; expected those of one image at least. "
                f"Received: {self._folder.place!r}, where none could be read. Look at "
                "the column `problem` of its shards."
            )

    def __len__(self) -> int:
        """Returns the number of images."""
        return self._n_rows

    def names(self) -> Iterator[pa.RecordBatch]:
        """Yields `path` and `content_hash` of the images, in order, batch by batch.

        Raises:
            ValueError: If shards are gone or damaged meanwhile.
        """
        yield from self._batches(_NAMES)

    def labels(self, majority: Collection[str], minority: Collection[str]) -> Any:
        """Returns labels, int32 (n,), 0 and 1, by the folders that images lie in.

        Args:
            majority: Names of folders, each of a class.
            minority: The same.

        Raises:
            ValueError: If images lie in folders of other names.
        """
        label_of = dict.fromkeys(majority, 0) | dict.fromkeys(minority, 1)
        labels, start = np.empty(len(self), np.int32), 0
        unknown: Counter[str] = Counter()
        for batch in self.names():
            for path in batch["path"].to_pylist():
                name = Path(path).parent.name
                unknown[name] += name not in label_of
                labels[start] = label_of.get(name, 0)
                start += 1
        if +unknown:
            raise ValueError(
                "Images lie in folders of no class; expected "
                f"{first_few([*label_of])}. Received: {unknown.total():,} of "
                f"{len(self):,} images, in {first_few([*+unknown])}. Name these, too, "
                "or make labels from names()."
            )
        return labels

    def vectors(self, copy: str | os.PathLike[str] | None = None) -> data.LazyRows:
        """Returns the features, float32 (n, d), read from the disk when asked for.

        They are copied once, row after row, into one file, which training reads in any
        order; a shard of Parquet is read from its beginning to its end alone.

        Args:
            copy: Folder for the file, which later calls read again; None takes
                `files.cache_folder()`.
        """
        # Workers import this room, too, and need no TensorFlow.
        from egan_keras.features.feature_files import read_or_compute
        from egan_keras.features.stems import Layout

        first = next(self._batches(["vector"]))["vector"]
        width, dtype = first.type.list_size, self.manifest["job"]["dtype"]
        marks = ("".join(x["content_hash"].to_pylist()).encode() for x in self.names())
        # The same images may have been read otherwise.
        options = [self.manifest["job"].get("gray_range"), dtype]
        made_by = [self.manifest["network_sha256"], self.manifest["versions"], options]
        mark = fingerprint(iter([json.dumps(made_by).encode()]), marks)
        layout = Layout(len(self), [((width,), np.dtype(dtype))])
        folder = Path(copy) if copy is not None else cache_folder()

        def compute(start: int) -> Iterator[list[np.ndarray]]:
            row = 0
            for batch in self._batches(["vector"]):
                flat = batch["vector"].flatten().to_numpy(zero_copy_only=False)
                found = flat.reshape(-1, width)[max(0, start - row) :]
                row += len(batch)
                if len(found):
                    yield [found]

        (found,), _ = read_or_compute(folder.expanduser() / mark, layout, compute)
        return data.MappedRows(lambda read: read.astype(np.float32), found)

    def _batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Yields columns of the images that could be read."""
        n_rows = 0
        for shard in range(self.manifest["n_shards"]):
            name = rows.name_of(shard)
            path = self._folder.at(name)
            try:
                with self._folder.open(name) as file:
                    table = pq.ParquetFile(file, page_checksum_verification=True)
                    wanted = {"columns": [*columns, "problem"]}
                    for batch in table.iter_batches(_ROWS_AT_ONCE, **wanted):
                        found = batch.filter(batch["problem"].is_null())
                        n_rows += len(found)
                        yield found.select(columns)
            except FileNotFoundError as error:
                raise self._lacking(f"no {path!r}") from error
            except (pa.ArrowException, OSError) as error:
                if not is_damage(error):
                    raise
                raise self._lacking(f"{path!r}, which is damaged") from error
        if n_rows != len(self):
            raise self._lacking(f"{n_rows:,} in {self._folder.place!r}")

    def _lacking(self, received: str) -> ValueError:
        return ValueError(
            "The folder holds other features than its manifest tells of; expected "
            f"those of {len(self):,} images. Received: {received}. Delete what is "
            "damaged, and run the same command again."
        )
