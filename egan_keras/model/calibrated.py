"""A threshold that belongs to the weights it was set with, and what was trained on."""

import hashlib
import warnings
from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from egan_keras import data, thresholds
from egan_keras.model.judging import Judging, MinorityClasses, Scored

_TRAINED_ON = "trained_on"
_CLASSES, _DIRECTIONS = "minority_classes", "minority_directions"


class Calibrated(Judging):
    """A Keras model with a threshold, that knows which images it was trained on."""

    _calibration: thresholds.Calibration | None = None
    _calibrated_weights: str | None = None
    _hashes_trained_on = np.empty(0, np.uint64)

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
