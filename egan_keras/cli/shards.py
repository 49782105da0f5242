"""Options of, and what is told by, the commands that write shards of rows."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from egan_keras import cli, logs
from egan_keras.cli import rooms
from egan_keras.cli.options import option
from egan_keras.text import printable


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """How shards are computed.

    Shards:
        engine: who computes the shards of --out: ray is the workers of a Ray cluster
            (pip install egan-keras[ray]; default: this process)
        address: a running Ray cluster's host and port, or auto (default: one is started
            on this machine and ends with the command)
        workers: how many of Ray's workers, of one processor each (default: as many as
            the cluster has processors)
        shard_size: images in a shard; a .tar or .parquet file is one shard
    """

    engine: Literal["ray"] | None = None
    address: str | None = option(None, metavar="HOST:PORT")
    workers: int | None = None
    shard_size: int = 4096


def check(given: ShardOptions, out: str | None) -> None:
    """Refuses options that have no meaning together, before anything is done."""
    without_engine = given.engine is None and (given.address or given.workers)
    if without_engine or (out is None and given.engine):
        flag = "--address" if given.address else "--workers"
        received, lacks = (flag, "--engine ray")
        if out is None:
            received, lacks = "--engine", "--out DIR"
        raise ValueError(
            f"The option needs {lacks} beside it; expected both. Received: {received} "
            "alone. Add the other, or leave it out."
        )


def recognised(path: Path) -> dict[str, str]:
    """Returns what a manifest tells of a model's file."""
    with path.open("rb") as file:
        mark = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": mark}


def compute(
    given: ShardOptions, job: Any, out: str, network: Callable[[], tuple]
) -> int:
    """Runs a job, and tells what came of it."""
    from egan_keras import scale

    engine = scale.in_this_process
    if given.engine == "ray":
        on = {"address": given.address, "workers": given.workers}
        engine = functools.partial(scale.on_ray, **on)
    manifest = scale.run(job, out, network, engine)
    _tell(job, manifest, out)
    return cli.BLEMISHED if manifest["set_aside"] else 0


def absolute(place: str) -> str:
    """Returns a path that workers elsewhere know, too; addresses are as they are."""
    return place if "://" in place else os.path.abspath(place)


def _tell(job: Any, manifest: dict[str, Any], out: str) -> None:
    told = rooms.data.finding.in_words
    n_images, n_problems = manifest["n_images"], manifest["n_problems"]
    cli.tell_passed_over(manifest["passed_over"])
    if manifest["passed_over_in_shards"]:
        print(f"Passed over in .tar files: {told(manifest['passed_over_in_shards'])}")
    if n_problems:
        print(f"Not read: {n_problems:,} images: {told(manifest['problems'])}")
    if manifest["odd"]:
        print(f"Taken all the same: {told(manifest['odd'])}")
    cli.tell_files("Set aside, to be tried again: {} shards", [*manifest["set_aside"]])
    print(f"Written: {printable(out)}")
    said = f"{n_images - n_problems:,} of {n_images:,} images"
    if job.kind == "scores":
        said += f", {manifest['n_minority']:,} called minority"
        said += f" (threshold {job.threshold:.6g})"
    logs.tell(said)
