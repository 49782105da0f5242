"""Frozen features: what a stem puts out, computed once, in memory or in files.

A stem is frozen, so its output depends on the image alone. Features are lists of
arrays, one for each tensor on the stem's frontier; `data.LazyRows` where they are in
files. Images themselves are the features of a network without a stem.
"""

from egan_keras.features.feature_files import kept_statistics as kept_statistics
from egan_keras.features.feature_store import FeatureStore as FeatureStore
from egan_keras.features.feature_store import SharedFeatureStore as SharedFeatureStore
from egan_keras.features.feature_store import by_class as by_class
from egan_keras.features.feature_store import labelled as labelled
from egan_keras.features.feature_store import stem_features as stem_features
from egan_keras.features.stems import Features as Features
from egan_keras.features.stems import Images as Images
from egan_keras.features.stems import KeptMaps as KeptMaps
from egan_keras.features.stems import StemFunction as StemFunction
from egan_keras.features.stems import compiled as compiled
from egan_keras.features.stems import of_least_hashes as of_least_hashes
from egan_keras.features.training_rows import RowNumbers as RowNumbers
from egan_keras.features.training_rows import labelled_dataset as labelled_dataset
from egan_keras.features.training_rows import training_dataset as training_dataset
