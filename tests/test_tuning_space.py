import argparse

import keras_tuner
import numpy as np
import pytest

import egan_keras as ek
from egan_keras.cli import tune
from egan_keras.networks import RECIPES

TINY = "MobileNet:alpha=0.25"
SHAPE = (32, 32, 3)


def hypermodel(**choices):
    return ek.EGANHyperModel(SHAPE, encoders=[TINY, "VGG16"], weights=None, **choices)


def test_what_is_searched_where_nothing_is_said():
    space = hypermodel(discriminators=[TINY]).space
    assert space.searched == {"network_size": [None, 96], "depths": [2, 1, 3]}
    assert space.size == 2 * 1 * 2 * 3
    published = hypermodel(recipe="published").space
    assert published.searched == {"trained_layers": [5, 10]}


def test_a_choice_is_fixed_by_one_value_and_searched_by_several():
    space = hypermodel(depths=1, network_size=[64, 128], latent_size=[8, 128]).space
    assert space.recipe.depths == 1 and space.size == 4 * 2 * 2
    # The first trial is the recipe as it is: 128 pixels for images of 32.
    assert space.searched == {"network_size": [128, 64], "latent_size": [128, 8]}
    hp = keras_tuner.HyperParameters()
    hp.values = {"encoder": "VGG16", "latent_size": 8, "network_size": 64}
    chosen = space.choose(hp)
    assert chosen.encoder == "VGG16" and chosen.discriminator == TINY
    assert (chosen.recipe.latent_size, chosen.recipe.network_size) == (8, 64)
    assert chosen.recipe.dropout == RECIPES["default"].dropout


def test_choices_of_several_types_keep_their_values():
    space = hypermodel(
        minority_batch_size=[None, 16], dropout=[0, 0.5], network_size=32, depths=1
    ).space
    hp = keras_tuner.HyperParameters()
    space.choose(hp)
    assert hp.values["minority_batch_size"] == "None" and hp.values["dropout"] == "0"
    assert space.choose(hp).recipe.minority_batch_size is None
    hp.values |= {"minority_batch_size": "16", "dropout": "0.5"}
    recipe = space.choose(hp).recipe
    assert (recipe.minority_batch_size, recipe.dropout) == (16, 0.5)


def test_build_gives_a_compiled_model():
    model = hypermodel(network_size=32, depths=[1, 2]).build(
        keras_tuner.HyperParameters()
    )
    assert model.pairing == f"{TINY}->{TINY}" and model.recipe.depths == 2
    assert model.compiled and model.image_shape == SHAPE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoders": []}, r"expected a list.*encoders=\[\]"),
        ({"encoders": TINY}, "expected a list"),
        ({"encoders": ["VGG99"]}, "Unknown backbone.*VGG"),
        ({"discriminators": [TINY, "Nothing"]}, "Unknown backbone"),
        ({"recipe": "best"}, "Unknown recipe"),
        ({"colour": [1, 2]}, "no such choice.*latent_size"),
        ({"loss": ["hinge", "magic"]}, "magic"),
        ({"depths": []}, r"values to choose among.*depths=\[\]"),
    ],
)
def test_unknown_choices_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ek.EGANHyperModel(SHAPE, **{"encoders": [TINY], **arguments})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("VGG16", ["VGG16"]),
        ("VGG16,ResNet50", ["VGG16", "ResNet50"]),
        (f"{TINY}, MobileNetV2:alpha=0.35", [TINY, "MobileNetV2:alpha=0.35"]),
        (
            "MobileNetV3Small:alpha=0.75,minimalistic=True,VGG16",
            ["MobileNetV3Small:alpha=0.75,minimalistic=True", "VGG16"],
        ),
    ],
)
def test_backbones_with_options_stand_in_one_list(text, expected):
    assert tune.backbones(text) == expected
    assert [str(ek.Backbone.parse(spec)) for spec in expected] == expected


@pytest.mark.parametrize("text", ["latent_size", "=3", "latent_size=", " = "])
def test_unreadable_choices_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected NAME=VALUE"):
        tune.choice(text)


def test_each_backbone_can_have_weights_of_its_own(tiny_weights):
    other = "MobileNet:alpha=0.5"
    arguments = {"image_shape": SHAPE, "network_size": 32}
    weights = {TINY: tiny_weights, other: None}
    model = ek.EGAN.from_backbones(other, TINY, weights=weights, **arguments)
    plain = ek.EGAN.from_backbones(TINY, TINY, weights=tiny_weights, **arguments)
    for ours, theirs in zip(
        model.discriminator.stem.weights, plain.discriminator.stem.weights, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="no weights named.*Add 'MobileNet:alpha=0.5'"):
        ek.EGAN.from_backbones(other, TINY, weights={TINY: None}, **arguments)
