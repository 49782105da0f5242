"""From a shard's files to its rows: what every engine computes, and writes as a whole.

Every image has one row, also those that could not be read, whose `problem` says why.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from multiprocessing.pool import ThreadPool
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from egan_keras.data import decoding
from egan_keras.data.lazy import THREADS, work_ahead
from egan_keras.exporting.tflite_model import TFLiteModel
from egan_keras.litert import LiteRTFunction, threads
from egan_keras.scale import reading
from egan_keras.scale.folders import Folder, is_damage
from egan_keras.scale.listing import Listing

SCORES, FEATURES = "scores", "features"
KERAS_NETWORK = "network.keras"
CONSTANT, CLIPPED = "of a single colour", "clipped to black and white"

_AT_ONCE, _AT_ONCE_ON_GPU = 32, 256
_COUNTS, _MARK = b"egan_keras", b"egan_keras_shard"


class Network(NamedTuple):
    """What workers run of a model.

    Attributes:
        litert: Bytes of a .tflite file: one that `export_tflite` wrote, or what
            `features.inference.to_litert` returned.
        keras: Bytes of the .keras file of the same, for GPUs; None of an export, and
            where processors compute.
        vector_sizes: Lengths of what stands side by side in a vector of features.
    """

    litert: bytes
    keras: bytes | None = None
    vector_sizes: tuple[int, ...] = ()


class Task(NamedTuple):
    """What is computed of every shard; it is sent to workers.

    Attributes:
        place: Folder of the listing and the shards.
        kind: `SCORES` or `FEATURES`.
        network: What it is computed by.
        is_export: Whether its .tflite file is one that `export_tflite` wrote.
        threshold: An image whose score is below it is called minority.
        gray_range: As of `data.decoding.decode`.
        dtype: Of the features, `float16` or `float32`.
        mark: What shards of this job have in common, and of no other.
        on_gpu: Whether Keras computes on a GPU, in place of LiteRT.
    """

    place: str
    kind: str
    network: Network
    is_export: bool
    threshold: float = 0.0
    gray_range: decoding.GrayRange | None = None
    dtype: str = "float32"
    mark: str = ""
    on_gpu: bool = False


class Told(NamedTuple):
    """What a shard tells of itself: numbers of images, most of them by reason."""

    n_images: int
    problems: Counter[str]
    odd: Counter[str]
    passed_over: Counter[str]
    n_minority: int


class _Row(NamedTuple):
    """An image on its way; without pixels where there is a problem."""

    name: str
    content: bytes = b""
    mark: str | None = None
    pixels: np.ndarray | None = None
    problem: str | None = None
    odd: tuple[str, ...] = ()


class Worker:
    """Computes and writes shards; it holds the network once.

    Args:
        task: What to compute.
    """

    def __init__(self, task: Task) -> None:
        self._task, self._folder = task, Folder(task.place)
        self._listing = Listing(self._folder)
        if task.is_export:
            model = TFLiteModel(task.network.litert)
            self._run = model.predict_on_batch
        else:
            model = self._loaded()
            self._run = lambda images: model(images)[0]
        self._at_once = _AT_ONCE_ON_GPU if task.on_gpu else _AT_ONCE
        self._size = model.image_shape[:2]
        (self._width,) = self._run(np.zeros((1, *self._size, 3), np.uint8))[0].shape

    def _loaded(self) -> Any:
        if not self._task.on_gpu:
            return LiteRTFunction(self._task.network.litert)
        # Workers on processors do without TensorFlow.
        from egan_keras.scale.networks import KerasFunction

        return KerasFunction(self._task.network.keras)

    def compute(self, shard: int) -> None:
        """Writes the rows of a shard under its name.

        Raises:
            OSError: If files cannot be reached, or the shard cannot be written.
            ValueError: If a file of many images is damaged.
        """
        table = self.table(self._listing[shard])
        told = {**table.schema.metadata, _MARK: _mark(self._task.mark, shard)}
        table = table.replace_schema_metadata(told)
        with self._folder.new_file(name_of(shard)) as file:
            options = {"compression": "zstd", "use_dictionary": ["problem"]}
            pq.write_table(table, file, write_page_checksum=True, **options)

    def table(self, files: list[str]) -> pa.Table:
        """Returns the rows of the images of some files, as `compute` writes them."""
        passed_over, odd, tables = Counter(), Counter(), []
        for batch in self._decoded(reading.images(files, passed_over)):
            odd.update(chain.from_iterable(row.odd for row in batch))
            tables.append(self._judged(batch))
        table = pa.concat_tables(tables or [self._judged([])])
        _check_reached(table["problem"], files)
        counts = {"passed_over": passed_over, "odd": odd}
        if self._task.kind == SCORES:
            counts["n_minority"] = int(np.sum(table["is_minority"].drop_null()))
        return table.replace_schema_metadata({_COUNTS: json.dumps(counts).encode()})

    def _decoded(self, images: Iterator[reading.Image]) -> Iterator[list[_Row]]:
        """Yields rows with pixels, a batch at a time, while the next ones are read."""
        batches = iter(lambda: list(islice(images, self._at_once)), [])

        def decode(row: _Row) -> _Row:
            if row.problem:
                return row
            source = decoding.EncodedImage(row.name, row.content)
            try:
                found = decoding.decode(source, self._size, self._task.gray_range)
            except decoding.UnreadableError as error:
                return row._replace(content=b"", problem=str(error))
            odd = [CONSTANT] * found.is_constant + [CLIPPED] * found.is_clipped
            return row._replace(content=b"", pixels=found.pixels, odd=tuple(odd))

        with ThreadPool(THREADS) as pool:
            fetched = work_ahead(lambda batch: pool.map(_fetch, batch), batches)
            if threads() > 1:
                yield from work_ahead(lambda batch: [*map(decode, batch)], fetched)
            else:  # as many threads compute as there are processors for this
                for batch in fetched:
                    yield [*map(decode, batch)]

    def _judged(self, rows: list[_Row]) -> pa.Table:
        """Returns what the network makes of decoded images, as a table."""
        task, is_known = self._task, np.array([not row.problem for row in rows], bool)
        values = np.zeros((len(rows), self._width), task.dtype)
        if is_known.any():
            pixels = np.stack([row.pixels for row in rows if not row.problem])
            with np.errstate(over="ignore"):
                values[is_known] = self._run(pixels)
        _check_finite(values, task)
        names, _, marks, _, problems, _ = zip(*rows, strict=True) if rows else [()] * 6
        columns = {"path": pa.array(names, pa.string())}
        columns["content_hash"] = pa.array(marks, pa.string())
        if task.kind == SCORES:
            scores, unknown = values[:, 0], ~is_known
            columns["score"] = pa.array(scores, mask=unknown)
            columns["is_minority"] = pa.array(scores < task.threshold, mask=unknown)
        else:
            columns["vector"] = pa.FixedSizeListArray.from_arrays(
                pa.array(values.ravel()), self._width, mask=pa.array(~is_known)
            )
        columns["problem"] = pa.array(problems, pa.string())
        return pa.table(columns)


def name_of(shard: int) -> str:
    """Returns the name of a shard's file.

    >>> name_of(12)
    'shards/00000012.parquet'
    """
    return f"shards/{shard:08}.parquet"


def told_by(folder: Folder, shard: int, mark: str) -> Told | None:
    """Returns what a shard that was written tells; None if it is not there, or damaged.

    Nor is what has its name but was another shard, or another job's by its mark. All
    but vectors is looked at, which are many bytes: who reads them says so. A shard of
    scores tells how many images are called minority.
    """
    try:
        with folder.open(name_of(shard)) as file:
            table = pq.ParquetFile(file, page_checksum_verification=True)
            metadata = table.schema_arrow.metadata
            if metadata[_MARK] != _mark(mark, shard):
                return None
            counts = json.loads(metadata[_COUNTS])
            names = [name for name in table.schema_arrow.names if name != "vector"]
            found = table.read(names)["problem"].drop_null().to_pylist()
            odd, passed_over = (Counter(counts[x]) for x in ("odd", "passed_over"))
            n_minority, n_rows = counts.get("n_minority", 0), table.metadata.num_rows
            return Told(n_rows, Counter(found), odd, passed_over, n_minority)
    except FileNotFoundError:
        return None
    # Nothing but such a file is a shard.
    except (ValueError, TypeError, KeyError):
        return None
    except (pa.ArrowException, OSError) as error:
        if not is_damage(error):
            raise
        return None


def _mark(mark: str, shard: int) -> bytes:
    return f"{mark} {shard}".encode()


def _fetch(image: reading.Image) -> _Row:
    try:
        content = image.read()
    except decoding.UnreadableError as error:
        return _Row(image.name, problem=str(error))
    mark = hashlib.blake2b(content, digest_size=16).hexdigest()
    return _Row(image.name, content, mark)


def _check_finite(values: np.ndarray, task: Task) -> None:
    if not np.isfinite(values).all():
        advice = "Check whether training diverged."
        if task.dtype == "float16":
            advice = "Ask for --dtype float32, which holds larger ones."
        raise ValueError(
            f"The network gives no finite {task.kind}; expected such in {task.dtype}. "
            f"Received: {np.sum(~np.isfinite(values).all(axis=1))} of {len(values)} "
            f"images for which it does not. {advice}"
        )


def _check_reached(problems: Iterable, files: list[str]) -> None:
    """Refuses a shard none of whose files is there: rather the machine sees none."""
    found = problems.to_pylist()
    if found and {*found} <= {reading.VANISHED, reading.NO_RIGHT}:
        raise OSError(
            f"None of the {len(found)} images of a shard can be reached; expected them "
            "where they were listed, for every worker. Received: "
            f"{files[0]!r}, which {found[0]}. Check that the workers see the place."
        )
