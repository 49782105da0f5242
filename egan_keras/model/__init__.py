"""EGAN: compile, fit, the adversarial step, calibration, saving."""

from egan_keras.model.calibrated import Judged, Scored
from egan_keras.model.cross_fitting import calibrate_cross_fitted, cross_fitted_scores
from egan_keras.model.egan import EGAN
from egan_keras.model.trainer import StopOnDivergence

__all__ = [
    "EGAN",
    "Judged",
    "Scored",
    "StopOnDivergence",
    "calibrate_cross_fitted",
    "cross_fitted_scores",
]
