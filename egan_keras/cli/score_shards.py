"""`score --out`: scores as a job of shards."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from egan_keras import logs
from egan_keras.cli import runs, shards


def run(given: Any, gray_range: Callable[[Path, Any], Any]) -> int:
    """Scores as `score` does, as a job of shards.

    `gray_range` gives what was black and white where a model was trained.
    """
    from egan_keras import scale

    if given.csv or given.heat_maps:
        raise ValueError(
            "Shards take the place of a CSV file and of heat maps; expected --out "
            f"alone. Received: --out {given.out} with another. Leave one out."
        )
    model = runs.load_model(given.model)
    path = runs.model_path(given.model)
    is_export = path.suffix.lower() == ".tflite"

    def network() -> tuple[bytes, list[int]]:
        if is_export:
            return path.read_bytes(), []
        logs.tell("Making the network that workers run")
        return importlib.import_module("egan_keras.scale.networks").score_network(model)

    job = scale.Job(
        kind=scale.SCORES,
        model=shards.recognised(path),
        is_export=is_export,
        images=tuple(map(shards.absolute, given.images)),
        shard_size=given.shard_size,
        threshold=float(model.threshold),
        gray_range=given.gray_range or gray_range(given.model, model),
    )
    return shards.compute(given, job, shards.absolute(given.out), network)
