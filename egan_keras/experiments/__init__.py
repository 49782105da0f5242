"""Comparisons of eGAN with what a user would try instead, as tables."""

from egan_keras.experiments.comparing import compare
from egan_keras.experiments.grid import Cell, Grid, Method, Pairing, Part, Run, Task
from egan_keras.experiments.grid_file import (
    choose_methods,
    egan,
    known_methods,
    make_grid,
    read_grid,
)
from egan_keras.experiments.outcomes import Outcomes

__all__ = [
    "Cell",
    "Grid",
    "Method",
    "Outcomes",
    "Pairing",
    "Part",
    "Run",
    "Task",
    "choose_methods",
    "compare",
    "egan",
    "known_methods",
    "make_grid",
    "read_grid",
]
