"""A threshold that belongs to the weights it was set with, and what was trained on."""

import hashlib
import warnings
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike

from egan_keras import data, features, logs, thresholds
from egan_keras.model.minority_classes import MinorityClasses
from egan_keras.networks import MajorityAwareScore

_TRAINED_ON = "trained_on"
_CLASSES, _DIRECTIONS = "minority_classes", "minority_directions"
_BATCH_SIZE = 128


class Judged(NamedTuple):
    """What a model says of images.

    Attributes:
        scores: float32 (n,), low = minority.
        distances: How far from the majority the image is as a whole, in the majority's
            standard deviations, float32 (n,); `None` where the score knows none.
        most_like: Name of the minority class that the image is most like, whether it is
            minority or not, str (n,); `None` unless the model has learned several.
    """

    scores: np.ndarray
    distances: np.ndarray | None = None
    most_like: np.ndarray | None = None

    @classmethod
    def joined(cls, parts: Sequence["Judged"]) -> "Judged":
        """Returns several batches as one."""
        scores, distances, most_like = zip(*parts, strict=True)
        return cls(
            np.concatenate(scores),
            None if distances[0] is None else np.concatenate(distances),
            None if most_like[0] is None else np.concatenate(most_like),
        )


class Scored(NamedTuple):
    """Labelled images with their scores.

    Attributes:
        scores: float32 (n,), low = minority.
        labels: int32 (n,), 0 majority and 1 minority.
        trained_on: Whether `fit` was given the image, bool (n,).
        distances: As in `Judged`.
        most_like: As in `Judged`.
    """

    scores: np.ndarray
    labels: np.ndarray
    trained_on: np.ndarray
    distances: np.ndarray | None = None
    most_like: np.ndarray | None = None


