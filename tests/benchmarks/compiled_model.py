"""Times LiteRT's Interpreter and its CompiledModel, call by call in turns.

    python tests/benchmarks/compiled_model.py [--out FILE] [BACKBONE@SIDE ...]

Of each backbone, with random weights, which time does not depend on: an exported file
as float32 and int8, an image at once on one thread, as `TFLiteModel` runs it; and a
frozen stem with as many images at once as features are computed with, on all
processors; for CompiledModel it is converted for that number.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.compiled_model import CompiledModel, CpuOptions, Options
from ai_edge_litert.interpreter import Interpreter

import egan_keras as ek
from egan_keras.exporting import conversion
from egan_keras.exporting.int8 import quantize_int8
from egan_keras.features import inference
from egan_keras.litert import LiteRTFunction

_CASES = (
    "MobileNetV2:alpha=0.35@32 MobileNetV2:alpha=0.35@96 MobileNetV2:alpha=0.35@224 "
    "MobileNetV2@96 MobileNetV2@224 DenseNet121@96 ResNet50@96"
).split()
_ROUNDS, _IMAGES, _PASSES = 9, 40, 4


def main() -> None:
    """Times each case, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", metavar="BACKBONE@SIDE", nargs="*", default=_CASES)
    parser.add_argument("--out", type=Path, help="file for the table")
    arguments = parser.parse_args()
    lines = [
        "| what | images at once | ms, Interpreter | ms, CompiledModel | "
        "ratio, lowest to highest of 9 rounds | of processor time | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in arguments.cases:
        for line in _measure(case):
            print(line, flush=True)
            lines.append(line)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", "utf-8")


def _measure(case: str) -> Iterator[str]:
    spec, side = case.split("@")
    shape = (int(side), int(side), 3)
    keras.utils.set_random_seed(0)
    model = ek.EGAN.from_backbones(
        spec, spec, image_shape=shape, network_size=int(side), weights=None
    )
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (_IMAGES, *shape), "uint8")
    with tempfile.TemporaryDirectory() as folder:
        conversion.write_saved_model(model, folder, "uint8", batch_size=1)
        content = conversion.convert(folder, "none")
    one_by_one = [image[None] for image in images]
    for form in ("float32", "int8"):
        if form == "int8":
            content = quantize_int8(content, images)
        runner = Interpreter(model_content=content, num_threads=1)
        both = _Runner(runner), _Compiled(content, threads=1)
        yield _row(f"{case}, exported, {form}", both, one_by_one)
    frozen = inference.FrozenInference(model.discriminator.stem)
    shape = (frozen.at_once, *shape)
    batch = random.integers(0, 256, shape).astype("float32")
    # After a change of its input's size, the buffers that CompiledModel makes for the
    # output are as small as before, and running it destroys memory (2.3.0).
    fixed = tf.function(
        lambda pixels: frozen._network(pixels, training=False),
        input_signature=[tf.TensorSpec(shape, "float32")],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [inference.with_constants(fixed.get_concrete_function())], tf.Module()
    )
    content = converter.convert()
    by_interpreter = LiteRTFunction(inference.to_litert(frozen.function))
    both = by_interpreter, _Compiled(content, os.cpu_count())
    yield _row(f"{case}, stem", both, [batch] * _PASSES)


class _Runner:
    """An exported file, as `TFLiteModel` runs it."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._runner = interpreter.get_signature_runner()

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        return list(self._runner(images=images).values())


class _Compiled:
    """The same file by a CompiledModel."""

    def __init__(self, content: bytes, threads: int) -> None:
        options = Options(cpu_options=CpuOptions(num_threads=threads))
        self._model = CompiledModel.from_buffer(content, options=options)
        self._given = self._model.create_input_buffers(0)
        self._put_out = self._model.create_output_buffers(0)
        ((key, names),) = self._model.get_signature_list().items()
        details = self._model.get_output_tensor_details(key)
        self._shapes = [tuple(details[name]["shape"]) for name in names["outputs"]]

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        self._given[0].write(images)
        self._model.run_by_index(0, self._given, self._put_out)
        found = zip(self._put_out, self._shapes, strict=True)
        return [x.read(int(np.prod(s)), np.float32).reshape(s) for x, s in found]


def _row(what: str, both: tuple[Callable, Callable], batches: list[np.ndarray]) -> str:
    differences = [
        min(_difference(mine, other) for other in both[1](batches[0]))
        for mine in both[0](batches[0])
    ]
    wall, processor, ratios = ([], []), ([], []), []
    for _ in range(_ROUNDS):
        of_round = [], []
        for number, batch in enumerate(batches):
            # Neither is always the first.
            for which in (0, 1) if number % 2 else (1, 0):
                started = time.perf_counter(), time.process_time()
                both[which](batch)
                of_round[which].append(1e3 * (time.perf_counter() - started[0]))
                processor[which].append(time.process_time() - started[1])
        medians = [statistics.median(times) for times in of_round]
        ratios.append(medians[0] / medians[1])
        for times, median in zip(wall, medians, strict=True):
            times.append(median)
    ms = [statistics.median(times) for times in wall]
    work = [statistics.median(times) for times in processor]
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    return (
        f"| {what} | {len(batches[0])} | {ms[0]:.2f} | {ms[1]:.2f} | "
        f"{middle:.2f} ({low:.2f} to {high:.2f}) | {work[0] / work[1]:.2f} | "
        f"{max(differences):.1g} |"
    )


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    if found.shape != expected.shape:
        return np.inf
    return float(np.abs(found - expected).max())


if __name__ == "__main__":
    main()
