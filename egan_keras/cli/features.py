r"""Compute the features of many images once, shard by shard, on an engine or here.

Writes into --out, an empty folder or an address such as s3://bucket/features:
shards of rows in Parquet (path, content_hash, vector), network.tflite, which
makes them on processors, network.keras, which does on GPUs, and manifest.json,
which counts. The same command goes on where it was stopped; a shard that fails
three times is set aside. ek.FeatureTable reads the vectors, and models train on
them: EGAN.from_features.

The vectors are those of the discriminator's frozen backbone, before anything
that training sets. Feature maps, of which `train` judges places, are not kept:
they take a hundred times as much.

Exit codes: 1 if shards were set aside; all others as `egan-keras --help` lists
them.

Examples:
  egan-keras features MobileNetV2 images --image-size 224 --out features
  egan-keras features runs/a "s3://bucket/train-*.tar" --engine ray \
      --out s3://bucket/features
"""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from egan_keras import cli, logs
from egan_keras.cli import options, rooms, runs
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(ShardOptions):
    """All options of `features`.

    Attributes:
        model: folder written by `train`, or a backbone or pairing as `train` names them
        images: image files, folders to search with all folders below them, .tar files
            of images, .parquet files with a column of image files' bytes; paths,
            addresses, or patterns of them in quotes
    Images:
        gray_range: as for `train` (default: the run's)
        image_size: stretch every image to N x N pixels; for a pairing alone, since a
            run has its own (default: 224)
        weights: what a pairing's backbone starts from, as for `train`
    Shards:
        out: folder or address to write
        dtype: type of the vectors' numbers
    """

    model: str = option(flag="", metavar="RUN_OR_PAIRING")
    images: list[str] = option(flag="", metavar="IMAGES", nargs="+", type=str)
    gray_range: options.GrayRange | None = None
    image_size: int | None = None
    weights: str | None = option(
        "imagenet", type=options.weights, metavar="imagenet|none|FILE"
    )
    out: str = option(metavar="DIR", type=str)
    dtype: Literal["float16", "float32"] = "float16"


def run(given: Options) -> int:
    """Computes the features of what the options name."""
    check_shards(given, given.out)
    path = Path(given.model)
    is_run, gray_range = path.exists(), given.gray_range
    if is_run:
        told = recognised(runs.model_path(path))
        if config := runs.RunConfig.of_model(path):
            gray_range = gray_range or config.gray_range
        if given.image_size:
            raise ValueError(
                "A run has its own image size; expected --image-size with a pairing "
                f"alone. Received: --image-size {given.image_size}. Leave it out."
            )
    else:
        size = given.image_size or 224
        weights = given.weights
        if weights and Path(weights).is_file():
            weights = recognised(Path(weights))["sha256"]
        told = {"pairing": given.model, "image_size": size, "weights": weights}
    return compute_shards(
        given,
        lambda: _network(given, is_run),
        kind=rooms.scale.FEATURES,
        model=told,
        is_export=False,
        gray_range=gray_range,
        dtype=given.dtype,
    )


def _network(given: Options, is_run: bool) -> Any:
    from egan_keras.scale import networks

    if is_run:
        model = runs.load_model(Path(given.model))
    else:
        logs.start_keras()
        encoder, _, discriminator = given.model.partition("->")
        size = given.image_size or 224
        model = rooms.model.EGAN.from_backbones(
            encoder,
            discriminator or encoder,
            image_shape=(size, size, 3),
            weights=given.weights,
            place_depths=0,
        )
    logs.tell("Making the network that workers run")
    return networks.feature_network(model)


def check_shards(given: ShardOptions, out: str | None) -> None:
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


def compute_shards(given: Any, network: Callable[[], Any], **of_job: Any) -> int:
    """Computes shards of the images that options name, and tells what came of it.

    `network` returns what workers run; it is called if something is left to compute.
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
    cli.tell_passed_over(manifest["passed_over"])
    cli.tell_passed_over(manifest["passed_over_in_shards"], " in .tar files")
    if n_problems:
        print(f"Not read: {n_problems:,} images: {told(manifest['problems'])}")
    if manifest["odd"]:
        print(f"Taken all the same: {told(manifest['odd'])}")
    cli.tell_files("Set aside, to be tried again: {} shards", set_aside)
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
