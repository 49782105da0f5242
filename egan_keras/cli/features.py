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
from pathlib import Path
from typing import Any, Literal

from egan_keras import logs
from egan_keras.cli import options, rooms, runs, shards
from egan_keras.cli.options import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(shards.ShardOptions):
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
    shards.check(given, given.out)
    path = Path(given.model)
    is_run, gray_range = path.exists(), given.gray_range
    if is_run:
        told = shards.recognised(runs.model_path(path))
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
            weights = shards.recognised(Path(weights))["sha256"]
        told = {"pairing": given.model, "image_size": size, "weights": weights}
    return shards.compute(
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
