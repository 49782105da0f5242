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
from egan_keras.evaluation.report import Report, evaluate
from egan_keras.evaluation.report_page import Origin
from egan_keras.evaluation.shortcuts import Shortcuts, find_shortcuts
from egan_keras.version import versions

__all__ = [
    "Origin",
    "Report",
    "Shortcuts",
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
    "save_plots",
    "versions",
]
