"""What workers run, made of a model once: one file, the same for all of them."""

import keras
import numpy as np

from egan_keras import features
from egan_keras.features.converting import to_litert
from egan_keras.features.inference import Inference
from egan_keras.litert import LiteRTFunction
from egan_keras.model import EGAN
from egan_keras.networks import UnitLength

_TRIED_WITH, _COARSE = 8, 4
# Of scores around 1; the digits of float32 leave less.
_TOLERANCE = 1e-3


def score_network(model: EGAN) -> tuple[bytes, list[int]]:
    """Returns a model's whole discriminator for LiteRT, checked against Keras."""
    return _checked(model.discriminator), []


def feature_network(model: EGAN) -> tuple[bytes, list[int]]:
    """Returns what makes vectors of images, before anything that training sets.

    They are what `EGAN.from_features(None, sizes, place_depths=0)` takes.

    Args:
        model: Of a recipe that keeps backbones frozen; it need not be trained.

    Returns:
        The network for LiteRT, and the lengths of the vectors of several depths that
        stand side by side in one.

    Raises:
        ValueError: If the model trains its backbones, so that images have no features
            that stay.
    """
    stem = model.discriminator.stem
    layer = features.compiled(stem).standardization
    if model.recipe.trained_layers or layer is None:
        raise ValueError(
            "The model trains layers of its backbone, so that there are no vectors to "
            "keep; expected a run of recipe default. Received: recipe "
            f"{model.recipe.name}. Name another run, or a pairing."
        )
    network = keras.Model(stem.inputs, layer.input)
    sizes = [each.sizes for each in stem.layers if isinstance(each, UnitLength)]
    lengths = list(sizes[0]) if sizes else [network.output_shape[-1]]
    return _checked(network), lengths


def _checked(network: keras.Model) -> bytes:
    inference = Inference(network)
    content = to_litert(inference.function)
    height, width, _ = network.input_shape[1:]
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (_TRIED_WITH, _COARSE, _COARSE, 3), np.uint8)
    rows, columns = (np.arange(n) * _COARSE // n for n in (height, width))
    images = coarse[:, rows][:, :, columns]
    (found,), (expected,) = LiteRTFunction(content)(images), inference(images)
    difference = np.abs(found - expected).max()
    # A comparison with NaN is false.
    if not difference <= _TOLERANCE * (1 + np.abs(expected).max()):
        raise ValueError(
            "The model cannot be computed on processors of an engine: LiteRT gives "
            f"other values than Keras, by {difference:.2g}; expected the same. "
            "Received: a model with layers that it computes otherwise. Score it "
            "without --out."
        )
    return content
