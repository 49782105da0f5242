import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from egan_keras import keras_hooks, networks
from egan_keras.backbones import Backbone

pytestmark = pytest.mark.whole

TINY = Backbone("MobileNet", {"alpha": 0.25})
SHAPE = (32, 32, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (4, *SHAPE), "uint8")


def build(recipe, encoder=TINY, discriminator=TINY, shape=SHAPE, **choices):
    recipe = networks.get_recipe(recipe, **choices)
    return networks.build(encoder, discriminator, recipe, shape, weights=None)


def test_published_generator_is_the_papers():
    generator, discriminator = build("published")
    shapes = [tuple(weight.shape) for weight in generator.tail.trainable_variables]
    assert generator.output_shape == (None, 32, 32, 3)
    assert (256, 128) in shapes, "latent of 128 behind the pooled encoder"
    assert (128, 8 * 8 * 32) in shapes, "decoder starts from 8x8x32"
    assert (3, 3, 64, 32) in shapes and (3, 3, 3, 64) in shapes, "two doublings"
    dropout = discriminator.tail.get_layer("dropout")
    assert dropout.rate == 0.2


def test_published_trains_the_last_five_layers_of_both_backbones():
    generator, discriminator = build("published")
    names = [layer.name for layer in TINY.build(32, weights=None).layers[-5:]]
    for network in (generator, discriminator):
        backbone_tail = next(
            layer
            for layer in keras_hooks.every_layer(network.tail)
            if layer.name.startswith("mobilenet") and layer.name.endswith("_tail")
        )
        assert [layer.name for layer in backbone_tail.layers][1:] == names
        assert not network.stem.trainable_variables


def test_published_fakes_are_pixels_and_divided_by_255_in_the_discriminator():
    generator, discriminator = build("published")
    fakes = keras.ops.convert_to_numpy(generator(IMAGES))
    assert 1 < fakes.max() <= 255 and fakes.min() >= 0
    assert discriminator.stem.get_layer("rescaling").scale == 1 / 255


def test_default_generates_features_of_the_discriminator():
    generator, discriminator = build("default")
    # Vectors of two depths; of places, unlike in each of two, and like the few.
    size = 256 + 128 + 2 + 1
    assert generator.output_shape == discriminator.stem.output_shape == (None, size)
    assert discriminator.stem.get_layer("resizing").height == 128


def test_default_shares_one_stem_where_both_backbones_are_the_same():
    generator, discriminator = build("default")
    assert discriminator.stem in generator.stem.layers
    other, _ = build("default", encoder=Backbone("MobileNet", {"alpha": 0.5}))
    assert len(other.stem.weights) > len(generator.stem.weights)


def test_features_of_two_depths_stand_side_by_side():
    recipe = networks.get_recipe("default", network_size=64)
    stem, sizes = networks.pooled_features(TINY, recipe, SHAPE, weights=None)
    assert sizes == [256, 128] and stem.output_shape == (None, 384)
    maps = networks.feature_maps(TINY.build(64, weights=None), 3)
    assert [tuple(each.shape[1:]) for each in maps] == [
        (2, 2, 256),
        (4, 4, 128),
        (8, 8, 64),
    ]
    with pytest.raises(ValueError, match="maps of 2 sizes.*depths=9.*fewer depths"):
        networks.feature_maps(model_of_two_sizes(), 9)


def model_of_two_sizes():
    images = keras.Input((8, 8, 3))
    return keras.Model(images, keras.layers.MaxPooling2D()(keras.layers.ReLU()(images)))


