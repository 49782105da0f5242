"""EGAN: compile, fit, the adversarial step, calibration, saving."""

from egan_keras.model.archive import load as load
from egan_keras.model.egan import EGAN as EGAN
from egan_keras.model.judging import Judged as Judged
from egan_keras.model.judging import Scored as Scored
from egan_keras.model.on_features import (
    calibrate_cross_fitted as calibrate_cross_fitted,
)
from egan_keras.model.on_features import cross_fitted_scores as cross_fitted_scores
