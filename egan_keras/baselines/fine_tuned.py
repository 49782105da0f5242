"""A fine-tuned Keras classifier, as Keras's guide to transfer learning has it.

The guide is https://keras.io/guides/transfer_learning.
"""

import os

import keras
import numpy as np
from keras import layers
from sklearn.utils.class_weight import compute_class_weight

from egan_keras import data, features, networks
from egan_keras.backbones import Backbone, BackbonePreprocessing
from egan_keras.networks import InferenceMode

_BATCH_SIZE = 64
_DROPOUT = 0.2
_HEAD_LEARNING_RATE = 1e-3
_FINE_TUNING_LEARNING_RATE = 1e-5
_FROZEN_FRACTION = 2 / 3
_MINIMUM_STEPS = 300


def fine_tuned_classifier_scores(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    *,
    backbone: str | Backbone,
    weights: str | os.PathLike | None = "imagenet",
    network_size: int | None = None,
    loss: str = "class weights",
    epochs: int = 10,
    seed: int = 0,
) -> np.ndarray:
    """Fine-tunes a pre-trained classifier and returns scores of test images.

    First a new head, dropout and one dense unit on averaged features, is trained on
    the frozen backbone; then the last third of the backbone's layers with it, at a low
    learning rate, on images mirrored at random. Batch normalisation keeps its moving
    statistics. The number of epochs is fixed: a few minority images leave none to
    validate with.

    Args:
        train_images: RGB pixels in 0..255, uint8 or float, (n, height, width, 3).
        train_labels: shape (n,), 0 = majority, 1 = minority, both present.
        test_images: the same as `train_images`, of m images.
        backbone: such as `"MobileNetV2:alpha=0.35"`.
        weights: as in `egan_keras.backbones.Backbone.build`, which says what it raises.
        network_size: the side to which images are resized; None takes
            `egan_keras.networks.network_size`.
        loss: `"class weights"`, cross-entropy in which both classes weigh the same,
            or `"focal"`, focal loss (Lin et al. 2017) balanced by the classes' counts.
        epochs: of each of the two trainings, at least 1; more where there are so few
            images that a training would end before 300 steps.
        seed: of Keras, NumPy and Python, set for the whole process.

    Returns:
        Shape (m,), float64: the log-odds of majority, so high = majority and
        low = minority.

    Raises:
        ValueError: if images, labels or the backbone are refused, a class is missing,
            or `loss` or `epochs` is none of the above.
    """
    images = data.check_images(train_images)
    labels = data.check_labels(train_labels, len(images))
    data.check_both_classes(labels)
    test_images = data.check_images(test_images, image_shape=images.shape[1:])
    if loss not in ("class weights", "focal"):
        raise ValueError(
            f"Unknown loss; expected 'class weights' or 'focal'. Received: {loss=}."
        )
    if epochs < 1:
        raise ValueError(
            "The classifier must be trained; expected at least 1 epoch. Received: "
            f"{epochs=}."
        )
    keras.utils.set_random_seed(seed)
    backbone = Backbone.parse(backbone)
    size = network_size or networks.network_size(backbone, images.shape[1:])
    base = backbone.build(size, weights=weights)
    inputs = keras.Input(images.shape[1:], name="images")
    x = layers.Resizing(*base.input_shape[1:3])(inputs)
    x = InferenceMode(base)(BackbonePreprocessing(backbone.name)(x))
    stem = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    # From zero, since a short training would not outweigh random initial weights.
    score = layers.Dense(1, kernel_initializer="zeros")
    head = keras.Sequential([layers.Dropout(_DROPOUT), score])

    frozen_features = features.stem_features(stem, images)[0]
    _train(head, frozen_features, labels, _HEAD_LEARNING_RATE, loss, epochs)
    for layer in base.layers[: int(_FROZEN_FRACTION * len(base.layers))]:
        layer.trainable = False
    classifier = keras.Sequential([layers.RandomFlip("horizontal"), stem, head])
    _train(classifier, images, labels, _FINE_TUNING_LEARNING_RATE, loss, epochs)
    logits = classifier.predict(test_images, batch_size=_BATCH_SIZE, verbose=0)
    return -logits[:, 0].astype(np.float64)


def _train(
    model: keras.Model,
    inputs: np.ndarray,
    labels: np.ndarray,
    learning_rate: float,
    loss: str,
    epochs: int,
) -> None:
    if loss == "focal":
        function = keras.losses.BinaryFocalCrossentropy(
            apply_class_balancing=True, alpha=1 - labels.mean(), from_logits=True
        )
        weights = None
    else:
        function = keras.losses.BinaryCrossentropy(from_logits=True)
        balanced = compute_class_weight("balanced", classes=np.arange(2), y=labels)
        weights = dict(enumerate(balanced))
    steps = -(-len(inputs) // _BATCH_SIZE)
    epochs = max(epochs, -(-_MINIMUM_STEPS // steps))
    options = {"batch_size": _BATCH_SIZE, "class_weight": weights, "verbose": 0}
    model.compile(keras.optimizers.Adam(learning_rate), function)
    model.fit(inputs, labels, epochs=epochs, **options)
