"""A tiny model exported to .tflite with all that travels with one, in seconds."""

from pathlib import Path

import keras
import numpy as np

import egan_keras as ek

HEIGHT, WIDTH = 24, 32
THRESHOLD = -0.8


def export_tiny(folder: Path, quantize: str = "none") -> Path:
    """Writes tiny.tflite, tiny.json and tiny_golden/*.png; returns the model's path."""
    random = np.random.default_rng(1)
    coarse = random.integers(0, 256, (40, HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    images = coarse.repeat(8, axis=1).repeat(8, axis=2)
    path = folder / "tiny.tflite"
    ek.export_tflite(
        _tiny_model(),
        path,
        quantize=quantize,
        representative=images,
        provenance=ek.Provenance(
            ("good",), ("scratched", "dented"), 40, 2, gray_range=(0, 4095)
        ),
        input_dtype="uint8" if quantize == "int8" else "float32",
    )
    return path


def _tiny_model() -> ek.EGAN:
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
