"""A tiny model exported to .tflite with all that travels with one, in seconds."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from ai_edge_litert.tools import flatbuffer_utils

import egan_keras as ek

HEIGHT, WIDTH = 24, 32
THRESHOLD = -0.8


def export_tiny(
    folder: Path, quantize: str = "none", *, calibrated: bool = True
) -> Path:
    """Writes tiny.tflite, tiny.json and tiny_golden/*.png; returns the model's path."""
    random = np.random.default_rng(1)
    coarse = random.integers(0, 256, (40, HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    images = coarse.repeat(8, axis=1).repeat(8, axis=2)
    path = folder / "tiny.tflite"
    model = tiny_model()
    if not calibrated:
        model.calibration = None
    ek.export_tflite(
        model,
        path,
        quantize=quantize,
        representative=images,
        provenance=ek.Provenance(
            ("good",), ("scratched", "dented"), 40, 2, gray_range=(0, 4095)
        ),
        input_dtype="uint8" if quantize == "int8" else "float32",
    )
    return path


def with_description(data: bytes, change: Callable[[dict], object]) -> bytes:
    """Returns a .tflite file that tells something else of itself.

    Args:
        data: The file.
        change: Called with what it tells; gives an object, or bytes to put there.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(data))
    buffer = model.buffers[model.metadata[-1].buffer]
    told = change(json.loads(bytes(buffer.data)))
    text = told if isinstance(told, bytes) else json.dumps(told).encode()
    buffer.data = np.frombuffer(text, "uint8")
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def telling(**changes: object) -> Callable[[dict], object]:
    """Returns a change of values of the threshold."""
    return lambda told: {**told, "threshold": {**told["threshold"], **changes}}


# What no file tells, and the words that answer it, in egan_keras and in the kit.
IMPOSSIBLE = {
    "nan": (telling(threshold=math.nan), "the number NaN"),
    "infinite": (telling(threshold=-math.inf), "the number -Infinity"),
    "infinite in disguise": (
        lambda told: json.dumps(told).replace("-0.8", "1e999").encode(),
        "the number 1e999",
    ),
    "another threshold": (telling(threshold=100.0), "threshold.threshold=100 "),
    "one a little off": (telling(threshold=-0.79), "threshold.threshold=-0.79"),
    "no number": (telling(threshold="low"), "'threshold.threshold' must be number"),
    "confidence of 2": (telling(confidence=2), "'threshold.confidence' must be"),
    "half an image": (telling(n_majority=0.5), "'threshold.n_majority' must be"),
    "no list": (lambda told: {**told, "classes": []}, "'classes' must be object"),
    "no classes": (
        lambda told: {**told, "classes": {"majority": [], "minority": ["b"]}},
        "'classes.majority' must contain at least 1",
    ),
    "other images": (
        lambda told: {**told, "input": {**told["input"], "shape": [1, 8, 8, 3]}},
        "other images|input is not the one",
    ),
    "huge images": (
        lambda told: {**told, "input": {**told["input"], "shape": [1, 2**40, 8, 3]}},
        "'input.shape.1' must be",
    ),
    "nothing": (lambda told: {}, "format 'egan-keras'"),
    "a list": (lambda told: [told], "must be object"),
    "no JSON": (lambda told: b"{", "Expecting property name"),
    "no text": (lambda told: b"\xff\xfe", "can't decode byte"),
    "deep": (lambda told: b"[" * 100_000, "deeper than 20 levels"),
    "huge": (lambda told: {**told, "more": "x" * 2**20}, "more than 1048576"),
    "twice": (
        lambda told: b'{"threshold": {}, ' + json.dumps(told).encode()[1:],
        "a key twice",
    ),
}


def tiny_model() -> ek.EGAN:
    """Two convolutions and a dense layer with seeded weights, scores around 0."""
    shape = (HEIGHT, WIDTH, 3)
    seeds = iter(range(9))

    def normal(deviation):
        return keras.initializers.RandomNormal(0, deviation, seed=next(seeds))

    discriminator = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Rescaling(1 / 255, -0.5),
            keras.layers.Conv2D(
                8, 3, 2, "same", activation="relu6", kernel_initializer=normal(0.3)
            ),
            keras.layers.DepthwiseConv2D(
                3, padding="same", depthwise_initializer=normal(0.3)
            ),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, kernel_initializer=normal(20)),
        ]
    )
    generator = keras.Sequential(
        [keras.Input(shape), keras.layers.Conv2D(3, 3, padding="same")]
    )
    calibration = ek.Calibration(
        threshold=THRESHOLD,
        criterion="specificity",
        target=0.95,
        confidence=0.95,
        n_majority=40,
        n_minority=0,
        guarantee="At least 95% of majority images score at or above it.",
    )
    return ek.EGAN(generator, discriminator, calibration=calibration)
