"""Frozen features: what a stem puts out, computed once, in memory or in files.

A stem is frozen, so its output depends on the image alone. Features are lists of
arrays, one for each tensor on the stem's frontier; `data.LazyRows` where they are in
files. Images themselves are the features of a network without a stem.
"""

from egan_keras.features.cache import FeatureStore
from egan_keras.features.datasets import labelled_dataset, training_dataset
from egan_keras.features.extraction import by_class, in_batches, labelled
from egan_keras.features.orders import RowNumbers
from egan_keras.features.standardized import StandardizedStem
from egan_keras.features.statistics import load_statistics, save_statistics
from egan_keras.features.stems import Features, RecognisingStem, StemFunction
from egan_keras.features.tables import Tables

__all__ = [
    "FeatureStore",
    "Features",
    "RecognisingStem",
    "RowNumbers",
    "StandardizedStem",
    "StemFunction",
    "Tables",
    "by_class",
    "in_batches",
    "labelled",
    "labelled_dataset",
    "load_statistics",
    "save_statistics",
    "training_dataset",
]
