"""KerasTuner: the hypermodel, and the search over pairings.

A trial is judged without test data: its minority images are held out in turn, and
ranked against the majority images of the validation split.
"""

from egan_keras.tuning.hypermodel import EGANHyperModel
from egan_keras.tuning.searching import Search, is_worker, search_pairings

__all__ = ["EGANHyperModel", "Search", "is_worker", "search_pairings"]