def test_vectors_of_each_depth_have_length_one_whatever_the_contrast():
    layer = networks.UnitLength([3, 5])
    rows = np.random.default_rng(0).normal(size=(4, 8)).astype("float32")
    result = keras.ops.convert_to_numpy(layer(rows))
    np.testing.assert_allclose(np.linalg.norm(result[:, :3], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(result[:, 3:], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(layer(7 * rows), result, atol=1e-6)
    np.testing.assert_array_equal(layer(0 * rows), 0 * rows)


@pytest.mark.parametrize(
    ("name", "alpha"), [("MobileNet", 0.25), ("MobileNetV2", 0.35)]
)
def test_what_follows_a_small_backbone_is_small_beside_it(name, alpha):
    backbone = Backbone(name, {"alpha": alpha})
    _, discriminator = build("default", discriminator=backbone)
    own = backbone.build(128, weights=None).count_params()
    assert discriminator.count_params() - own <= own / 2
    theirs = operations(backbone.build(128, weights=None), (128, 128, 3))
    assert operations(discriminator, SHAPE) - theirs <= 0.25 * theirs


def test_what_follows_the_backbone_needs_no_operator_that_tflite_lacks():
    _, discriminator = build("default")
    function = tf.function(lambda rows: discriminator.tail(rows, training=False))
    concrete = function.get_concrete_function(
        tf.TensorSpec((1, *discriminator.tail.input_shape[1:]))
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [concrete], discriminator.tail
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    assert b"Flex" not in converter.convert()


def operations(model, image_shape):
    """Returns the floating-point operations of one image, as TensorFlow counts them."""
    function = tf.function(lambda image: model(image, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec((1, *image_shape)))
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    graph = convert_variables_to_constants_v2(concrete).graph
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops


@pytest.mark.parametrize("recipe", networks.RECIPES)
def test_cut_network_is_its_tail_behind_its_stem(recipe):
    for network in build(recipe):
        whole = keras.ops.convert_to_numpy(network(IMAGES, training=False))
        features = network.stem(IMAGES, training=False)
        parts = keras.ops.convert_to_numpy(network.tail(features, training=False))
        np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-4)


def test_trained_batch_normalisation_stays_in_inference_mode():
    _, discriminator = build("published")
    features = discriminator.stem(IMAGES, training=False)
    before = [np.array(weight) for weight in discriminator.tail.non_trainable_weights]
    discriminator.tail(features, training=True)
    for old, new in zip(before, discriminator.tail.non_trainable_weights, strict=True):
        if "seed" not in new.path:
            np.testing.assert_array_equal(old, np.array(new))


def test_images_of_any_size_reach_the_network_size():
    generator, discriminator = build("published", shape=(50, 40, 3))
    assert discriminator.stem.get_layer("resizing").height == 32
    assert generator.output_shape == (None, 50, 40, 3)


@pytest.mark.parametrize(
    ("shape", "expected"), [((32, 32, 3), 128), ((50, 40, 3), 200), ((500, 9, 3), 224)]
)
def test_small_images_are_enlarged_three_times_at_most(shape, expected):
    assert networks.network_size(TINY, shape) == expected


def test_standardization_is_the_majoritys():
    features = np.random.default_rng(0).normal(3, 2, (500, 7)).astype("float32")
    layer = networks.MajorityStandardization()
    layer.build((None, 7))
    assert not layer.is_adapted
    layer.adapt(features)
    result = keras.ops.convert_to_numpy(layer(features))
    assert layer.is_adapted
    np.testing.assert_allclose(result.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(result.std(axis=0), 1 / np.sqrt(1.09), atol=2e-2)


@pytest.mark.parametrize("constant", [slice(0, 1), slice(None)])
def test_standardization_of_constant_features_stays_finite(constant):
    features = np.random.default_rng(0).normal(3, 2, (50, 7)).astype("float32")
    features[:, constant] = 5
    layer = networks.MajorityStandardization()
    layer.build((None, 7))
    layer.adapt(features)
    result = keras.ops.convert_to_numpy(layer(features + 1))
    assert np.isfinite(result).all() and np.abs(result).max() < 20


def test_a_plain_functional_model_is_cut_behind_its_frozen_layers():
    base = TINY.build(32, weights=None)
    base.trainable = False
    inputs = keras.Input(SHAPE)
    x = keras.layers.GlobalAveragePooling2D()(base(inputs, training=False))
    network = keras.Model(inputs, keras.layers.Dense(1)(x))
    cut = networks.as_cut(network)
    assert len(cut.stem.weights) == len(base.weights)
    assert len(cut.tail.weights) == 2
    images = IMAGES.astype("float32")
    np.testing.assert_allclose(cut(images), network(images), atol=1e-5)


def test_a_model_without_frozen_layers_has_images_as_features():
    network = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten()])
    network.add(keras.layers.Dense(1))
    cut = networks.as_cut(network)
    assert cut.stem.output_shape == (None, 4, 4, 3)


def test_random_layers_are_never_part_of_a_cached_stem():
    base = TINY.build(32, weights=None)
    base.trainable = False
    network = keras.Sequential([keras.Input(SHAPE), keras.layers.RandomFlip(), base])
    network.add(keras.layers.GlobalAveragePooling2D())
    network.add(keras.layers.Dense(1))
    cut = networks.as_cut(network)
    assert not cut.stem.weights and "random_flip" in cut.tail.layers[1].name


def test_a_model_of_unknown_structure_is_refused():
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match="functional or Sequential.*Subclassed"):
        networks.as_cut(Subclassed())


def test_a_changed_recipe_does_not_pass_for_the_original():
    assert str(networks.get_recipe("published")) == "published"
    changed = networks.get_recipe("published", network_size=64)
    assert str(changed) == "published (network_size=64)"


def test_unknown_recipe_and_choice_are_refused():
    with pytest.raises(ValueError, match="Unknown recipe.*published, default.*'paper'"):
        networks.get_recipe("paper")
    with pytest.raises(ValueError, match="no such choice.*latent_size.*latent=3"):
        networks.get_recipe("default", latent=3)
    with pytest.raises(ValueError, match="kind of fakes.*generates='videos'"):
        build("default", generates="videos")


def test_features_cannot_be_generated_for_a_cut_inside_the_backbone():
    with pytest.raises(ValueError, match="one vector an image.*trained_layers=0"):
        choices = {"depths": 1, "unit_length": False, "standardize": False}
        choices["place_depths"] = 0
        build("default", trained_layers=5, distance_weight=0.0, **choices)
    with pytest.raises(ValueError, match="Received: trained_layers=5, depths=2, .*1.5"):
        build("default", trained_layers=5)


def test_grayscale_image_shape_is_refused():
    with pytest.raises(ValueError, match="must be RGB.*image_shape=\\(28, 28, 1\\)"):
        build("default", shape=(28, 28, 1))


def test_recipes_name_every_choice():
    fields = {field.name for field in dataclasses.fields(networks.Recipe)}
    for recipe in networks.RECIPES.values():
        assert set(dataclasses.asdict(recipe)) == fields
