"""Comparisons of eGAN with what a user would try instead, as tables."""

from egan_keras.experiments.comparing import compare
from egan_keras.experiments.grid import Grid, Pairing
from egan_keras.experiments.grid_file import (
    choose_methods,
    known_methods,
    make_grid,
    read_grid,
)
from egan_keras.experiments.outcomes import Outcomes

__all__ = [
    "Grid",
    "Outcomes",
    "Pairing",
    "choose_methods",
    "compare",
    "known_methods",
    "make_grid",
    "read_grid",
]
