"""Measures the stems and the steps on one device, and prints a table.

    KERAS_BACKEND=jax python tests/benchmarks/gpu.py [--data ROOT] [--out FILE]

runs on TensorFlow, JAX or PyTorch, whichever KERAS_BACKEND names, on the accelerator
that this backend finds, else on the processor. Rates are shown beside the device's own,
measured in the same run: of a multiplication of square matrices, and of a copy. With
ROOT, which holds train and test folders of the classes automobile and airplane, it also
trains on ten airplanes, a few seeds, and judges the scores of the test images.
"""

import argparse
import datetime
import os
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from gpu_backends import BACKEND, is_gpu, peak_bytes, wait_for
from keras import ops
from sklearn.metrics import roc_auc_score
from speed_tools import build_egan, random_rows, smooth_images, step_of_fit

import egan_keras as ek
from egan_keras.version import versions

_STEMS = ("MobileNetV2", "DenseNet121", "EfficientNetV2B0")
_TYPES = {"float32": "float32", "mixed_bfloat16": "bfloat16"}
_FEATURES = [1024, 512]
_REPEATS = 5


def main() -> None:
    """Runs all measurements and prints the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=224, help="(default: 224)")
    parser.add_argument(
        "--batch-size",
        type=int,
        default=256 if is_gpu() else 16,
        help="images a batch (default: %(default)s)",
    )
    parser.add_argument(
        "--stems",
        nargs="*",
        default=_STEMS,
        metavar="BACKBONE",
        help=f"backbones to measure, or none (default: {' '.join(_STEMS)})",
    )
    parser.add_argument(
        "--steps-per-execution",
        type=int,
        metavar="N",
        help="steps that Keras starts at once (default: the backend's)",
    )
    parser.add_argument("--data", type=Path, metavar="ROOT", help="folder of images")
    parser.add_argument("--seeds", type=int, default=5, help="(default: 5)")
    parser.add_argument("--out", type=Path, help="file for the report")
    arguments = parser.parse_args()
    lines = []
    for line in _report(arguments):
        print(line, flush=True)
        lines.append(line)
    if arguments.out:
        temporary = arguments.out.with_name(f".{arguments.out.name}")
        temporary.write_text("\n".join(lines) + "\n", "utf-8")
        temporary.replace(arguments.out)


def _report(arguments: argparse.Namespace) -> Iterable[str]:
    keras.utils.set_random_seed(0)
    found = ", ".join(f"{name} {version}" for name, version in versions().items())
    yield f"# Stems and steps on {BACKEND.device()}, backend {keras.backend.backend()}"
    yield ""
    yield (
        f"Run {datetime.date.today()}, {os.cpu_count()} processor cores; medians of "
        f"{_REPEATS}. {found}."
    )
    rates = {dtype: _matrix_rate(dtype) for dtype in _TYPES.values()}
    bandwidth = _copy_bandwidth()
    yield ""
    for dtype, rate in rates.items():
        yield f"- Matrix multiplications, {dtype}: {rate / 1e12:,.2f} TFLOP/s"
    yield f"- Copy, read and written: {bandwidth / 1e9:,.1f} GB/s"
    if arguments.stems:
        yield from _stems(arguments, rates)
    yield from _steps(rates["float32"], bandwidth, arguments.steps_per_execution)
    if arguments.data:
        yield from _trainings(arguments.data, arguments.seeds)


def _matrix_rate(dtype: str) -> float:
    """Returns floating-point operations a second of square matrix products."""
    side, products = (8192, 20) if is_gpu() else (1024, 4)
    matrix = ops.cast(keras.random.normal((side, side)) / side**0.5, dtype)

    def multiply(x):
        for _ in range(products):
            x = ops.matmul(x, matrix)
        return x

    return 2 * side**3 * products / _seconds(BACKEND.compiled(multiply), matrix)


def _copy_bandwidth() -> float:
    """Returns bytes read and written a second by an operation on each element."""
    count, passes = (2**28, 10) if is_gpu() else (2**24, 4)
    vector = ops.zeros((count,), "float32")
    add_one = BACKEND.compiled(lambda x: x + 1.0)

    def passed_over(x):
        for _ in range(passes):
            x = add_one(x)
        return x

    return 2 * 4 * count * passes / _seconds(passed_over, vector)


def _stems(arguments: argparse.Namespace, rates: dict[str, float]) -> Iterable[str]:
    side, batch_size = arguments.side, arguments.batch_size
    yield from _head(
        f"Frozen stems, {batch_size} images of {side} pixels a batch",
        [
            "backbone",
            "policy",
            "images a second on the device",
            "of the matrix rate",
            "images a second from the host's memory",
            "peak MB so far",
        ],
    )
    pixels = np.random.default_rng(0).integers(0, 256, (batch_size, side, side, 3))
    pixels = pixels.astype("uint8")
    for policy, dtype in _TYPES.items():
        keras.config.set_dtype_policy(policy)
        for name in arguments.stems:
            stem = ek.Backbone.parse(name).build(side, weights=None)
            run = BACKEND.compiled(lambda x, stem=stem: stem(x, training=False))
            images = ops.convert_to_tensor(pixels.astype("float32"))
            inside = batch_size / _seconds(run, images)

            def from_host(x, run=run):
                features = run(ops.cast(ops.convert_to_tensor(x), "float32"))
                return ops.convert_to_numpy(ops.cast(features, "float32"))

            outside = batch_size / _seconds(from_host, pixels)
            share = inside * _forward_flops(stem) / rates[dtype]
            yield _row(
                name,
                policy,
                f"{inside:,.0f}",
                f"{share:.0%}",
                f"{outside:,.0f}",
                f"{peak_bytes() / 1e6:,.0f}",
            )
    keras.config.set_dtype_policy("float32")


def _steps(rate: float, bandwidth: float, at_once: int | None) -> Iterable[str]:
    yield from _head(
        "Steps of `fit`, 128 majority images, float32",
        [
            "recipe",
            "majority images",
            "ms a step",
            "of the matrix rate",
            "of the copy bandwidth",
        ],
    )
    default = ek.EGAN.from_features(None, _FEATURES)
    published = build_egan("MobileNetV2:alpha=0.35", "published")
    options = {"steps_per_execution": at_once} if at_once else {}
    for model in (default, published):
        model.compile(**options)
    for model, rows, draw in (
        (default, 5_120, lambda rows: random_rows(rows, sum(_FEATURES))),
        (default, 102_400, lambda rows: random_rows(rows, sum(_FEATURES))),
        (published, 5_120, smooth_images),
    ):
        data = draw(rows)
        seconds = step_of_fit(model, *data)
        minority = model.recipe.minority_batch_size or int(data[1].sum())
        # The backward pass counts as two forward ones.
        flops = 3 * (
            minority * _forward_flops(model.generator.tail)
            + (128 + minority) * _forward_flops(model.discriminator.tail)
        )
        # Adam reads weight, gradient and two moments, and writes all but the gradient.
        moved = 7 * 4 * sum(int(np.prod(w.shape)) for w in model.trainable_variables)
        yield _row(
            str(model.recipe),
            f"{rows:,}",
            f"{1e3 * seconds:.2f}",
            f"{flops / seconds / rate:.1%}",
            f"{moved / seconds / bandwidth:.1%}",
        )
    yield ""
    yield (
        "Shares count multiplications in layers with kernels, and Adam's passes over "
        "the weights."
    )


def _trainings(data: Path, seeds: int) -> Iterable[str]:
    yield from _head(
        "Automobiles and ten airplanes, MobileNetV2 alpha 0.35, default recipe",
        ["seed", "test AUROC", "seconds of `fit`"],
    )
    backbone = "MobileNetV2:alpha=0.35"
    found = []
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        train, _, test = ek.load_folder(
            data,
            majority="automobile",
            minority="airplane",
            minority_count=10,
            seed=seed,
        )
        model = ek.EGAN.from_backbones(
            backbone, backbone, image_shape=train.images.shape[1:]
        )
        model.compile()
        started = time.perf_counter()
        model.fit(train.images, train.labels, verbose=0, cache_features="memory")
        seconds = time.perf_counter() - started
        scores = model.predict(test.images, verbose=0)[:, 0]
        found.append(roc_auc_score(test.labels, -scores))
        yield _row(str(seed), f"{found[-1]:.4f}", f"{seconds:.1f}")
    yield ""
    yield (
        f"Mean {statistics.mean(found):.4f}, standard deviation "
        f"{statistics.stdev(found):.4f}."
    )


def _forward_flops(model: keras.Model) -> int:
    """Returns floating-point operations for one image of layers with a kernel."""
    total = 0
    for layer in model._flatten_layers(include_self=False):
        kernel = getattr(layer, "kernel", None)
        if kernel is None:
            continue
        transposed = isinstance(layer, keras.layers.Conv2DTranspose)
        places = (layer.input if transposed else layer.output).shape[1:-1]
        total += 2 * int(np.prod(kernel.shape)) * int(np.prod(places))
    return total


def _seconds(run: Callable, argument) -> float:
    """Returns the median of seconds a run, the first two left out."""
    seconds = []
    for _ in range(2 + _REPEATS):
        started = time.perf_counter()
        wait_for(run(argument))
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[2:])


def _head(title: str, columns: list[str]) -> Iterable[str]:
    yield from ("", f"## {title}", "", _row(*columns))
    yield _row(*["---"] * len(columns))


def _row(*entries: str) -> str:
    return f"| {' | '.join(entries)} |"


if __name__ == "__main__":
    main()
