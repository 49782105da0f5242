"""Makes int8 files in other ways that litert-quantizer knows, and prints a table.

    python tests/benchmarks/quantizers.py --data ROOT [--seeds N] [--out FILE]

Models and images are those of `edge.py`. Test images judge and take part in nothing
else.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import keras
import numpy as np
from litert_quantizer import algorithm_manager, qtyping, quantizer

import egan_keras as ek
from egan_keras.exporting import comparison, conversion, int8
from egan_keras.exporting.tflite_graph import TFLiteGraph
from egan_keras.exporting.tflite_model import raw_scores

_BACKBONE, _SPECIFICITY = "MobileNetV2:alpha=0.35", 0.95
_LARGEST = algorithm_manager.AlgorithmName.MIN_MAX_UNIFORM_QUANT
_GPTQ = algorithm_manager.AlgorithmName.GPTQ
_BY_CHANNEL = qtyping.QuantGranularity.CHANNELWISE
_BLOCKS = qtyping.QuantGranularity.BLOCKWISE_32
_CONVOLUTIONS = "CONV_2D", "DEPTHWISE_CONV_2D"
# What of the package's way is exchanged: `corrects` biases; weights of `convolutions`
# and of the `head` by an algorithm; ranges of activations by its own `calibration`.
_WAYS = {
    "bias correction, as exported": {},
    "nothing corrected": {"corrects": False},
    "OCTAV": {"corrects": False, "convolutions": "OCTAV"},
    "OCTAV and bias correction": {"convolutions": "OCTAV"},
    "MSE": {"corrects": False, "convolutions": "MSE"},
    "MSE and bias correction": {"convolutions": "MSE"},
    "its calibration": {"corrects": False, "calibration": True},
    "its calibration and bias correction": {"calibration": True},
    "GPTQ of convolutions": {"convolutions": "GPTQ", "calibration": True},
    "GPTQ of the head": {"corrects": False, "head": _GPTQ, "calibration": True},
    "GPTQ of the head and bias correction": {"head": _GPTQ, "calibration": True},
    "blocks of 32 in the head": {"granularity": _BLOCKS},
}


def main() -> None:
    """Trains, quantises in each way, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="file for the table")
    arguments = parser.parse_args()
    measured = [_measure(arguments.data, seed) for seed in range(arguments.seeds)]
    text = "\n".join(_table(measured))
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", "utf-8")


def _measure(data: Path, seed: int) -> dict[str, dict[str, float] | str]:
    """Returns what each way came to, or why it did not."""
    keras.utils.set_random_seed(seed)
    train, validation, test = ek.load_folder(
        data, majority="automobile", minority="airplane", minority_count=2, seed=seed
    )
    shape = train.images.shape[1:]
    model = ek.EGAN.from_backbones(_BACKBONE, _BACKBONE, image_shape=shape)
    model.compile()
    model.fit(train.images, train.labels, verbose=0)
    model.calibrate(validation.images, validation.labels, specificity=_SPECIFICITY)
    expected = model.predict(test.images, verbose=0)[:, 0]
    with tempfile.TemporaryDirectory() as folder:
        conversion.write_saved_model(model, folder, "uint8", batch_size=1)
        content = conversion.convert(folder, "none")
    rows = comparison.of_both_classes(train.labels)
    found = {}
    for name, way in _WAYS.items():
        images = train.images[rows]
        try:
            made = _quantized(content, images, train.labels[rows], **way)
        except ValueError as error:
            found[name] = str(error)
            continue
        again = ek.thresholds.calibrate(
            raw_scores(made, validation.images)[:, 0],
            validation.labels,
            specificity=_SPECIFICITY,
        )
        parity = comparison.compare(
            expected,
            model.threshold,
            raw_scores(made, test.images)[:, 0],
            again.threshold,
            test.labels,
        )
        found[name] = {
            "changed": parity.changed_decisions,
            "rank": parity.rank_correlation,
            "auroc": parity.auroc_change,
            "kB": len(made) / 1e3,
            "integers": TFLiteGraph(made).integer_share,
        }
        print(seed, name, found[name], flush=True)
    return found


def _quantized(
    content: bytes,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    corrects: bool = True,
    convolutions: str = _LARGEST,
    head: str = _LARGEST,
    granularity: qtyping.QuantGranularity = _BY_CHANNEL,
    calibration: bool = False,
) -> bytes:
    class Other(quantizer.Quantizer):
        """Does as the package asks, but for the algorithm."""

        def add_static_config(self, pattern, kind, *bits):
            algorithm = convolutions if kind.value in _CONVOLUTIONS else _LARGEST
            super().add_static_config(pattern, kind, *bits, algorithm_key=algorithm)

        def add_dynamic_config(self, pattern, kind, bits):
            super().add_dynamic_config(pattern, kind, bits, granularity, head)

        def quantize(self, ranges, **options):
            if calibration:
                given = [{"images": image[None]} for image in images]
                ranges = self.calibrate({conversion.SIGNATURE: given})
            return super().quantize(ranges, **options)

    with mock.patch.object(int8.quantizer, "Quantizer", Other):
        if corrects:
            return int8.quantize_int8(content, images, labels)
        as_it_is = mock.patch.object(
            int8.Int8Quantizer, "corrected", lambda made, places: made.graph
        )
        with as_it_is:
            return int8.quantize_int8(content, images, labels)


def _table(measured: list[dict[str, dict[str, float] | str]]) -> Iterator[str]:
    yield "| way | changed decisions | worst AUROC change | rank | kB | integers |"
    yield "|---|---|---|---|---|---|"
    for name in _WAYS:
        found = [each[name] for each in measured]
        refused = next((each for each in found if isinstance(each, str)), None)
        if refused:
            yield f"| {name} | {refused} | | | | |"
            continue
        changed = ", ".join(f"{each['changed']:.2%}" for each in found)
        worst = {key: min(each[key] for each in found) for key in ("auroc", "rank")}
        middle = {key: statistics.median(x[key] for x in found) for key in found[0]}
        yield (
            f"| {name} | {changed} | {worst['auroc']:+.4f} | {worst['rank']:.4f} | "
            f"{middle['kB']:,.0f} | {middle['integers']:.0%} |"
        )


if __name__ == "__main__":
    main()
