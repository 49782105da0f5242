"""What workers run, made of a model once: the same files for all of them."""

import tempfile
from pathlib import Path

import keras
import numpy as np

from egan_keras import features, keras_hooks
from egan_keras.features.inference import Inference, to_litert
from egan_keras.litert import LiteRTFunction
from egan_keras.model import EGAN
from egan_keras.networks import UnitLength
from egan_keras.scale.rows import Network

_TRIED_WITH, _COARSE = 8, 4
# Of scores around 1; the digits of float32 leave less.
_TOLERANCE = 1e-3


def score_network(model: EGAN) -> Network:
    """Returns a model's whole discriminator, for LiteRT checked against Keras."""
    return _checked(model.discriminator)


def feature_network(model: EGAN) -> Network:
    """Returns what makes vectors of images, before anything that training sets.

    They are what `EGAN.from_features(None, sizes, place_depths=0)` takes.

    Args:
        model: Of a recipe that keeps backbones frozen; it need not be trained.

    Returns:
        The network, for LiteRT checked against Keras, and the lengths of the vectors
        of several depths that stand side by side in one.

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
    return _checked(network)._replace(vector_sizes=tuple(lengths))


class KerasFunction:
    """A network that Keras runs on the GPU that a worker was given.

    Args:
        content: The bytes of its .keras file.

    Raises:
        ValueError: If Keras sees no GPU.
    """

    def __init__(self, content: bytes) -> None:
        self._check_device()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.keras"
            path.write_bytes(content)
            network = keras.saving.load_model(path, compile=False)
        self.image_shape = network.input_shape[1:]
        self._run = Inference(network)

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """Returns what the network puts out for images (n, h, w, 3), pixels 0..255."""
        return self._run(images)

    @staticmethod
    def _check_device() -> None:
        if not keras_hooks.has_accelerator():
            raise ValueError(
                "Keras sees no GPU where a worker has one; expected a backend that is "
                'built for it, such as pip install "tensorflow[and-cuda]" on every '
                f"machine. Received: Keras on {keras.backend.backend()}. Install one, "
                "or leave --gpus out."
            )


def _checked(network: keras.Model) -> Network:
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
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        network.save(path)
        return Network(content, path.read_bytes())
