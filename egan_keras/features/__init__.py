"""Frozen features: what a stem puts out, computed once, in memory or in files.

A stem is frozen, so its output depends on the image alone. Features are lists of
arrays, one for each tensor on the stem's frontier; `data.LazyRows` where they are in
files. Images themselves are the features of a network without a stem.
"""

from egan_keras.features.feature_files import kept_statistics
from egan_keras.features.feature_store import (
    FeatureStore,
    by_class,
    labelled,
    stem_features,
)
from egan_keras.features.stems import (
    Features,
    KeptMaps,
    StemFunction,
    compiled,
    of_least_hashes,
)
from egan_keras.features.training_rows import (
    RowNumbers,
    Tables,
    labelled_dataset,
    training_dataset,
)

__all__ = [
    "FeatureStore",
    "Features",
    "KeptMaps",
    "RowNumbers",
    "StemFunction",
    "Tables",
    "by_class",
    "compiled",
    "kept_statistics",
    "labelled",
    "labelled_dataset",
    "of_least_hashes",
    "stem_features",
    "training_dataset",
]
