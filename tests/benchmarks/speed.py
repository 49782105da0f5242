"""Measures speed and memory, and prints them as one table with ratios.

    python tests/benchmarks/speed.py [--repeats N] [--largest N] [--out FILE]

Each case runs in a process of its own, several times; medians are shown. Where a row is
compared with another, both come from this run.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from egan_keras.version import versions

_CASES = Path(__file__).with_name("speed_cases.py")
_ENGINES = Path(__file__).with_name("speed_engines.py")
_SMALL, _LARGE = "MobileNetV2:alpha=0.35", "DenseNet121"
_MAJORITY = (1_000, 10_000, 100_000, 1_000_000)
_MINORITY = (2, 50, 500, 5_000)
_SIDES = (32, 96, 128, 224)
_DEPTHS = (5, 20, 60)
_BATCHES = (128, 256, 512, 1_024)
_FILES = (10_000, 100_000, 1_000_000)
_STEMS = (
    "MobileNetV2:alpha=0.35@128",
    "MobileNetV2:alpha=0.35@224",
    "MobileNetV2@224",
    "EfficientNetV2B0@224",
    "ResNet50@224",
    "DenseNet121@224",
)

Measure = Callable[[str, object], dict[str, float]]


def main() -> None:
    """Runs all cases and prints the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="processes a case")
    parser.add_argument(
        "--largest",
        type=int,
        default=_MAJORITY[-1],
        help="most majority images; 1,000,000 take 5 GB of disk (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, help="file for the report")
    arguments = parser.parse_args()

    def measure(case: str, argument: object) -> dict[str, float]:
        print(f"{case} {argument}", file=sys.stderr, flush=True)
        repeats = 1 if argument == _MAJORITY[-1] else arguments.repeats
        return _medians(case, argument, repeats)

    text = "\n".join(_report(measure, arguments.largest, arguments.repeats))
    print(text)
    if arguments.out:
        temporary = arguments.out.with_name(f".{arguments.out.name}")
        temporary.write_text(text + "\n", "utf-8")
        temporary.replace(arguments.out)


def _medians(case: str, argument: object, repeats: int) -> dict[str, float]:
    runs = []
    for _ in range(repeats):
        file = _ENGINES if case in ("stem", "start") else _CASES
        command = [sys.executable, str(file), case, str(argument)]
        # Nothing is there that an earlier process kept.
        with tempfile.TemporaryDirectory() as cache:
            own = {**os.environ, "EGAN_KERAS_CACHE": cache}
            done = subprocess.run(command, capture_output=True, text=True, env=own)
        if done.returncode:
            raise SystemExit(f"{case} {argument} failed:\n{done.stderr[-3000:]}")
        runs.append(json.loads(done.stdout.strip().splitlines()[-1]))
    return {
        name: statistics.median(run[name] for run in runs)
        if runs[0][name] is not None
        else None
        for name in runs[0]
    }


def _report(measure: Measure, largest: int, repeats: int) -> Iterable[str]:
    found = versions()
    yield "# Speed and scale"
    yield ""
    yield f"    {' '.join(['python', *sys.argv])}"
    yield ""
    yield (
        f"Run {datetime.date.today()} on {platform.machine()}, {os.cpu_count()} cores, "
        f"no GPU; medians within a process, and over {repeats} of them (of one for "
        "1,000,000 images). "
        + ", ".join(f"{name} {version}" for name, version in found.items())
        + "."
    )
    for backbone in (_SMALL, _LARGE):
        yield from _steps(measure, backbone)
    yield from _losses(measure)
    yield from _stems(measure)
    yield from _trained(measure)
    yield from _starting(measure)
    yield from _majority(measure, largest)
    yield from _files(measure, largest)
    yield from _minority(measure)
    yield from _batches(measure)
    yield from _sizes(measure)
    yield from _depths(measure)


def _steps(measure: Measure, backbone: str) -> Iterable[str]:
    """One step of each way to train, as multiples of the published loop."""
    rows = (
        ("a", "published recipe as published, op by op", "published_eager"),
        ("b", "the same, compiled", "published_compiled"),
        ("c", "`EGAN`, recipe `published`, frozen features", "published_cached"),
        ("d", "`EGAN`, recipe `default`", "default_recipe"),
        ("e", "bare forward and backward pass of (d)'s trained layers", "bare_work"),
    )
    measured = {letter: measure(case, backbone) for letter, _, case in rows}
    slowest, bare = measured["a"]["step_s"], measured["e"]["step_s"]
    yield from _head(
        f"One step, {backbone}->{backbone}, 128 + 2 images",
        ["", "what", "ms a step", "times (a)'s steps a second", "of (e)", "peak MB"],
    )
    for letter, what, _ in rows:
        step = measured[letter]["step_s"]
        yield _row(
            f"({letter})",
            what,
            f"{1e3 * step:,.2f}",
            f"{slowest / step:,.0f}",
            f"{step / bare:,.1f}",
            _megabytes(measured[letter]["peak_bytes"]),
        )


def _losses(measure: Measure) -> Iterable[str]:
    difference = measure("losses_agree", _SMALL)["difference"]
    yield ""
    if difference is None:
        yield "Losses of (a) and (c) were not compared: there are no ImageNet weights."
    else:
        yield (
            f"Both losses of (a) and (c) on {_SMALL} with ImageNet weights, from the "
            "same weights and batches without dropout: largest relative difference "
            f"over six steps {difference:.1e}."
        )


def _stems(measure: Measure) -> Iterable[str]:
    yield from _head(
        "Frozen stems, with the maps that `default` reads, 16 images at a time",
        ["stem@pixels", "Keras, images a second", "LiteRT", "ratio", "difference"],
    )
    for name in _STEMS:
        found = measure("stem", name)
        rates = [f"{found[f'{own}_images_s']:,.0f}" for own in ("keras", "litert")]
        yield _row(name, *rates, f"{found['ratio']:.2f}", f"{found['difference']:.0e}")
    yield ""
    yield (
        "The ratio is the median over turns. The difference is the largest root mean "
        "square of an output, in its standard deviations."
    )


def _starting(measure: Measure) -> Iterable[str]:
    found = measure("start", _SMALL)
    yield from _head("Starting", ["what", "seconds"])
    for what, name in {
        "`import tensorflow`": "tensorflow_s",
        "`import egan_keras; egan_keras.EGAN`": "egan_keras_s",
        "`egan-keras score --help`": "help_s",
        "`egan-keras score egan.tflite a.png`": "tflite_s",
        "`egan-keras score egan.keras a.png`": "keras_s",
    }.items():
        yield _row(what, f"{found[name]:.2f}")


def _trained(measure: Measure) -> Iterable[str]:
    measured = measure("trained_model", "-")
    ours = measured["egan_s"]
    yield from _head(
        f"Seconds to a trained model, 5,000 + 2 images, {_SMALL}",
        ["", "what", "seconds", "ratio"],
    )
    yield _row("(d)", "`default`, features included", f"{ours:.1f}", "")
    regression = "logistic regression on features by {}, these included"
    for letter, what, name in (
        ("(h)", "`default` without places, `place_depths=0`", "pooled_s"),
        ("(f)", regression.format("Keras"), "regression_keras_s"),
        ("(g)", regression.format("LiteRT"), "regression_litert_s"),
    ):
        theirs = measured[name]
        yield _row(letter, what, f"{theirs:.1f}", f"{ours / theirs:.2f}")


def _majority(measure: Measure, largest: int) -> Iterable[str]:
    yield from _head(
        "Majority images: an epoch of `default` on 1,280 features read from a file",
        ["images", "seconds an epoch", "microseconds an image", "peak MB"],
    )
    for count in (count for count in _MAJORITY if count <= largest):
        measured = measure("majority_images", count)
        yield _row(
            f"{count:,}",
            f"{measured['epoch_s']:,.2f}",
            f"{1e6 * measured['epoch_s'] / count:,.1f}",
            _megabytes(measured["peak_bytes"]),
        )
    yield ""
    yield "An epoch has 40 steps at least, which 1,000 images are too few for."


def _files(measure: Measure, largest: int) -> Iterable[str]:
    yield from _head(
        "A folder of files of 32 pixels: features and an epoch of `default`, "
        "MobileNet:alpha=0.25",
        ["files", "seconds to list", "seconds to train", "files a second", "peak MB"],
    )
    for count in (count for count in _FILES if count <= largest):
        measured = measure("folder_of_files", count)
        listing, training = measured["listing_s"], measured["training_s"]
        yield _row(
            f"{count:,}",
            f"{listing:,.1f}",
            f"{training:,.1f}",
            f"{count / (listing + training):,.0f}",
            _megabytes(measured["peak_bytes"]),
        )


def _minority(measure: Measure) -> Iterable[str]:
    yield from _head(
        "Minority images: a step of `default`", ["images", "ms a step", "peak MB"]
    )
    for count in _MINORITY:
        measured = measure("minority_images", count)
        step = f"{1e3 * measured['step_s']:,.2f}"
        yield _row(f"{count:,}", step, _megabytes(measured["peak_bytes"]))


def _batches(measure: Measure) -> Iterable[str]:
    yield from _head(
        f"Batch size: a step of `default` on features of {_LARGE}, a fourth as many "
        "minority images",
        ["majority images", "(d), ms", "(e), ms", "of (e)", "images a second"],
    )
    for count in _BATCHES:
        measured = measure("batch_size", count)
        step, bare = measured["step_s"], measured["bare_s"]
        yield _row(
            f"{count:,}",
            f"{1e3 * step:.2f}",
            f"{1e3 * bare:.2f}",
            f"{step / bare:.1f}",
            f"{count / step:,.0f}",
        )


def _sizes(measure: Measure) -> Iterable[str]:
    yield from _head(
        f"Network size: frozen features of 1,000 images, {_SMALL}",
        ["pixels", "seconds", "images a second"],
    )
    for side in _SIDES:
        seconds = measure("network_size", side)["features_s"]
        yield _row(str(side), f"{seconds:.2f}", f"{1_000 / seconds:,.0f}")


def _depths(measure: Measure) -> Iterable[str]:
    yield from _head(
        f"Depth of the cut: a step of `published`, {_SMALL}",
        ["last layers trained", "ms a step", "peak MB"],
    )
    for count in _DEPTHS:
        measured = measure("trained_layers", count)
        step = f"{1e3 * measured['step_s']:,.1f}"
        yield _row(str(count), step, _megabytes(measured["peak_bytes"]))


def _head(title: str, columns: list[str]) -> Iterable[str]:
    yield from ("", f"## {title}", "", _row(*columns))
    yield _row(*["---"] * len(columns))


def _row(*entries: str) -> str:
    return f"| {' | '.join(entries)} |"


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f}"


if __name__ == "__main__":
    main()
