"""A threshold, how it was set, and what that guarantees."""

import dataclasses
from typing import Any

import numpy as np

from egan_keras import schemas

COST, BY_HAND = "cost", "by hand"


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A threshold and how it was set.

    Attributes:
        threshold: an image is minority when its score is below it.
        criterion: 'specificity', 'sensitivity', 'f1', 'youden', 'cost' or 'by hand'.
        target: the wanted specificity or sensitivity, in (0, 1); None for a criterion
            that has none.
        confidence: probability that the target is met, in (0, 1); None when there is
            no guarantee.
        n_majority: majority images the threshold was set on.
        n_minority: minority images the threshold was set on.
        guarantee: one sentence for reports that says what is guaranteed.
        costs: what the criterion 'cost' weighed: `miss_cost`, `false_alarm_cost` and
            `prevalence`; None of other criteria.

    Raises:
        ValueError: if the threshold is no finite number: nothing would be minority.
    """

    threshold: float
    criterion: str
    target: float | None
    confidence: float | None
    n_majority: int
    n_minority: int
    guarantee: str
    costs: dict[str, float] | None = None

    def __post_init__(self) -> None:
        """Refuses a threshold by which all images would be called alike."""
        if not np.isfinite(self.threshold):
            raise ValueError(
                "A threshold must be a finite number, else all images are called "
                f"alike. Received: threshold={self.threshold}. Calibrate the model "
                "on finite scores."
            )

    @property
    def wish(self) -> dict[str, Any]:
        """Arguments of `calibrate` that set a threshold on other scores alike."""
        if self.criterion == BY_HAND:
            return {"threshold": self.threshold}
        if self.costs:
            return dict(self.costs)
        if self.target is None:
            return {"criterion": self.criterion}
        return {self.criterion: self.target, "confidence": self.confidence}

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a dictionary that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Calibration":
        """Returns the calibration that `to_dict` wrote.

        A value that is missing, of another type, or cannot be, is a ValueError.
        """
        try:
            schemas.check(values, schemas.CALIBRATION)
        except ValueError as error:
            raise ValueError(
                "The calibration of a model cannot be; expected what "
                f"`Calibration.to_dict` gave. Received: {error}. Calibrate the model "
                "again, or copy its file again."
            ) from error
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: values[name] for name in known & values.keys()})


def by_hand(threshold: float) -> Calibration:
    """Returns a threshold that somebody chose, of which nothing is guaranteed.

    >>> by_hand(-1.5).guarantee
    'No guarantee: the threshold was set by hand.'
    """
    guarantee = "No guarantee: the threshold was set by hand."
    return Calibration(float(threshold), BY_HAND, None, None, 0, 0, guarantee)
