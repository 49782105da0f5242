"""Reports of a model on labelled images, plots and pages of them."""

from egan_keras.evaluation.heat_map import heat_maps, overlaid, plot_heat_maps
from egan_keras.evaluation.plots import (
    plot_history,
    plot_mistakes,
    plot_precision_recall,
    plot_roc,
    plot_scores,
    save_plots,
)
from egan_keras.evaluation.report import Report, evaluate, report_on_scores
from egan_keras.evaluation.report_page import Origin, Suspects
from egan_keras.evaluation.shift import FEWEST, Shift, shift
from egan_keras.evaluation.shortcuts import Shortcuts, find_shortcuts
from egan_keras.version import versions

__all__ = [
    "FEWEST",
    "Origin",
    "Report",
    "Shift",
    "Shortcuts",
    "Suspects",
    "evaluate",
    "find_shortcuts",
    "heat_maps",
    "overlaid",
    "plot_heat_maps",
    "plot_history",
    "plot_mistakes",
    "plot_precision_recall",
    "plot_roc",
    "plot_scores",
    "report_on_scores",
    "save_plots",
    "shift",
    "versions",
]
