"""The published loop as published: both whole networks at every step, op by op.

Written anew from the paper (arXiv 2104.04162) and its authors' notebooks, in plain
Keras and without egan_keras, to measure against and to compare losses with.
"""

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf
from keras import layers

_TRAINED_LAYERS = 5


class Network(NamedTuple):
    """A backbone, frozen but for its last layers, and what stands behind it.

    Attributes:
        backbone: Images (n, 32, 32, 3), 0..1, to feature maps.
        head: Feature maps to fakes or scores.
    """

    backbone: keras.Model
    head: keras.Model

    def __call__(self, images):
        """Returns the head's output; the backbone's statistics stay as they are."""
        return self.head(self.backbone(images, training=False), training=True)

    @property
    def trainable_variables(self) -> list:
        """What is trained of both parts."""
        return self.backbone.trainable_variables + self.head.trainable_variables

    @property
    def weights(self) -> list:
        """The weights of both parts, without the states of random generators."""
        both = self.backbone.weights + self.head.weights
        return [weight for weight in both if "seed" not in weight.path]


def build_generator(backbone: keras.Model) -> Network:
    """Returns encoder, latent and decoder: images (n, 32, 32, 3), 0..1, to fakes."""
    maps = keras.Input(backbone.output_shape[1:])
    x = layers.GlobalAveragePooling2D()(maps)
    x = layers.Dense(128)(x)
    x = layers.Dense(8 * 8 * 32)(x)
    x = layers.LeakyReLU(0.2)(x)
    x = layers.Reshape((8, 8, 32))(x)
    x = layers.Conv2DTranspose(64, 3, strides=2, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.LeakyReLU(0.2)(x)
    x = layers.Conv2DTranspose(3, 3, strides=2, padding="same")(x)
    x = layers.BatchNormalization()(x)
    head = keras.Model(maps, layers.Activation("sigmoid")(x))
    return Network(_frozen_but_last(backbone), head)


def build_discriminator(backbone: keras.Model, dropout: float = 0.2) -> Network:
    """Returns the discriminator: images (n, 32, 32, 3), 0..1, to scores (n, 1)."""
    maps = keras.Input(backbone.output_shape[1:])
    x = layers.GlobalAveragePooling2D()(maps)
    x = layers.Dropout(dropout)(x)
    head = keras.Model(maps, layers.Dense(1)(x))
    return Network(_frozen_but_last(backbone), head)


def _frozen_but_last(backbone: keras.Model) -> keras.Model:
    for layer in backbone.layers[:-_TRAINED_LAYERS]:
        layer.trainable = False
    return backbone


class PublishedLoop:
    """Trains a generator and a discriminator, step by step.

    Args:
        generator: Images, 0..1, to fakes.
        discriminator: Images, 0..1, to scores.
        optimizer: Makes an optimizer; called for each network.
    """

    def __init__(
        self,
        generator: Network,
        discriminator: Network,
        optimizer: Callable[[], keras.optimizers.Optimizer],
    ) -> None:
        self.generator, self.discriminator = generator, discriminator
        self._trained = ((discriminator, optimizer()), (generator, optimizer()))
        for network, optimizer in self._trained:
            optimizer.build(network.trainable_variables)
        self._cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)

    def step(self, majority, minority):
        """Updates both networks; returns the losses of discriminator and generator."""
        with tf.GradientTape(persistent=True) as tape:
            fakes = self.generator(minority)
            real_scores = self.discriminator(majority)
            fake_scores = self.discriminator(fakes)
            real = self._cross_entropy(tf.ones_like(real_scores), real_scores)
            fake = self._cross_entropy(tf.zeros_like(fake_scores), fake_scores)
            deceived = self._cross_entropy(tf.ones_like(fake_scores), fake_scores)
            losses = real + fake, deceived
        for loss, (network, optimizer) in zip(losses, self._trained, strict=True):
            variables = network.trainable_variables
            gradients = tape.gradient(loss, variables)
            optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return losses
