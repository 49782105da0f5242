"""A job: its listing, its shards and its manifest in one folder, whoever computes them.

The same job in the same folder goes on where it stopped: what is there is not computed
again. A shard has its name when it is whole, so that nothing else is to be known.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from multiprocessing.pool import ThreadPool
from typing import Any

from egan_keras import logs, schemas
from egan_keras.data import decoding
from egan_keras.data.lazy import THREADS
from egan_keras.scale import listing, reading, rows
from egan_keras.scale.engines import Outcome
from egan_keras.scale.folders import Folder
from egan_keras.version import __version__

MANIFEST = "manifest.json"
_LITERT, _KERAS = "network.tflite", rows.KERAS_NETWORK

# What stays as it was when a job began, and where its manifest tells the hash.
_KEPT = {
    _LITERT: "network_sha256",
    listing.LISTING: "listing_sha256",
    _KERAS: "keras_network_sha256",
}

_LIBRARIES = ("ai-edge-litert", "numpy", "pillow", "pyarrow")
_MOST_IN_A_ROW = 5
_SECONDS_BETWEEN_NEWS = 10.0
_SHARDS_LOOKED_AT = _IMAGES_LOOKED_AT = 8
_REASONS = 20

_COUNTS = schemas.mapped(schemas.COUNT)
_SCHEMA = schemas.record(
    {
        "job": schemas.ANYTHING,
        _KEPT[_LITERT]: schemas.TEXT,
        _KEPT[listing.LISTING]: schemas.TEXT,
        "vector_sizes": schemas.listed(schemas.COUNT),
        "versions": schemas.mapped(schemas.TEXT),
        "n_shards": schemas.COUNT,
        "n_files": schemas.COUNT,
        "passed_over": _COUNTS,
        "is_complete": schemas.BOOLEAN,
    },
    {
        _KEPT[_KERAS]: schemas.TEXT,
        "n_images": schemas.COUNT,
        "n_minority": schemas.COUNT,
        "problems": _COUNTS,
        "n_problems": schemas.COUNT,
        "passed_over_in_shards": _COUNTS,
        "odd": _COUNTS,
        "set_aside": schemas.mapped(schemas.TEXT),
    },
)

Engine = Callable[[rows.Task, Iterable[int]], Iterator[Outcome]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What is computed, of which images; two equal ones give the same shards.

    Attributes:
        kind: `rows.SCORES` or `rows.FEATURES`.
        model: What recognises the model: text and numbers.
        is_export: As of `rows.Task`, as are the others that are not told here.
        images: Where they are, as of `listing.find`.
        shard_size: Image files in a shard.
    """

    kind: str
    model: dict[str, Any]
    is_export: bool
    images: tuple[str, ...]
    shard_size: int = 4096
    threshold: float = 0.0
    gray_range: decoding.GrayRange | None = None
    dtype: str = "float32"

    def told(self) -> dict[str, Any]:
        """Returns what the manifest tells of it."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


def run(
    job: Job,
    place: str,
    network: Callable[[], rows.Network],
    engine: Engine,
) -> dict[str, Any]:
    """Computes what is missing of a job, and returns its manifest.

    Args:
        job: What to compute.
        place: Folder for it, new or of the same job; a path or an address.
        network: Returns what workers run; called for a new job alone.
        engine: Who computes the shards.

    Raises:
        ValueError: If the folder holds another job's, or another one writes there.
        FileNotFoundError: If there are no images.
    """
    folder = Folder(place)
    with folder.for_one_job():
        if folder.exists(MANIFEST):
            manifest = _known(job, folder)
            _check_begun(folder, manifest)
            logs.tell("Going on with the images that were listed when the job began")
        else:
            manifest = _begun(job, folder, network)
        made = rows.Network(folder.read(_LITERT))
        options = job.threshold, job.gray_range, job.dtype, _mark(manifest)
        task = rows.Task(place, job.kind, made, job.is_export, *options)
        told = _told(folder, manifest)
        missing = [shard for shard, each in enumerate(told) if each is None]
        if len(missing) < len(told):
            there = f"{len(told) - len(missing):,} of {len(told):,}"
            logs.tell(f"{there} shards are there already")
        set_aside = _compute(engine, task, missing, folder) if missing else {}
        return _ended(folder, manifest, set_aside)


def finished(folder: Folder) -> dict[str, Any]:
    """Returns the manifest of a job that was completed, or refuses it."""
    manifest = _read(folder) if folder.exists(MANIFEST) else {}
    if not manifest.get("is_complete"):
        what = "holds no job" if not manifest else "lacks some of its shards"
        raise ValueError(
            "The job is not complete; expected a folder that `egan-keras features` or "
            f"`score --out` wrote to the end. Received: {folder.place!r}, which {what}."
            " Run the same command again."
        )
    return manifest


def _begun(job: Job, folder: Folder, network: Callable) -> dict[str, Any]:
    """Lists the images, and writes what workers and a later command need."""
    _check_free(folder)
    made, passed_over = network(), Counter()
    logs.tell("Listing the images")
    found = listing.find(job.images, passed_over)
    listed = listing.write(folder, found, job.shard_size)
    logs.tell(f"{listed.n_files:,} files in {listed.n_shards:,} shards")
    if job.gray_range is None:
        _warn_of_depths(folder, listed.n_shards)
    folder.write(_LITERT, made.litert)
    if made.keras:
        folder.write(_KERAS, made.keras)
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    manifest = {
        "job": job.told(),
        **{
            key: _hash_of(folder, name)
            for name, key in _KEPT.items()
            if name != _KERAS or made.keras
        },
        "vector_sizes": list(made.vector_sizes),
        "versions": {"egan-keras": __version__, **versions},
        **listed._asdict(),
        "passed_over": dict(passed_over),
        "is_complete": False,
    }
    _write(folder, manifest)
    return manifest


def _known(job: Job, folder: Folder) -> dict[str, Any]:
    """Returns the manifest of the same job, begun earlier; refuses another one's."""
    manifest, wanted = _read(folder), job.told()
    other = [key for key in wanted if manifest["job"].get(key) != wanted[key]]
    if other:
        key = other[0]
        raise ValueError(
            f"The folder holds another job's shards; expected the same {key} as then, "
            f"{manifest['job'].get(key)}. Received: {wanted[key]} for "
            f"{folder.at(MANIFEST)!r}. Name another folder."
        )
    return manifest


