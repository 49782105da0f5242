"""The discriminator and the generators, built from backbones."""

from egan_keras.networks.builders import UnitLength as UnitLength
from egan_keras.networks.builders import build as build
from egan_keras.networks.builders import build_on_features as build_on_features
from egan_keras.networks.cut_network import CutNetwork as CutNetwork
from egan_keras.networks.cut_network import InferenceMode as InferenceMode
from egan_keras.networks.cut_network import Weights as Weights
from egan_keras.networks.cut_network import as_cut as as_cut
from egan_keras.networks.cut_network import deserialized as deserialized
from egan_keras.networks.cut_network import feature_maps as feature_maps
from egan_keras.networks.cut_network import network_size as network_size
from egan_keras.networks.cut_network import pooled_features as pooled_features
from egan_keras.networks.cut_network import share_again as share_again
from egan_keras.networks.cut_network import shared_names as shared_names
from egan_keras.networks.evidence import ScoreAndHeatMap as ScoreAndHeatMap
from egan_keras.networks.majority import MajorityAwareScore as MajorityAwareScore
from egan_keras.networks.majority import (
    MajorityStandardization as MajorityStandardization,
)
from egan_keras.networks.matched_filter import cast as cast
from egan_keras.networks.places import PlaceEvidence as PlaceEvidence
from egan_keras.networks.recipes import RECIPES as RECIPES
from egan_keras.networks.recipes import Recipe as Recipe
from egan_keras.networks.recipes import get_recipe as get_recipe
