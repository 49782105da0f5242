"""Cases of the speed benchmark: who runs frozen stems, and starting.

    python tests/benchmarks/speed_engines.py CASE ARGUMENT

prints one line of JSON. `speed.py` runs them all.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from PIL import Image

import egan_keras as ek
from egan_keras import networks
from egan_keras.features import inference
from egan_keras.litert import LiteRTFunction

_SIDE, _STARTS = 224, 5
_TURNS, _AT_ONCE = 7, 16


def stem(backbone_and_side: str) -> dict:
    """Images a second of a frozen stem, by Keras and by LiteRT in turn."""
    spec, side = backbone_and_side.split("@")
    shape = (int(side), int(side), 3)
    recipe = networks.get_recipe("default", network_size=int(side))
    parsed = ek.Backbone.parse(spec)
    options = {"place_depths": recipe.place_depths}
    try:
        network, _ = networks.pooled_features(parsed, recipe, shape, **options)
    except OSError:
        network, _ = networks.pooled_features(parsed, recipe, shape, None, **options)
    images = np.random.default_rng(0).integers(0, 256, (_AT_ONCE, *shape), "uint8")
    by_keras = inference.Inference(network)
    by_litert = LiteRTFunction(inference.to_litert(by_keras.function))
    expected, found = by_keras(images), by_litert(images)
    turns = [(by_keras, by_litert)] * _TURNS
    seconds = [[_seconds(run, images) for run in both] for both in turns]
    keras_s, litert_s = np.median(seconds, axis=0)
    differences = [
        np.sqrt(np.mean((a - b) ** 2)) / b.std()
        for a, b in zip(found, expected, strict=True)
    ]
    return {
        "keras_images_s": _AT_ONCE / keras_s,
        "litert_images_s": _AT_ONCE / litert_s,
        "ratio": float(np.median([a / b for a, b in seconds])),
        "difference": float(max(differences)),
    }


def start(spec: str) -> dict:
    """Seconds to import, to a command's help, and to the score of one image."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        image = np.random.default_rng(0).integers(0, 256, (_SIDE, _SIDE, 3), "uint8")
        Image.fromarray(image).save(folder / "a.png")
        model = ek.EGAN.from_backbones(
            spec, spec, image_shape=(_SIDE, _SIDE, 3), weights=None
        )
        model.save(folder / "model.keras")
        some = np.stack([image] * 2), np.array([0, 0])
        ek.export_tflite(
            model, folder / "model.tflite", validation_data=some, verbose=0
        )
        program, files = ["-m", "egan_keras"], [folder / "a.png"]
        commands = {
            "tensorflow_s": ["-c", "import tensorflow"],
            "egan_keras_s": ["-c", "import egan_keras; egan_keras.EGAN"],
            "help_s": [*program, "score", "--help"],
            "tflite_s": [*program, "score", folder / "model.tflite", *files],
            "keras_s": [*program, "score", folder / "model.keras", *files],
        }
        runs = [
            {name: _seconds(_run, command) for name, command in commands.items()}
            for _ in range(_STARTS)
        ]
    return {name: float(np.median([run[name] for run in runs])) for name in commands}


def _run(command: list) -> None:
    subprocess.run([sys.executable, *command], check=True, capture_output=True)


def _seconds(run, argument) -> float:
    started = time.perf_counter()
    run(argument)
    return time.perf_counter() - started


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
