"""Options of, and what is told by, the commands that write shards of rows."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from egan_keras import cli, logs
from egan_keras.cli import messages, rooms
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
        gpus: how many of Ray's workers, of one GPU each in place of processors; of a
            run or a pairing, with Keras and its GPU libraries on every machine
        shard_size: images in a shard; a .tar or .parquet file is one shard
    """

    engine: Literal["ray"] | None = None
    address: str | None = option(None, metavar="HOST:PORT")
    workers: int | None = None
    gpus: int | None = None
    shard_size: int = 4096


def check(given: ShardOptions, out: str | None) -> None:
    """Refuses options that have no meaning together, before anything is done."""
    of_engine = [x for x in ("address", "workers", "gpus") if getattr(given, x)]
    received = lacks = None
    if given.engine is None and of_engine:
        received, lacks = f"--{of_engine[0]}", "--engine ray"
    elif given.engine and out is None:
        received, lacks = "--engine", "--out DIR"
    if lacks:
        raise ValueError(
            f"The option needs {lacks} beside it; expected both. Received: {received} "
            "alone. Add the other, or leave it out."
        )
    if given.gpus and given.workers:
        raise ValueError(
            "Each worker has one processor or one GPU; expected --workers or --gpus. "
            f"Received: --workers {given.workers} --gpus {given.gpus}. Leave one out."
        )


def recognised(path: Path) -> dict[str, str]:
    """Returns what a manifest tells of a model's file."""
    with path.open("rb") as file:
        mark = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": mark}


def compute(given: Any, network: Callable[[], Any], **of_job: Any) -> int:
    """Computes shards of the images that options name, and tells what came of it.

    Args:
        given: `ShardOptions` with `images` and `out`.
        network: returns what workers run; called if something is left to compute.
        **of_job: what else `scale.Job` takes.
    """
    scale, engine = rooms.scale, rooms.scale.in_this_process
    images = tuple(map(_absolute, given.images))
    job = scale.Job(images=images, shard_size=given.shard_size, **of_job)
    if given.engine == "ray":
        on = {"address": given.address, "workers": given.workers, "gpus": given.gpus}
        engine = functools.partial(scale.on_ray, **on)
    out, told = _absolute(given.out), rooms.data.finding.in_words
    manifest = scale.run(job, out, network, engine)
    n_images, n_problems = manifest["n_images"], manifest["n_problems"]
    set_aside = [*manifest["set_aside"]]
    messages.tell_passed_over(manifest["passed_over"])
    messages.tell_passed_over(manifest["passed_over_in_shards"], " in .tar files")
    if n_problems:
        print(f"Not read: {n_problems:,} images: {told(manifest['problems'])}")
    if manifest["odd"]:
        print(f"Taken all the same: {told(manifest['odd'])}")
    messages.tell_files("Set aside, to be tried again: {} shards", set_aside)
    print(f"Written: {printable(out)}")
    said = f"{n_images - n_problems:,} of {n_images:,} images"
    if job.kind == scale.SCORES:
        said += f", {manifest['n_minority']:,} called minority"
        said += f" (threshold {job.threshold:.6g})"
    logs.tell(said)
    return cli.BLEMISHED if set_aside else 0


def _absolute(place: str) -> str:
    """Returns a path that workers elsewhere know, too; addresses are as they are."""
    return place if "://" in place else os.path.abspath(place)
