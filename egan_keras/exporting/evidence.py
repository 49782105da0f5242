"""The images by which an export is compared with the model, and its ranges set."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from egan_keras import data
from egan_keras.data.lazy import LazyRows
from egan_keras.exporting.parity import Parity, compare

if TYPE_CHECKING:
    from egan_keras.model import EGAN

Images = np.ndarray | LazyRows
Labelled = tuple[Images, np.ndarray]

# Enough to set the ranges of activations; more cost time and change nothing.
_REPRESENTATIVE = 200
# Of a large collection, as many are scored, evenly spaced.
_SCORED = 5000
_BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """Images, what is known of their classes, and the model's scores.

    Attributes:
        images: uint8 or float (n, h, w, 3), 0..255.
        labels: 0 = majority, 1 = minority, (n,); `None` if not known.
        scores: The model's, float32 (n,).
    """

    images: np.ndarray
    labels: np.ndarray | None
    scores: np.ndarray

    def labels_or_calls(self, threshold: float) -> np.ndarray:
        """Returns the labels; if they are not known, what the model calls minority."""
        return self.scores < threshold if self.labels is None else self.labels


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """Real images with the model's scores.

    Attributes:
        threshold: The model's.
        representative: Training images of both classes.
        validation: Held-out images, on which a threshold may be calibrated.
        test: Images that judge and take part in nothing.
    """

    threshold: float
    representative: Scored | None
    validation: Scored | None
    test: Scored | None

    @property
    def held_out(self) -> Scored:
        """All images but those of the test, by which an export passes or fails."""
        known = [each for each in (self.validation, self.representative) if each]
        if len(known) == 1:
            return known[0]
        labelled = all(each.labels is not None for each in known)
        return Scored(
            np.concatenate([each.images for each in known]),
            np.concatenate([each.labels for each in known]) if labelled else None,
            np.concatenate([each.scores for each in known]),
        )

    def compare(
        self, predict: Callable[[np.ndarray], np.ndarray], threshold: float
    ) -> tuple[Parity, Parity | None]:
        """Compares an export's scores with the model's.

        Args:
            predict: The export's scores (n, 1) of images.
            threshold: The export's threshold.

        Returns:
            On held-out images, and on those of the test if there are any.
        """
        held_out, test = (
            scored
            and compare(
                scored.scores,
                self.threshold,
                predict(scored.images)[:, 0],
                threshold,
                scored.labels,
            )
            for scored in (self.held_out, self.test)
        )
        return held_out, test


def gather(
    model: "EGAN",
    representative: Images | Labelled | None,
    validation_data: Labelled | None,
    test_data: Labelled | None,
) -> Evidence:
    """Scores the images that an export will be compared by.

    Raises:
        ValueError: If there are none, or they do not fit the model.
    """
    if representative is None and validation_data is None:
        raise ValueError(
            "An export is compared with the model on real images; expected "
            "validation_data, representative or both. Received: neither. Pass held-out "
            "images: validation_data=(validation.images, validation.labels)."
        )
    return Evidence(
        threshold=model.threshold,
        representative=_representative(model, representative),
        validation=_scored(model, validation_data),
        test=_scored(model, test_data),
    )


def _representative(model: "EGAN", given: Images | Labelled | None) -> Scored | None:
    """Chooses images of both classes, as many of each as can be had."""
    if given is None:
        return None
    if isinstance(given, tuple):
        images, labels = given
        labels = data.check_labels(labels, len(images))
        chosen = _of_both_classes(labels)
        return _scored(model, (images[chosen], labels[chosen]))
    # Without labels, what the model calls minority is taken for it.
    scored = _scored(model, (given, None))
    chosen = _of_both_classes(scored.labels_or_calls(model.threshold))
    return Scored(scored.images[chosen], None, scored.scores[chosen])


def _scored(
    model: "EGAN", given: tuple[Images, np.ndarray | None] | None
) -> Scored | None:
    if given is None:
        return None
    images, labels = given
    if labels is not None:
        labels = data.check_labels(labels, len(images))
    images = data.check_images(images, image_shape=model.image_shape)
    rows = _evenly(len(images), _SCORED)
    images = images[rows]
    scores = model.predict(images, batch_size=_BATCH_SIZE, verbose=0)
    labels = None if labels is None else labels[rows]
    return Scored(images, labels, scores[:, 0])


def _of_both_classes(is_minority: np.ndarray) -> np.ndarray:
    minority, majority = np.flatnonzero(is_minority), np.flatnonzero(is_minority == 0)
    few = min(len(minority), len(majority), _REPRESENTATIVE // 2)
    fewer, more = sorted((minority, majority), key=len)
    chosen = [
        fewer[_evenly(len(fewer), few)],
        more[_evenly(len(more), _REPRESENTATIVE - few)],
    ]
    return np.sort(np.concatenate(chosen))


def _evenly(n_rows: int, wanted: int) -> np.ndarray:
    """Returns the numbers of at most so many rows, evenly spaced."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, wanted)).astype(int))
