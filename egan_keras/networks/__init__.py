"""The discriminator and the generators, built from backbones."""

from egan_keras.networks.builders import build, build_on_features
from egan_keras.networks.cut_network import (
    CutNetwork,
    Weights,
    as_cut,
    feature_maps,
    network_size,
    pooled_features,
    share_again,
    shared_names,
)
from egan_keras.networks.head import MajorityAwareScore
from egan_keras.networks.layers import (
    InferenceMode,
    MajorityStandardization,
    UnitLength,
    config_in_float32,
    deserialized,
    in_full_precision,
    is_mixed,
)
from egan_keras.networks.recipes import RECIPES, Recipe, get_recipe

__all__ = [
    "RECIPES",
    "CutNetwork",
    "InferenceMode",
    "MajorityAwareScore",
    "MajorityStandardization",
    "Recipe",
    "UnitLength",
    "Weights",
    "as_cut",
    "build",
    "build_on_features",
    "config_in_float32",
    "deserialized",
    "feature_maps",
    "get_recipe",
    "in_full_precision",
    "is_mixed",
    "network_size",
    "pooled_features",
    "share_again",
    "shared_names",
]
