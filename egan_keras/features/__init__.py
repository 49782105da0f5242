"""Frozen features: what a stem puts out, computed once, in memory.

A stem is frozen, so its output depends on the image alone. Features are lists of
arrays, one for each tensor on the stem's frontier; images themselves are the features
of a network without a stem.
"""

from egan_keras.features.datasets import labelled_dataset, training_dataset
from egan_keras.features.extraction import by_class, in_batches, labelled
from egan_keras.features.stems import Features, StemFunction, stem_function

__all__ = [
    "Features",
    "StemFunction",
    "by_class",
    "in_batches",
    "labelled",
    "labelled_dataset",
    "stem_function",
    "training_dataset",
]
