"""What the cases of the speed benchmark have in common: models, images, clocks."""

import time
from collections.abc import Callable

import keras
import numpy as np

import egan_keras as ek

MINORITY = 2

SIDE = 32


def build_egan(
    backbone: str, recipe: str = "default", weights: str | None = None, **choices
) -> ek.EGAN:
    """Returns a compiled model of one backbone for images of 32 pixels."""
    model = ek.EGAN.from_backbones(
        backbone,
        backbone,
        image_shape=(SIDE, SIDE, 3),
        recipe=recipe,
        weights=weights,
        **choices,
    )
    model.compile()
    return model


def smooth_images(majority: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns so many majority images and two minority ones, smooth random patterns."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (majority + MINORITY, 4, 4, 3), "uint8")
    images = coarse.repeat(8, axis=1).repeat(8, axis=2)
    return images, (np.arange(len(images)) >= majority).astype("int32")


def random_rows(
    majority: int, size: int, minority: int = MINORITY
) -> tuple[np.ndarray, np.ndarray]:
    """Returns features of so many images of each class, and labels."""
    rows = np.random.default_rng(0).normal(size=(majority + minority, size))
    labels = (np.arange(len(rows)) >= majority).astype("int32")
    return rows.astype("float32"), labels


class EpochClock(keras.callbacks.Callback):
    """Notes how long each epoch took and how many steps it had.

    It does not listen to batches, which would make Keras wait for each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[tuple[float, int]] = []

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self._started
        self.epochs.append((seconds, self.params["steps"]))


def step_of_fit(model: ek.EGAN, inputs, labels, epochs: int = 4) -> float:
    """Returns the median over epochs, the first left out, of seconds a step."""
    clock = EpochClock()
    model.fit(inputs, labels, epochs=epochs, verbose=0, callbacks=[clock])
    return float(np.median([seconds / steps for seconds, steps in clock.epochs[1:]]))


def repeated(run: Callable[[], object], times: int, repeats: int = 3) -> float:
    """Returns the median of seconds a run, the first run left out."""
    run()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        for _ in range(times):
            run()
        seconds.append((time.perf_counter() - started) / times)
    return float(np.median(seconds))
