"""The images by which an export is compared with the model, and its ranges set."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from egan_keras import data
from egan_keras.data.lazy import LazyRows
from egan_keras.exporting.parity import NotFiniteError, Parity, compare
from egan_keras.metrics import bootstrap_intervals, score_metrics

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

    def evenly(self, wanted: int) -> "Scored":
        """Returns at most so many of the images, evenly spaced."""
        rows = _evenly(len(self.images), wanted)
        labels = None if self.labels is None else self.labels[rows]
        return Scored(self.images[rows], labels, self.scores[rows])

    def compare(
        self, scores: np.ndarray, threshold: float, export_threshold: float
    ) -> Parity:
        """Compares an export's scores with the model's.

        Args:
            scores: The export's, float32 (n,).
            threshold: The model's.
            export_threshold: The export's.
        """
        return compare(self.scores, threshold, scores, export_threshold, self.labels)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What an export makes of the images.

    Attributes:
        held_out: How it compares with the model on held-out images.
        test: The same on test images; `None` without any.
        results: The export's own metrics at its own threshold on the test images, with
            their 95% intervals as `ci95`, as an object that JSON can hold.
    """

    held_out: Parity
    test: Parity | None
    results: dict[str, Any] | None


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
    ) -> Comparison:
        """Compares an export's scores with the model's, and judges it by its own.

        Args:
            predict: The export's scores (n, 1) of images.
            threshold: The export's threshold.

        Raises:
            NotFiniteError: If a score is no finite number.
        """
        held_out = self.compare_held_out(predict, threshold)
        if self.test is None:
            return Comparison(held_out, None, None)
        scores = _finite(predict(self.test.images))
        test = self.test.compare(scores, self.threshold, threshold)
        judged = scores, self.test.labels, threshold
        intervals = bootstrap_intervals(*judged)
        results = {
            "threshold": threshold,
            **score_metrics(*judged),
            "ci95": {name: list(ends) for name, ends in intervals.items()},
        }
        return Comparison(held_out, test, results)

    def compare_held_out(
        self, predict: Callable[[np.ndarray], np.ndarray], threshold: float
    ) -> Parity:
        """Compares an export's scores of held-out images with the model's."""
        images = self.held_out
        scores = _finite(predict(images.images))
        return images.compare(scores, self.threshold, threshold)


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
    if test_data is not None and test_data[1] is None:
        raise ValueError(
            "Test images judge the export; expected their labels, too. Received: "
            "test_data=(images, None). Pass test_data=(test.images, test.labels)."
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


def _finite(scores: np.ndarray) -> np.ndarray:
    """Returns scores (n, 1) as (n,), or refuses an export that gives none."""
    if not np.isfinite(scores).all():
        raise NotFiniteError(
            "The export answers with scores that are no numbers; expected finite ones. "
            f"Received: {np.sum(~np.isfinite(scores))} of {len(scores)} NaN or "
            "infinite. Check whether training diverged, or choose another form."
        )
    return scores[:, 0]
