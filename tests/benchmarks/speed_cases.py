"""The cases of the speed benchmark, each run in a process of its own.

    python tests/benchmarks/speed_cases.py CASE NUMBER_OR_BACKBONE

prints one line of JSON. `speed.py` runs them all.
"""

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from published_loop import PublishedLoop, build_discriminator, build_generator

import egan_keras as ek
from egan_keras import baselines, features, networks

SMALL_BACKBONE = "MobileNetV2:alpha=0.35"
FEATURES = 1280

_SIDE = 32
_BATCH = 128
_MINORITY = 2


def published_eager(backbone: str) -> dict:
    """The published loop, both whole networks at each step, op by op."""
    loop, majority, minority = _published(backbone)
    return {"step_s": _repeated(lambda: loop.step(majority, minority), 3)}


def published_compiled(backbone: str) -> dict:
    """The same as one graph."""
    loop, majority, minority = _published(backbone)
    step = tf.function(loop.step)
    return {"step_s": _repeated(lambda: step(majority, minority), 10)}


def published_cached(backbone: str) -> dict:
    """The same mathematics by `EGAN.fit`, with frozen features."""
    model = _egan(backbone, recipe="published", weights=None)
    return {"step_s": _step_of_fit(model, *_images(10 * _BATCH))}


def default_recipe(backbone: str) -> dict:
    """The default recipe by `EGAN.fit`, on features as long as the backbone's."""
    sizes = _feature_sizes(backbone)
    model = ek.EGAN.from_features(None, sizes)
    model.compile()
    return {"step_s": _step_of_fit(model, *_rows(40 * _BATCH, sum(sizes)))}


def bare_work(backbone: str) -> dict:
    """Forward and backward pass of what the default recipe trains, and nothing else."""
    size = sum(_feature_sizes(backbone))
    recipe = networks.get_recipe("default")
    shapes = [(size, recipe.latent_size), (recipe.latent_size, recipe.latent_size)]
    shapes += [(recipe.latent_size, size), (size, 1)]
    kernels = [tf.random.normal(shape) / 40 for shape in shapes]
    majority = tf.random.normal((_BATCH, size))
    minority = tf.random.normal((recipe.minority_batch_size, size))

    @tf.function
    def steps(count):
        total = 0.0
        for step in tf.range(count):
            # What differs at each step cannot be computed once.
            shift = 1e-6 * tf.cast(step, tf.float32)
            with tf.GradientTape() as tape:
                tape.watch(kernels)
                x = tf.nn.leaky_relu((minority + shift) @ kernels[0])
                x = tf.nn.leaky_relu(x @ kernels[1])
                fakes = minority + x @ kernels[2]
                scores = (majority + shift) @ kernels[3], fakes @ kernels[3]
                loss = sum(tf.reduce_mean(tf.nn.softplus(each)) for each in scores)
            gradients = tape.gradient(loss, kernels)
            total += sum(tf.reduce_sum(each) for each in gradients)
        return total

    count = tf.constant(200)
    return {"step_s": _repeated(lambda: steps(count), 1) / 200}


def losses_agree(backbone: str) -> dict:
    """Losses of the published loop and of `EGAN.fit`, dropout off, six steps."""
    weights = "imagenet"
    try:
        loop, majority, minority = _published(backbone, weights, dropout=0.0)
    except OSError:
        return {"difference": None}
    model = _egan(backbone, "published", weights, dropout=0.0, minimum_steps=1)
    for mine, theirs in (
        (model.generator, loop.generator),
        (model.discriminator, loop.discriminator),
    ):
        own = [w for w in mine.stem.weights + mine.tail.weights if "seed" not in w.path]
        for weight, value in zip(own, theirs.weights, strict=True):
            weight.assign(value)
    images, labels = _images(_BATCH)
    history = model.fit(images, labels, epochs=6, shuffle=False, verbose=0).history
    expected = np.array([loop.step(majority, minority) for _ in range(6)])
    seen = np.stack([history["discriminator_loss"], history["generator_loss"]], axis=1)
    return {"difference": float(np.abs(seen / expected - 1).max())}


def trained_model(_: str) -> dict:
    """Seconds from 5,000 + 2 images to a trained model, and to logistic regression."""
    images, labels = _images(5_000)
    started = time.perf_counter()
    model = _egan(SMALL_BACKBONE, weights=None)
    model.fit(images, labels, verbose=0)
    egan = time.perf_counter() - started
    started = time.perf_counter()
    recipe = networks.get_recipe("default")
    stem, _ = networks.pooled_features(
        ek.Backbone.parse(SMALL_BACKBONE), recipe, images.shape[1:], weights=None
    )
    (rows,) = features.in_batches(features.StemFunction(stem), images)
    baselines.logistic_regression_scores(rows, labels, rows[:1])
    return {"egan_s": egan, "regression_s": time.perf_counter() - started}


