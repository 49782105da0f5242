"""Exports models in all forms, and compares them with Keras and the bare backbone.

    python tests/benchmarks/edge.py --data ROOT [--seeds N] [--out FILE]

ROOT holds train and test folders of the classes automobile and airplane. Each seed
draws other two airplanes. Test images judge the exports and take part in nothing else.
"""

import argparse
import datetime
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from sklearn.metrics import roc_auc_score

import egan_keras as ek
from egan_keras.exporting import conversion
from egan_keras.exporting.int8 import Int8Quantizer
from egan_keras.exporting.tflite_graph import TFLiteGraph
from egan_keras.version import versions

_BACKBONE = "MobileNetV2:alpha=0.35"
_FORMS = {"none": "float32", "float16": "float16", "dynamic": "dynamic", "int8": "int8"}
_ROUNDS, _RUNS = 7, 100


def main() -> None:
    """Trains, exports, measures, and prints the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="file for the report")
    arguments = parser.parse_args()
    measured = [_measure(arguments.data, seed) for seed in range(arguments.seeds)]
    text = "\n".join(_report(measured))
    print(text)
    if arguments.out:
        temporary = arguments.out.with_name(f".{arguments.out.name}")
        temporary.write_text(text + "\n", "utf-8")
        temporary.replace(arguments.out)


def _measure(data: Path, seed: int) -> dict[str, dict[str, float]]:
    """Returns what each form of one model came to."""
    keras.utils.set_random_seed(seed)
    splits = ek.load_folder(
        data, majority="automobile", minority="airplane", minority_count=2, seed=seed
    )
    train, validation, test = ((each.images, each.labels) for each in splits)
    model = ek.EGAN.from_backbones(_BACKBONE, _BACKBONE, image_shape=train[0].shape[1:])
    model.compile()
    model.fit(*train, verbose=0)
    model.calibrate(*validation, specificity=0.95)
    auroc = roc_auc_score(test[1], -model.predict(test[0], verbose=0)[:, 0])
    contents, found = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for form in _FORMS:
            export = ek.export_tflite(
                model,
                Path(folder) / "egan.tflite",
                quantize=form,
                representative=train,
                validation_data=validation,
                test_data=test,
            )
            contents[form] = export.path.read_bytes()
            parity = list(export.checks.values())[-1]
            found[form] = {
                "seed": seed,
                "auroc": auroc,
                "difference": parity.largest_difference,
                "rank": parity.rank_correlation,
                "change": parity.auroc_change,
                "changed": parity.changed_decisions,
                "kB": len(contents[form]) / 1e3,
                "integer": TFLiteGraph(contents[form]).integer_share,
            }
    bare = {form: _bare(model, form, contents[form], train[0][:100]) for form in _FORMS}
    for form, content in contents.items():
        own, others = _milliseconds(content, bare[form], test[0][:_RUNS])
        found[form].update(
            ms=own, size_ratio=len(content) / len(bare[form]), time_ratio=own / others
        )
    return found


def _bare(model: ek.EGAN, form: str, whole: bytes, images: np.ndarray) -> bytes:
    """Returns the backbone with pooling and no head, converted the same way."""
    stem = model.discriminator.stem
    backbone = keras.Model(stem.input, stem.get_layer("depths").output)

    def serve(pixels):
        return {"features": backbone(tf.cast(pixels, "float32"), training=False)}

    archive = keras.export.ExportArchive()
    archive.track(backbone)
    signature = tf.TensorSpec((1, *model.image_shape), "uint8", name="images")
    archive.add_endpoint("serve", serve, input_signature=[signature])
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        content = conversion.convert(folder, "none" if form == "int8" else form)
    if form != "int8":
        return content
    graph = TFLiteGraph(whole)
    # As many layers in float as the whole has.
    n_float_layers = sum(
        not graph.is_integer(graph.operators[place].outputs[0])
        for place in graph.convolutions
    )
    made = Int8Quantizer(content, images)
    return made.quantized(made.graph.convolutions[n_float_layers])


def _milliseconds(
    content: bytes, other: bytes, images: np.ndarray
) -> tuple[float, float]:
    """Returns the median time of an image on one thread, of two models in turn."""
    interpreters = [
        Interpreter(model_content=each, num_threads=1) for each in (content, other)
    ]
    runners = [each.get_signature_runner() for each in interpreters]
    medians = ([], [])
    for _ in range(_ROUNDS):
        for runner, times in zip(runners, medians, strict=True):
            taken = []
            for image in images:
                started = time.perf_counter()
                runner(images=image[None])
                taken.append(1e3 * (time.perf_counter() - started))
            times.append(statistics.median(taken))
    return tuple(min(times) for times in medians)


def _report(measured: list[dict[str, dict[str, float]]]) -> Iterator[str]:
    yield "# Exports against Keras and the bare backbone"
    yield ""
    yield "    python tests/benchmarks/edge.py --data images/cifar10 --out edge.md"
    yield ""
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    yield (
        f"Run {datetime.date.today()} on {platform.machine()}, {os.cpu_count()} cores, "
        f"no GPU; {packages}."
    )
    yield ""
    yield (
        f"{_BACKBONE} in both places, automobile against two airplanes, uint8 pixels "
        "of 32x32, 2,000 test images. The threshold is set on 1,000 held-out "
        "automobiles, for quantised forms on their own scores. kB and ms (one thread, "
        "median of 100 images, best of 7 rounds taken in turn) are compared with the "
        "backbone with pooling and without head, converted the same way; the share of "
        "integers is of the multiplications in convolutions."
    )
    yield ""
    columns = (
        "form | seed | AUROC in Keras | AUROC change | largest difference | rank "
        "correlation | changed decisions | kB | times bare | ms | times bare | integers"
    )
    yield f"| {columns} |"
    yield f"|{'---|' * (columns.count('|') + 1)}"
    for form, name in _FORMS.items():
        for found in (each[form] for each in measured):
            yield (
                f"| {name} | {found['seed']} | {found['auroc']:.4f} | "
                f"{found['change']:+.4f} | {found['difference']:.2g} | "
                f"{found['rank']:.4f} | {found['changed']:.2%} | {found['kB']:,.0f} | "
                f"{found['size_ratio']:.2f} | {found['ms']:.3f} | "
                f"{found['time_ratio']:.2f} | {found['integer']:.0%} |"
            )


if __name__ == "__main__":
    main()
