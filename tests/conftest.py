"""What tests share: tiny networks, digits as images, and real images where found."""

import os
import signal
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sklearn.datasets import load_digits

import egan_keras as ek

TINY = "MobileNet:alpha=0.25"


def pytest_configure(config):
    # What TensorFlow printed while this file was imported, which nobody asked for.
    config.pluginmanager.getplugin("capturemanager").read_global_capture()


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="session")
def cache_folder(tmp_path_factory):
    """No test reads or writes the cache folder of who runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EGAN_KERAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def heeded_signals():
    """Signals end programs, though the tests run in the background or under nohup."""
    handlers = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {each: signal.signal(each, handlers[each]) for each in handlers}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.fixture(scope="session")
def digits():
    """Handwritten zeros (majority) and ones as 32x32 RGB pixels: images, labels."""
    loaded = load_digits()
    chosen = np.isin(loaded.target, (0, 1))
    pixels = (loaded.images[chosen] * (255 / 16)).astype("uint8")
    images = np.repeat(pixels.repeat(4, axis=1).repeat(4, axis=2)[..., None], 3, axis=3)
    return images, loaded.target[chosen].astype("int32")


@pytest.fixture(scope="session")
def few_ones(digits):
    """100 zeros and 4 ones for training."""
    images, labels = digits
    rows = np.concatenate(
        [np.flatnonzero(labels == 0)[:100], np.flatnonzero(labels == 1)[:4]]
    )
    return images[rows], labels[rows]


@pytest.fixture(scope="session")
def tiny_weights(digits, tmp_path_factory):
    """Random weights of the small backbone whose features do not vanish.

    In inference mode, an untrained batch normalisation lets signals die out; here it
    has seen one batch.
    """
    keras.utils.set_random_seed(0)
    network = ek.Backbone.parse(TINY).build(32, weights=None)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    network(digits[0][:64] / 127.5 - 1, training=True)
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    network.save_weights(path)
    return path


@pytest.fixture
def build_tiny(tiny_weights):
    """Builds an EGAN on a small backbone with random weights."""

    def build(recipe="default", encoder=TINY, discriminator=TINY, **choices):
        keras.utils.set_random_seed(0)
        model = ek.EGAN.from_backbones(
            encoder,
            discriminator,
            image_shape=(32, 32, 3),
            recipe=recipe,
            weights=tiny_weights,
            network_size=32,
            **choices,
        )
        model.compile()
        return model

    return build


def save_unique(image: Image.Image, path: Path) -> None:
    """Saves a PNG whose bytes no other file has, whatever its pixels."""
    text = PngInfo()
    text.add_text("file", str(path))
    image.save(path, pnginfo=text)


def real_images(name: str) -> Path:
    """Returns a folder of real test images, or skips the test."""
    root = os.environ.get("EGAN_KERAS_TEST_IMAGES")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(
            f"needs the image folder {name!r} below the folder that the environment "
            "variable EGAN_KERAS_TEST_IMAGES names, and ImageNet weights of "
            "MobileNetV2 (alpha 0.35) in Keras's cache"
        )
    return Path(root) / name


@pytest.fixture
def photographs(digits, tmp_path, monkeypatch):
    """The folder of a package `elpv_dataset` that has digits in place of solar cells.

    Zeros are functional, ones defective, and each tenth cell is unsure.
    """
    package = tmp_path / "packages" / "elpv_dataset"
    (package / "data" / "images").mkdir(parents=True)
    (package / "__init__.py").touch()
    lines = []
    for number, (image, label) in enumerate(zip(*digits, strict=True)):
        name = f"images/cell{number:04}.png"
        save_unique(Image.fromarray(image).convert("L"), package / "data" / name)
        probability = 0.3333333333333333 if number % 10 == 0 else float(label)
        lines.append(f"{name}  {probability}  {'mono' if number < 100 else 'poly'}\n")
    (package / "data" / "labels.csv").write_text("".join(lines))
    # The real one, if a test has imported it.
    monkeypatch.delitem(sys.modules, "elpv_dataset", raising=False)
    monkeypatch.syspath_prepend(package.parent)
    return package / "data"


@pytest.fixture(scope="session")
def image_file(digits, tmp_path_factory):
    """101 zeros and 5 ones, in an order that is none, as a file."""
    images, labels = digits
    rows = np.concatenate(
        [np.flatnonzero(labels == 0)[:101], np.flatnonzero(labels == 1)[:5]]
    )
    rows = np.random.default_rng(0).permutation(rows)
    path = tmp_path_factory.mktemp("images") / "images.npz"
    np.savez(path, images=images[rows], labels=labels[rows])
    return path
