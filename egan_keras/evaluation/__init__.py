"""Reports of a model on labelled images, plots and pages of them."""

from egan_keras.evaluation.plots import plot_history as plot_history
from egan_keras.evaluation.plots import plot_precision_recall as plot_precision_recall
from egan_keras.evaluation.plots import plot_roc as plot_roc
from egan_keras.evaluation.plots import plot_scores as plot_scores
from egan_keras.evaluation.plots import save_plots as save_plots
from egan_keras.evaluation.report import Report as Report
from egan_keras.evaluation.report import evaluate as evaluate
from egan_keras.evaluation.report import report_on_scores as report_on_scores
from egan_keras.evaluation.report_page import Origin as Origin
from egan_keras.evaluation.report_page import Suspects as Suspects
from egan_keras.evaluation.sheets import heat_maps as heat_maps
from egan_keras.evaluation.sheets import overlaid as overlaid
from egan_keras.evaluation.sheets import plot_heat_maps as plot_heat_maps
from egan_keras.evaluation.sheets import plot_mistakes as plot_mistakes
from egan_keras.evaluation.shift import FEWEST as FEWEST
from egan_keras.evaluation.shift import Shift as Shift
from egan_keras.evaluation.shift import shift as shift
from egan_keras.evaluation.shortcuts import Shortcuts as Shortcuts
from egan_keras.evaluation.shortcuts import find_shortcuts as find_shortcuts
from egan_keras.keras_hooks import versions as versions
