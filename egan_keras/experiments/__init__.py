"""Comparisons of eGAN with what a user would try instead, as tables."""

from egan_keras.experiments.comparing import compare
from egan_keras.experiments.grid_file import make_grid, read_grid
from egan_keras.experiments.outcomes import Outcomes

__all__ = ["Outcomes", "compare", "make_grid", "read_grid"]
