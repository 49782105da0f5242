"""EGAN: compile, fit, the adversarial step, calibration, saving."""

from egan_keras.model.divergence import StopOnDivergence
from egan_keras.model.egan import EGAN

__all__ = ["EGAN", "StopOnDivergence"]
