"""The same contract for every backbone, as encoder and as discriminator."""

import keras
import numpy as np
import pytest

import egan_keras as ek
from egan_keras import backbones
from egan_keras.networks import RECIPES

pytestmark = pytest.mark.whole

# MobileNetV3Small has two tensors on its frontier.
QUICK = {"MobileNetV2", "MobileNetV3Small", "VGG16"}
NAMES = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.large)
    for name in backbones.names()
]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_backbone_encodes_and_discriminates(name, recipe):
    size = ek.Backbone(name).minimum_size
    model = ek.EGAN.from_backbones(
        name,
        name,
        image_shape=(size, size, 3),
        recipe=recipe,
        weights=None,
        network_size=size,
        minimum_steps=1,
    )
    model.compile()
    shape = (6, size, size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, "uint8")
    labels = np.array([0, 0, 0, 0, 1, 1])
    history = model.fit(
        images, labels, epochs=1, verbose=0, validation_data=(images, labels)
    ).history
    assert np.isfinite(history["discriminator_loss"]).all()
    assert 0 <= history["val_auroc"][0] <= 1
    scores = model.predict(images, verbose=0)
    assert scores.shape == (6, 1) and np.isfinite(scores).all()
    keras.backend.clear_session()
