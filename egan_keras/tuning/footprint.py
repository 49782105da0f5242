"""What a discriminator costs where it is used: its size and time as int8 TFLite."""

import contextlib
import dataclasses
import hashlib
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from egan_keras import data, schemas
from egan_keras.exporting import conversion
from egan_keras.files import write_atomically
from egan_keras.logs import without_stderr
from egan_keras.model import EGAN

FOLDER = "footprints"

_SCHEMA = schemas.mapped(schemas.optional(schemas.NOT_NEGATIVE))
_REPRESENTATIVES = 100
_RUNS = 30
# Choices of the recipe that change the discriminator's graph.
_SHAPING = (
    "own_preprocessing trained_layers depths unit_length standardize distance_weight"
).split()


class Footprint(NamedTuple):
    """What a discriminator costs; `None` if it cannot be converted.

    Attributes:
        int8_kb: Size of its int8 TFLite file, in 1000 bytes.
        latency_ms: Milliseconds an image, on one thread of this machine.
    """

    int8_kb: float | None = None
    latency_ms: float | None = None


def can_measure() -> bool:
    """Whether Keras runs on what converts models."""
    return keras.backend.backend() == "tensorflow"


def measure(
    model: EGAN,
    discriminator: str,
    network_size: int,
    train: data.LabelledImages,
    folder: Path,
) -> Footprint:
    """Converts a discriminator, or reads what an earlier trial of the folder found.

    Training images set the ranges of int8; the weights decide nothing.
    """
    if not can_measure():
        return Footprint()
    choices = dataclasses.asdict(model.recipe)
    shaping = [discriminator, network_size, *(choices[name] for name in _SHAPING)]
    mark = hashlib.blake2b(json.dumps(shaping).encode(), digest_size=8).hexdigest()
    path = folder / FOLDER / f"{mark}.json"
    if path.is_file():
        # What is broken is measured again.
        with contextlib.suppress(ValueError, TypeError):
            return Footprint(**schemas.read(path, _SCHEMA))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with without_stderr(), tempfile.TemporaryDirectory() as made:
            images, labels = _representatives(train)
            saved = Path(made) / "saved_model"
            options = {"threshold": 0.0, "input_dtype": "uint8", "batch_size": 1}
            conversion.write_saved_model(model, saved, **options)
            few = {"representative": images, "labels": labels}
            content = conversion.convert(saved, "int8", **few)
            found = Footprint(len(content) / 1000, _latency(content, images[0]))
    except ValueError:  # TFLite has no operator for a part of it
        found = Footprint()
    text = json.dumps(found._asdict())
    write_atomically(path, lambda target: target.write_text(text + "\n", "utf-8"))
    return found


def _representatives(train: data.LabelledImages) -> tuple[np.ndarray, np.ndarray]:
    """Returns some training images of both classes, uint8, and their labels."""
    rows = []
    for label in (0, 1):
        of_class = np.flatnonzero(train.labels == label)
        rows.append(of_class[:: -(-len(of_class) // (_REPRESENTATIVES // 2))])
    rows = np.concatenate(rows)
    pixels = np.clip(np.rint(train.images[rows]), 0, 255).astype("uint8")
    return pixels, np.asarray(train.labels)[rows]


def _latency(content: bytes, image: np.ndarray) -> float:
    """Returns the median milliseconds of scoring one image on one thread."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    runner = interpreter.get_signature_runner(conversion.SIGNATURE)
    times = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        runner(images=image[None])
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)
