"""The discriminator and the generators, built from backbones."""

from egan_keras.networks.builders import (
    Weights,
    build,
    build_discriminator,
    build_generator,
    network_size,
    pooled_features,
)
from egan_keras.networks.cut_network import (
    CutNetwork,
    as_cut,
    share_again,
    shared_names,
)
from egan_keras.networks.depths import feature_maps
from egan_keras.networks.head import MajorityAwareScore
from egan_keras.networks.layers import MajorityStandardization, UnitLength
from egan_keras.networks.on_features import build_on_features
from egan_keras.networks.precision import (
    config_in_float32,
    in_full_precision,
    is_mixed,
)
from egan_keras.networks.recipes import (
    RECIPES,
    Recipe,
    get_recipe,
)

__all__ = [
    "RECIPES",
    "CutNetwork",
    "MajorityAwareScore",
    "MajorityStandardization",
    "Recipe",
    "UnitLength",
    "Weights",
    "as_cut",
    "build",
    "build_discriminator",
    "build_generator",
    "build_on_features",
    "config_in_float32",
    "feature_maps",
    "get_recipe",
    "in_full_precision",
    "is_mixed",
    "network_size",
    "pooled_features",
    "share_again",
    "shared_names",
]