def majority_images(count: str) -> dict:
    """An epoch of the default recipe on so many rows of features, read from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        _write_rows(path, int(count) + _MINORITY)
        labels = np.zeros(int(count) + _MINORITY, np.int32)
        labels[-_MINORITY:] = 1
        model = ek.EGAN.from_features(None, FEATURES)
        model.compile()
        stored = np.load(path, mmap_mode="r")
        epochs = 2 if int(count) >= 1_000_000 else 5
        step = _step_of_fit(model, stored, labels, epochs)
        steps = max(int(count) / _BATCH, model.choices.minimum_steps)
        return {"epoch_s": step * steps}


def _write_rows(path: Path, count: int) -> None:
    """Writes random features; not through a mapping, which would count as memory."""
    shape = (count, FEATURES)
    offset = np.lib.format.open_memmap(path, "w+", np.float32, shape).offset
    random = np.random.default_rng(0)
    with path.open("r+b") as file:
        file.seek(offset)
        for start in range(0, count, 10_000):
            part = (min(10_000, count - start), FEATURES)
            file.write(random.standard_normal(part, np.float32).data)


def minority_images(count: str) -> dict:
    """A step of the default recipe with so many minority images."""
    rows, labels = _rows(40 * _BATCH, FEATURES, int(count))
    model = ek.EGAN.from_features(None, FEATURES)
    model.compile()
    return {"step_s": _step_of_fit(model, rows, labels)}


def network_size(side: str) -> dict:
    """Seconds that the stem takes for 1,000 images at a network size."""
    model = _egan(SMALL_BACKBONE, weights=None, network_size=int(side))
    compute = features.StemFunction(model.discriminator.stem)
    images = _images(1_000 - _MINORITY)[0]
    return {"features_s": _repeated(lambda: features.in_batches(compute, images), 1)}


def trained_layers(count: str) -> dict:
    """A step of the published recipe that trains so many last layers."""
    model = _egan(SMALL_BACKBONE, "published", None, trained_layers=int(count))
    return {"step_s": _step_of_fit(model, *_images(10 * _BATCH))}


def _published(backbone, weights=None, dropout=0.2):
    def built():
        return ek.Backbone.parse(backbone).build(_SIDE, weights=weights)

    loop = PublishedLoop(
        build_generator(built()),
        build_discriminator(built(), dropout),
        lambda: keras.optimizers.Adam(1e-4),
    )
    images = tf.constant(_images(_BATCH)[0] / 255, tf.float32)
    return loop, images[:_BATCH], images[_BATCH:]


def _egan(backbone, recipe="default", weights=None, **choices) -> ek.EGAN:
    model = ek.EGAN.from_backbones(
        backbone,
        backbone,
        image_shape=(_SIDE, _SIDE, 3),
        recipe=recipe,
        weights=weights,
        **choices,
    )
    model.compile()
    return model


def _feature_sizes(backbone: str) -> list[int]:
    recipe = networks.get_recipe("default")
    shape = (_SIDE, _SIDE, 3)
    return networks.pooled_features(
        ek.Backbone.parse(backbone), recipe, shape, weights=None
    )[1]


def _images(majority: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns so many majority images and two minority ones, smooth random patterns."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (majority + _MINORITY, 4, 4, 3), "uint8")
    images = coarse.repeat(8, axis=1).repeat(8, axis=2)
    return images, (np.arange(len(images)) >= majority).astype("int32")


def _rows(majority: int, size: int, minority: int = _MINORITY):
    rows = np.random.default_rng(0).normal(size=(majority + minority, size))
    labels = (np.arange(len(rows)) >= majority).astype("int32")
    return rows.astype("float32"), labels


class _EpochClock(keras.callbacks.Callback):
    """Notes how long each epoch took and how many steps it had."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[tuple[float, int]] = []

    def on_epoch_begin(self, epoch, logs=None):
        self._started, self._steps = time.perf_counter(), 0

    def on_train_batch_end(self, batch, logs=None):
        self._steps = batch + 1

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((time.perf_counter() - self._started, self._steps))


def _step_of_fit(model: ek.EGAN, inputs, labels, epochs: int = 4) -> float:
    """Returns the median over epochs, the first left out, of seconds a step."""
    clock = _EpochClock()
    model.fit(inputs, labels, epochs=epochs, verbose=0, callbacks=[clock])
    return float(np.median([seconds / steps for seconds, steps in clock.epochs[1:]]))


def _repeated(run: Callable[[], object], times: int, repeats: int = 3) -> float:
    """Returns the median of seconds a run, the first run left out."""
    run()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        for _ in range(times):
            run()
        seconds.append((time.perf_counter() - started) / times)
    return float(np.median(seconds))


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    measured = globals()[sys.argv[1]](sys.argv[2])
    print(json.dumps({**measured, "peak_bytes": _peak_bytes()}))