def _check_begun(folder: Folder, manifest: dict[str, Any]) -> None:
    """Refuses other names of images, or another network, than the job began with."""
    for name, key in _KEPT.items():
        if key not in manifest:
            continue
        found = _hash_of(folder, name) if folder.exists(name) else "no such file"
        if found != manifest[key]:
            raise ValueError(
                "A file of the job is not the one that it began with; expected SHA-256 "
                f"{manifest[key]}. Received: {folder.at(name)!r}, {found}. Name "
                "another folder."
            )


def _check_free(folder: Folder) -> None:
    names, there = (MANIFEST, *_KEPT), folder.names()
    # What a job left that was killed while it began.
    odd = [name for name in there if name not in names and not name.startswith(".")]
    if odd:
        raise FileExistsError(
            f"There is something else in the folder; expected a new one, or an earlier "
            f"job's with its {MANIFEST}. Received: --out {folder.place!r}, which holds "
            f"{odd[0]!r}. Name another folder."
        )


def _warn_of_depths(folder: Folder, n_shards: int) -> None:
    """Looks at some images whether they are deep and nearly of one gray."""
    listed, deep = listing.Listing(folder), []
    step = -(-n_shards // _SHARDS_LOOKED_AT)
    for shard in range(0, n_shards, step):
        some = islice(reading.images(listed[shard], Counter()), _IMAGES_LOOKED_AT)
        try:
            for image in some:
                source = decoding.EncodedImage(image.name, image.read())
                deep += [source] * decoding.read_header(source).is_deep
        # Whoever computes the shard says so.
        except (OSError, ValueError):
            continue
    decoding.warn_of_depths(deep)


def _compute(
    engine: Engine, task: rows.Task, missing: list[int], folder: Folder
) -> dict[str, str]:
    """Has shards computed; returns those set aside, by their names, and why."""
    set_aside, in_a_row = {}, 0
    started = latest = time.monotonic()
    for n_done, (shard, problem) in enumerate(engine(task, missing), 1):
        name, now = rows.name_of(shard), time.monotonic()
        if problem is None and not folder.exists(name):
            raise ValueError(
                "A worker wrote where this machine sees nothing; expected a folder "
                "that all machines of the cluster see under the same name, such as "
                f"s3://bucket/scores. Received: --out {folder.place!r}. Name another."
            )
        in_a_row = in_a_row + 1 if problem else 0
        if problem:
            set_aside[name] = problem
            logs.tell(f"Set aside after three attempts: {name} ({problem})")
        if in_a_row == _MOST_IN_A_ROW:
            raise ValueError(
                f"{in_a_row} shards one after the other were set aside; expected a few "
                f"at most. Received: {problem} See to it, and run the same command "
                "again: what is written stays."
            )
        if now - latest > _SECONDS_BETWEEN_NEWS:
            latest, rate = now, 60 * n_done / (now - started)
            logs.tell(f"{n_done:,} of {len(missing):,} shards, {rate:.1f} a minute")
    return set_aside


def _ended(
    folder: Folder, manifest: dict[str, Any], set_aside: dict[str, str]
) -> dict[str, Any]:
    """Writes and returns the manifest with what all shards tell."""
    total = rows.Told(0, Counter(), Counter(), Counter(), 0)
    for shard, told in enumerate(_told(folder, manifest)):
        if told is None:
            set_aside.setdefault(rows.name_of(shard), "lost since it was written")
            continue
        total.problems.update(told.problems)
        total.odd.update(told.odd)
        total.passed_over.update(told.passed_over)
        n_images, n_minority = total.n_images + told.n_images, told.n_minority
        total = total._replace(
            n_images=n_images, n_minority=total.n_minority + n_minority
        )
    ended = manifest | {
        "n_images": total.n_images,
        "n_minority": total.n_minority,
        "problems": dict(total.problems.most_common(_REASONS)),
        "n_problems": total.problems.total(),
        "passed_over_in_shards": dict(total.passed_over),
        "odd": dict(+total.odd),
        "set_aside": set_aside,
        "is_complete": not set_aside,
    }
    _write(folder, ended)
    return ended


def _told(folder: Folder, manifest: dict[str, Any]) -> list[rows.Told | None]:
    shards, mark = range(manifest["n_shards"]), _mark(manifest)
    with ThreadPool(THREADS) as pool:
        return pool.map(lambda shard: rows.told_by(folder, shard, mark), shards)


def _mark(manifest: dict[str, Any]) -> str:
    """Returns what shards of a job have in common; see `rows.Task`."""
    keys = [key for key in ("job", *_KEPT.values()) if key in manifest]
    told = [manifest[key] for key in keys]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _read(folder: Folder) -> dict[str, Any]:
    try:
        return schemas.parse(folder.read(MANIFEST), _SCHEMA)
    except ValueError as error:
        raise ValueError(
            "The folder's manifest cannot be read; expected it as an earlier command "
            f"wrote it. Received: {folder.at(MANIFEST)!r} ({error}). Name another "
            "folder."
        ) from error


def _write(folder: Folder, manifest: dict[str, Any]) -> None:
    text = json.dumps(manifest, indent=2, allow_nan=False) + "\n"
    folder.write(MANIFEST, text.encode())


def _hash_of(folder: Folder, name: str) -> str:
    with folder.open(name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
