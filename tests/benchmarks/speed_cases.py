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
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from published_loop import PublishedLoop, build_discriminator, build_generator
from speed_tools import (
    MINORITY,
    SIDE,
    build_egan,
    random_rows,
    repeated,
    smooth_images,
    step_of_fit,
)

import egan_keras as ek
from egan_keras import baselines, features, networks
from egan_keras.features import inference

SMALL_BACKBONE, LARGE_BACKBONE = "MobileNetV2:alpha=0.35", "DenseNet121"
FEATURES = 1280

_BATCH = 128


def published_eager(backbone: str) -> dict:
    """The published loop, both whole networks at each step, op by op."""
    loop, majority, minority = _published(backbone)
    return {"step_s": repeated(lambda: loop.step(majority, minority), 3)}


def published_compiled(backbone: str) -> dict:
    """The same as one graph."""
    loop, majority, minority = _published(backbone)
    step = tf.function(loop.step)
    return {"step_s": repeated(lambda: step(majority, minority), 10)}


def published_cached(backbone: str) -> dict:
    """The same mathematics by `EGAN.fit`, with frozen features."""
    model = build_egan(backbone, recipe="published", weights=None)
    return {"step_s": step_of_fit(model, *smooth_images(10 * _BATCH))}


def default_recipe(backbone: str, batch_size: int = _BATCH) -> dict:
    """The default recipe by `EGAN.fit`, on features as long as the backbone's."""
    sizes = _feature_sizes(backbone)
    model = ek.EGAN.from_features(None, sizes, **_batch_sizes(batch_size))
    model.compile()
    return {"step_s": step_of_fit(model, *random_rows(40 * batch_size, sum(sizes)))}


def bare_work(backbone: str, batch_size: int = _BATCH) -> dict:
    """Forward and backward pass of what the default recipe trains, and nothing else."""
    size = sum(_feature_sizes(backbone))
    recipe = networks.get_recipe("default", **_batch_sizes(batch_size))
    shapes = [(size, recipe.latent_size), (recipe.latent_size, recipe.latent_size)]
    shapes += [(recipe.latent_size, size), (size, 1)]
    kernels = [tf.random.normal(shape) / 40 for shape in shapes]
    majority = tf.random.normal((recipe.batch_size, size))
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
    return {"step_s": repeated(lambda: steps(count), 1) / 200}


def batch_size(count: str) -> dict:
    """Both of these at a batch size, on the features of the large backbone."""
    step = default_recipe(LARGE_BACKBONE, int(count))["step_s"]
    return {"step_s": step, "bare_s": bare_work(LARGE_BACKBONE, int(count))["step_s"]}


def _batch_sizes(count: int) -> dict[str, int]:
    """Returns choices of batch sizes, the minority's in the recipe's proportion."""
    recipe = networks.get_recipe("default")
    minority = count * recipe.minority_batch_size // recipe.batch_size
    return {"batch_size": count, "minority_batch_size": minority}


def losses_agree(backbone: str) -> dict:
    """Losses of the published loop and of `EGAN.fit`, dropout off, six steps."""
    weights = "imagenet"
    try:
        loop, majority, minority = _published(backbone, weights, dropout=0.0)
    except OSError:
        return {"difference": None}
    model = build_egan(backbone, "published", weights, dropout=0.0, minimum_steps=1)
    for mine, theirs in (
        (model.generator, loop.generator),
        (model.discriminator, loop.discriminator),
    ):
        own = [w for w in mine.stem.weights + mine.tail.weights if "seed" not in w.path]
        for weight, value in zip(own, theirs.weights, strict=True):
            weight.assign(value)
    images, labels = smooth_images(_BATCH)
    history = model.fit(images, labels, epochs=6, shuffle=False, verbose=0).history
    expected = np.array([loop.step(majority, minority) for _ in range(6)])
    seen = np.stack([history["discriminator_loss"], history["generator_loss"]], axis=1)
    return {"difference": float(np.abs(seen / expected - 1).max())}


