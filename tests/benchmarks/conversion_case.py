"""Converts one backbone's discriminator in the four forms; prints one line of JSON.

python tests/benchmarks/conversion_case.py BACKBONE [--data ROOT]
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from sklearn.datasets import load_digits

import egan_keras as ek
from egan_keras.exporting import comparison, conversion

_REPRESENTATIVE, _COMPARED, _TIMED = 60, 100, 50


def main() -> None:
    """Converts, compares and times."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("backbone")
    parser.add_argument("--data", type=Path, help="with it: ImageNet weights")
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)
    prepare = _on_photographs if arguments.data else _on_digits
    model, images = prepare(arguments)
    print(json.dumps(_measure(model, images)), flush=True)


def _on_digits(arguments: argparse.Namespace) -> tuple[ek.EGAN, comparison.Evidence]:
    """Trains on zeros and ones, with random weights, at the smallest size."""
    backbone = ek.Backbone.parse(arguments.backbone)
    size = backbone.minimum_size
    digits = load_digits(n_class=2)
    pixels = keras.ops.image.resize(digits.images[..., None] * (255 / 16), (size, size))
    images = np.repeat(np.asarray(pixels).round().astype("uint8"), 3, axis=-1)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "adapted.weights.h5"
        _adapted(backbone, images[:32]).save_weights(weights)
        model = ek.EGAN.from_backbones(
            arguments.backbone,
            arguments.backbone,
            image_shape=(size, size, 3),
            weights=weights,
            network_size=size,
        )
    train = (images[:_REPRESENTATIVE], digits.target[:_REPRESENTATIVE])
    held_out = (images[_REPRESENTATIVE:], digits.target[_REPRESENTATIVE:])
    model.compile()
    model.fit(*train, epochs=2, verbose=0)
    return model, comparison.gather(model, train, held_out, held_out)


def _adapted(backbone: ek.Backbone, images: np.ndarray) -> keras.Model:
    """Returns random weights through which signals do not die out.

    In inference mode an untrained batch normalisation shrinks them, layer by layer.
    """
    network = backbone.build(backbone.minimum_size, weights=None)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    network(backbone.preprocess_input(images.astype("float32")), training=True)
    return network


def _on_photographs(
    arguments: argparse.Namespace,
) -> tuple[ek.EGAN, comparison.Evidence]:
    """Trains on automobiles and two airplanes, with ImageNet weights."""
    train, validation, test = ek.load_folder(
        arguments.data,
        majority="automobile",
        minority="airplane",
        minority_count=2,
        seed=0,
    )
    model = ek.EGAN.from_backbones(
        arguments.backbone, arguments.backbone, image_shape=train.images.shape[1:]
    )
    model.compile()
    model.fit(train.images, train.labels, verbose=0)
    model.calibrate(validation.images, validation.labels, specificity=0.95)
    return model, comparison.gather(
        model,
        (train.images, train.labels),
        (validation.images, validation.labels),
        (test.images, test.labels),
    )


def _measure(model: ek.EGAN, images: comparison.Evidence) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "saved_model"
        conversion.write_saved_model(model, saved, input_dtype="float32", batch_size=1)
        return {
            "side": model.discriminator.stem.input_shape[1],
            "parameters": model.discriminator.count_params(),
            "forms": {form: _form(form, saved, images) for form in conversion.FORMS},
        }


def _form(form: str, saved: Path, images: comparison.Evidence) -> dict:
    started = time.perf_counter()
    try:
        content = conversion.convert(
            saved,
            form,
            representative=images.representative.images,
            labels=images.representative.labels,
        )
    except ValueError as error:
        return {"error": str(error)}
    seconds = time.perf_counter() - started
    return {
        "bytes": len(content),
        "seconds": seconds,
        "operators": _operators(content),
        **_scored(content, images),
    }


def _scored(content: bytes, images: comparison.Evidence) -> dict:
    """Returns how the scores compare, and milliseconds an image on one thread."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    runner = interpreter.get_signature_runner()
    scored = images.test
    rows = np.linspace(0, len(scored.images) - 1, min(len(scored.images), _COMPARED))
    rows = rows.astype(int)
    scores, milliseconds = [], []
    for image in scored.images[rows].astype("float32"):
        started = time.perf_counter()
        scores.append(float(runner(images=image[None])["score"][0, 0]))
        milliseconds.append(1e3 * (time.perf_counter() - started))
    parity = comparison.compare(
        scored.scores[rows],
        images.threshold,
        scores,
        images.threshold,
        scored.labels[rows],
    )
    return {
        "milliseconds": statistics.median(milliseconds[-_TIMED:]),
        "largest_difference": parity.largest_difference / parity.score_deviation,
        "rank_correlation": parity.rank_correlation,
        "auroc_change": parity.auroc_change,
    }


def _operators(content: bytes) -> dict[str, int]:
    """Returns how often each operator occurs."""
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    names = [
        flatbuffer_utils.opcode_to_name(model, op.opcodeIndex)
        for op in model.subgraphs[0].operators
    ]
    return {name: names.count(name) for name in sorted(set(names))}


if __name__ == "__main__":
    main()