class Calibrated(keras.Model):
    """A Keras model with a threshold, that knows which images it was trained on.

    A subclass sets `discriminator` in its constructor, and has `_batches`, which gives
    checked batches of images and labels.

    Attributes:
        minority_classes: What tells several minority classes apart; `None` unless the
            model has learned them.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._calibration: thresholds.Calibration | None = None
        self._calibrated_weights: str | None = None
        self._hashes_trained_on = np.empty(0, np.uint64)
        self.minority_classes: MinorityClasses | None = None

    @property
    def calibration(self) -> thresholds.Calibration | None:
        """How the threshold was set; `None` if it was not, or for other weights.

        Scores change with the weights, whatever changes these: `fit`, `set_weights`,
        `assign`, or building the model anew from its configuration.
        """
        # One that was saved before weights were noted is believed.
        if self._calibration is None or self._calibrated_weights is None:
            return self._calibration
        fits = self._weights_hash() == self._calibrated_weights
        return self._calibration if fits else None

    @calibration.setter
    def calibration(self, calibration: thresholds.Calibration | None) -> None:
        self._calibration = calibration
        self._calibrated_weights = self._weights_hash() if calibration else None

    @property
    def threshold(self) -> float:
        """An image whose score is below it is called minority; 0 until calibrated.

        To set it by hand is to guarantee nothing.
        """
        calibration = self.calibration
        return calibration.threshold if calibration else 0.0

    @threshold.setter
    def threshold(self, value: float) -> None:
        self.calibration = thresholds.by_hand(value)

    def calibrate(
        self,
        images: data.Images,
        labels: ArrayLike | None = None,
        *,
        specificity: float | None = None,
        sensitivity: float | None = None,
        criterion: str | None = None,
        miss_cost: float | None = None,
        confidence: float | None = 0.95,
        false_alarm_cost: float = 1.0,
        prevalence: float | None = None,
    ) -> thresholds.Calibration:
        """Sets the threshold from held-out images that training did not see.

        Images that `fit` was given are left out, with a warning: their scores flatter.

        Args:
            images: Images (n, h, w, 3), 0..255, or a dataset of (images, labels).
            labels: Labels (n,), 0 or 1; `None` with a dataset.
            specificity: Wanted share of majority images that are not called minority,
                set from the majority images alone.
            sensitivity: Wanted share of minority images that are found.
            criterion: `"f1"` or `"youden"`, from images of both classes.
            miss_cost: Cost of a minority image that is not found, for the threshold of
                the least expected cost on images of both classes; needs `prevalence`.
            confidence: Confidence of the guarantee; `None` for none.
            false_alarm_cost: Cost of a majority image that is called minority.
            prevalence: Share of minority images where the model will be used, 0..1.

        Returns:
            How the threshold was set; kept in `calibration` and saved with the model.
            It holds for the weights of now: with others the threshold is 0.

        Raises:
            ValueError: If there are too few images for the guarantee, all were trained
                on, or not exactly one wish is given.
        """
        return self.calibrate_scored(
            self.score_labelled(images, labels),
            specificity=specificity,
            sensitivity=sensitivity,
            criterion=criterion,
            miss_cost=miss_cost,
            confidence=confidence,
            false_alarm_cost=false_alarm_cost,
            prevalence=prevalence,
        )

    def calibrate_scored(self, scored: Scored, **wish: Any) -> thresholds.Calibration:
        """Sets the threshold as `calibrate`, from what `score_labelled` returned."""
        scores, labels, trained_on, *_ = scored
        n_left_out, n_images = np.count_nonzero(trained_on), len(trained_on)
        if n_left_out == n_images:
            raise ValueError(
                "A threshold is set on held-out images; expected some that `fit` was "
                f"not given. Received: {n_images} images, all of them trained on. Hold "
                "images out before training, as ek.load_folder does."
            )
        left_out = (
            f"{n_left_out} of {n_images} images were left out, because `fit` was given "
            "them and their scores flatter."
        )
        scores, labels = scores[~trained_on], labels[~trained_on]
        try:
            self.calibration = thresholds.calibrate(scores, labels, **wish)
        except ValueError as error:
            if not n_left_out:
                raise
            raise ValueError(f"{error} {left_out}") from error
        if n_left_out:
            warnings.warn(
                f"{left_out} The threshold is set on the others.", stacklevel=3
            )
        return self.calibration

    def score_labelled(
        self,
        images: data.Images,
        labels: ArrayLike | None = None,
        *,
        batch_size: int = 128,
    ) -> Scored:
        """Returns the scores of labelled images, and which were trained on.

        Args:
            images: Images (n, h, w, 3), 0..255, or a dataset of (images, labels).
            labels: Labels (n,), 0 or 1; `None` with a dataset.
            batch_size: Images scored at once, where a dataset does not say.

        Raises:
            ValueError: If images or labels are refused, or all images are the same.
        """
        parts, batches = [], self._batches(images, labels, batch_size)
        judged = []
        with self.pass_over(batches.count):
            shown = logs.shown(batches, batches.count, size=lambda pair: len(pair[1]))
            for batch, own in shown:
                judged.append(self.judge_batch(batch))
                parts.append((own, data.row_hashes(batch)))
        labels, hashes = map(np.concatenate, zip(*parts, strict=True))
        scores, *others = Judged.joined(judged)
        data.check_not_all_the_same(hashes)
        data.warn_if_reversed(scores, labels)
        trained_on = np.isin(hashes, self._hashes_trained_on)
        return Scored(scores, labels, trained_on, *others)

    def pass_over(self, count: int | None = None) -> AbstractContextManager[None]:
        """Makes one pass of all `judge_batch` in it, of so many images if it is known.

        On a processor LiteRT then runs the frozen layers if there are many images,
        several times as fast as Keras, and scores differ from those of `predict` in
        their last digits. Who runs them depends on the number alone.
        """
        return features.compiled(self.discriminator.stem).pass_over(count)

    def judge(self, images: np.ndarray | data.LazyRows) -> Judged:
        """Judges checked images in one pass."""
        with self.pass_over(len(images)):
            batches = data.lazy.in_batches(images, _BATCH_SIZE)
            shown = logs.shown(batches, len(images), size=len)
            return Judged.joined([self.judge_batch(batch) for batch in shown])

    def judge_batch(self, images: np.ndarray) -> Judged:
        """Judges a batch of checked images."""
        rows = features.compiled(self.discriminator.stem)(images)
        scores = self.discriminator.predict_tail([rows])[:, 0].astype(np.float32)
        head, classes = self._head(), self.minority_classes
        if head is None:
            return Judged(scores, None, None)
        # Nothing but dropout stands before it: there, rows are vectors.
        most_like = classes and classes.most_like(head.vectors(rows[0]))
        distances = np.asarray(head.unlike(rows[0]), np.float32)
        return Judged(scores, distances, most_like)

    def learn_minority_classes(
        self, images: np.ndarray | data.LazyRows, class_names: Sequence[str]
    ) -> None:
        """Learns to tell which of several minority classes an image is most like.

        The scores stay as they are. Another `fit` forgets it. Nothing is learned where
        there is one class, or the recipe knows no distance from the majority.

        Args:
            images: Minority images of training (n, h, w, 3), 0..255, or lazy.
            class_names: Their classes (n,).
        """
        head = self._head()
        if head is None or len({*class_names}) < 2:
            self.minority_classes = None
            return
        stem = features.compiled(self.discriminator.stem)
        with self.pass_over(len(images)):
            batches = data.lazy.in_batches(images, _BATCH_SIZE)
            vectors = np.concatenate([head.vectors(stem(x)[0]) for x in batches])
        self.minority_classes = MinorityClasses.of(head, vectors, class_names)

    def _head(self) -> MajorityAwareScore | None:
        layers = self.discriminator.tail.layers
        return next((x for x in layers if isinstance(x, MajorityAwareScore)), None)

    def remember(self, hashes: np.ndarray) -> None:
        """Takes in which images are trained on, by their `data.row_hashes`."""
        self._hashes_trained_on = np.union1d(self._hashes_trained_on, hashes)

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Saves beside the weights which images were trained on, and the classes."""
        super().save_own_variables(store)
        store[_TRAINED_ON] = self._hashes_trained_on
        if self.minority_classes:
            store[_CLASSES] = self.minority_classes.names_as_bytes()
            store[_DIRECTIONS] = self.minority_classes.directions

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Loads what `save_own_variables` saved."""
        values = {name: store[name] for name in store.keys()}
        # Models that were saved before do not know.
        hashes = values.pop(_TRAINED_ON, np.empty(0))
        self._hashes_trained_on = np.asarray(hashes).astype(np.uint64)
        known = [values.pop(name, None) for name in (_CLASSES, _DIRECTIONS)]
        if known[0] is not None:
            self.minority_classes = MinorityClasses.from_bytes(*map(np.asarray, known))
        super().load_own_variables(values)

    def _weights_hash(self) -> str:
        """Returns what the weights that make the scores are recognised by."""
        digest = hashlib.sha256()
        for weight in self.discriminator.weights:
            array = np.ascontiguousarray(weight.numpy())
            digest.update(f"{array.shape} {array.dtype}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()[:32]