def trained_model(_: str) -> dict:
    """Seconds from 5,000 + 2 images to a trained model, and to logistic regression."""
    images, labels = smooth_images(5_000)
    found, worth = {}, inference._WORTH_CONVERTING
    for name, choices in {"egan": {}, "pooled": {"place_depths": 0}}.items():
        started = time.perf_counter()
        model = build_egan(SMALL_BACKBONE, weights=None, **choices)
        model.fit(images, labels, verbose=0)
        found[f"{name}_s"] = time.perf_counter() - started
    for engine, own in {"keras": float("inf"), "litert": worth}.items():
        inference._WORTH_CONVERTING = own
        started = time.perf_counter()
        recipe = networks.get_recipe("default")
        stem, _ = networks.pooled_features(
            ek.Backbone.parse(SMALL_BACKBONE), recipe, images.shape[1:], weights=None
        )
        (rows,) = features.stem_features(stem, images)
        baselines.logistic_regression_scores(rows, labels, rows[:1])
        found[f"regression_{engine}_s"] = time.perf_counter() - started
    return found


def majority_images(count: str) -> dict:
    """An epoch of the default recipe on so many rows of features, read from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        _write_rows(path, int(count) + MINORITY)
        labels = np.zeros(int(count) + MINORITY, np.int32)
        labels[-MINORITY:] = 1
        model = ek.EGAN.from_features(None, FEATURES)
        model.compile()
        stored = np.load(path, mmap_mode="r")
        epochs = 2 if int(count) >= 1_000_000 else 5
        step = step_of_fit(model, stored, labels, epochs)
        steps = max(int(count) / _BATCH, model.recipe.minimum_steps)
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


def folder_of_files(count: str) -> dict:
    """An epoch of the default recipe on a folder of so many files, read as needed."""
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder) / "images", Path(folder) / "features"
        _write_files(root, int(count))
        started = time.perf_counter()
        train = ek.load_folder(
            root,
            majority="good",
            minority="bad",
            validation_fraction=0,
            test_fraction=0,
            lazy=True,
        ).train
        listed = time.perf_counter()
        model = build_egan("MobileNet:alpha=0.25", network_size=SIDE)
        data = train.images, train.labels
        model.fit(*data, epochs=1, cache_features=cache, verbose=0)
        trained = time.perf_counter()
    return {"listing_s": listed - started, "training_s": trained - listed}


def _write_files(root: Path, count: int) -> None:
    """Writes so many majority images and a few minority ones: links to 1,000 files."""
    distinct = min(count, 1_000)
    for index, image in enumerate(smooth_images(distinct)[0]):
        folder = root / ("good" if index < distinct else "bad")
        folder.mkdir(parents=True, exist_ok=True)
        keras.utils.save_img(folder / f"{index:07}.png", image, scale=False)
    for index in range(distinct, count):
        original = root / "good" / f"{index % distinct:07}.png"
        os.link(original, root / "good" / f"{index:07}.png")


def minority_images(count: str) -> dict:
    """A step of the default recipe with so many minority images."""
    rows, labels = random_rows(40 * _BATCH, FEATURES, int(count))
    model = ek.EGAN.from_features(None, FEATURES)
    model.compile()
    return {"step_s": step_of_fit(model, rows, labels)}


def network_size(side: str) -> dict:
    """Seconds that the stem takes for 1,000 images at a network size."""
    model = build_egan(SMALL_BACKBONE, weights=None, network_size=int(side))
    stem = model.discriminator.stem
    images = smooth_images(1_000 - MINORITY)[0]
    return {"features_s": repeated(lambda: features.stem_features(stem, images), 1)}


def trained_layers(count: str) -> dict:
    """A step of the published recipe that trains so many last layers."""
    model = build_egan(SMALL_BACKBONE, "published", None, trained_layers=int(count))
    return {"step_s": step_of_fit(model, *smooth_images(10 * _BATCH))}


def _published(backbone, weights=None, dropout=0.2):
    def built():
        return ek.Backbone.parse(backbone).build(SIDE, weights=weights)

    loop = PublishedLoop(
        build_generator(built()),
        build_discriminator(built(), dropout),
        lambda: keras.optimizers.Adam(1e-4),
    )
    images = tf.constant(smooth_images(_BATCH)[0] / 255, tf.float32)
    return loop, images[:_BATCH], images[_BATCH:]


def _feature_sizes(backbone: str) -> list[int]:
    recipe = networks.get_recipe("default")
    shape = (SIDE, SIDE, 3)
    return networks.pooled_features(
        ek.Backbone.parse(backbone), recipe, shape, weights=None
    )[1]


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    measured = globals()[sys.argv[1]](sys.argv[2])
    print(json.dumps({**measured, "peak_bytes": _peak_bytes()}))
