"""A user's program, which `make types` checks against the types it is told."""

from pathlib import Path

import numpy as np

import egan_keras as ek


def train(folder: Path, file: Path) -> ek.Report:
    """Trains, calibrates and judges a model, and saves it."""
    train, validation, test = ek.load_folder(
        folder, majority="good", minority=["scratched", "dented"], minority_count=2
    )
    model = ek.EGAN.from_backbones(
        "MobileNetV2", "MobileNetV2", image_shape=train.images.shape[1:], epochs=10
    )
    model.compile(loss="hinge")
    model.fit(train.images, train.labels, verbose=0, cache_features=folder / "cache")
    model.calibrate(validation.images, validation.labels, specificity=0.95)
    model.save(file)
    return ek.evaluate(model, test.images, test.labels)


def score(file: Path, images: np.ndarray) -> list[bool]:
    """Tells which images are minority, by an exported file."""
    model = ek.load_tflite(file)
    scores: np.ndarray = model.predict(images)
    threshold: float = model.threshold
    return [bool(score < threshold) for score in scores[:, 0]]


class Margin(ek.AdversarialLoss):
    """A loss of one's own."""

    def high(self, scores: np.ndarray) -> np.ndarray:
        """Returns the mean distance below 1."""
        return np.maximum(0, 1 - scores).mean(keepdims=True)
