"""A network in two parts, a frozen stem and a trained tail, and backbones cut so."""

import os
from collections.abc import Iterable, Sequence

import keras
import numpy as np
from keras import layers
from keras.random import SeedGenerator

from egan_keras import backbones
from egan_keras.backbones import Backbone
from egan_keras.keras_hooks import full_precision
from egan_keras.networks.recipes import Recipe

Weights = str | os.PathLike[str] | None

_ENLARGEMENT = 4
# A map counts as twice as large from here on: odd sides do not halve exactly.
_LARGER = 1.5


@keras.saving.register_keras_serializable("egan_keras")
class InferenceMode(layers.Layer):
    """Runs a network in inference mode whatever the mode of what contains it.

    Its weights are trained, its batch normalisation keeps its moving statistics. To
    call a network with `training=False` inside a functional model does not suffice:
    in Keras 3 a `training=True` of the outer model overrides it.
    """

    def __init__(self, network: keras.Model, **kwargs) -> None:
        super().__init__(**kwargs)
        self.network = network
        self.built = True

    def call(self, inputs):
        """Returns the network's output in inference mode."""
        return self.network(inputs, training=False)

    def get_config(self) -> dict:
        """Returns the arguments of the constructor, serialised."""
        network = keras.saving.serialize_keras_object(self.network)
        return {**super().get_config(), "network": network}

    @classmethod
    def from_config(cls, config: dict) -> "InferenceMode":
        """Returns the layer that `get_config` described."""
        return cls(**deserialized(config, ["network"]))


@keras.saving.register_keras_serializable("egan_keras")
class CutNetwork(keras.Model):
    """A network in two parts: a frozen stem and a trained tail.

    What the stem puts out depends on the image alone, so that training may compute
    it once and read it ever after.

    Args:
        stem: Model from images to features, one tensor or several. It is frozen and
            always runs in inference mode.
        tail: Model from these features to the output.
        **kwargs: Arguments of `keras.Model`.
    """

    def __init__(self, stem: keras.Model, tail: keras.Model, **kwargs) -> None:
        stem.trainable = False
        inputs = keras.Input(stem.input_shape[1:], name="images")
        super().__init__(inputs, tail(stem(inputs)), **kwargs)
        self.stem = stem
        self.tail = tail

    def call(self, inputs, training=None, mask=None):
        """Returns the tail's output; `training` concerns the tail alone."""
        return self.tail(self.stem(inputs, training=False), training=training)

    def predict_tail(self, batches: Iterable) -> np.ndarray:
        """Returns what the tail puts out in inference, (n, ...).

        Args:
            batches: What the stem puts out, batch by batch: an array, or a tuple or
                list of several.
        """
        outputs = []
        for batch in batches:
            features = keras.tree.flatten(batch)
            features = features[0] if len(features) == 1 else features
            outputs.append(self.tail.predict_on_batch(features))
        return np.concatenate(outputs)

    def get_config(self) -> dict:
        """Returns the stem and the tail, serialised."""
        return {
            "name": self.name,
            "stem": keras.saving.serialize_keras_object(self.stem),
            "tail": keras.saving.serialize_keras_object(self.tail),
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects=None) -> "CutNetwork":
        """Returns the network that `get_config` described."""
        return cls(**deserialized(config, ("stem", "tail"), custom_objects))


def shared_names(generator: CutNetwork, discriminator: CutNetwork) -> list[str]:
    """Returns the names of frozen networks and layers that stand in both stems."""
    ours, theirs = _stem_and_layers(generator), _stem_and_layers(discriminator)
    return [name for name, x in theirs.items() if x.weights and ours.get(name) is x]


def share_again(
    generator: CutNetwork, discriminator: CutNetwork, names: list[str]
) -> CutNetwork:
    """Puts the discriminator's layers of some names into the generator's stem again.

    Keras shares a layer in a saved model's weights, but makes two of it when it loads
    one that stands in two nested models.
    """
    if not names:
        return generator
    stem = discriminator.stem
    if not {stem.name, generator.stem.name} <= {*names}:
        originals = _stem_and_layers(discriminator)
        stem = keras.models.clone_model(
            generator.stem,
            clone_function=lambda layer: (
                originals[layer.name] if layer.name in names else layer
            ),
        )
    return CutNetwork(stem, generator.tail, name=generator.name)


def _stem_and_layers(network: CutNetwork) -> dict[str, keras.layers.Layer]:
    return {layer.name: layer for layer in [network.stem, *network.stem.layers]}


def as_cut(network: keras.Model) -> CutNetwork:
    """Returns a functional or Sequential model with one image input as stem and tail.

    It is cut behind its first frozen layers; where it has none, the stem is empty.

    Raises:
        ValueError: If the model is of another kind.
    """
    if isinstance(network, CutNetwork):
        return network
    if not getattr(network, "inputs", None) or not getattr(network, "outputs", None):
        raise ValueError(
            "A network must be a functional or Sequential Keras model whose input "
            f"shape is known. Received: {type(network).__name__} {network.name!r}. "
            "Start a Sequential model with keras.Input(shape), or wrap a subclassed "
            "one: keras.Model(inputs, network(inputs))."
        )
    if isinstance(network, keras.Sequential):
        network = keras.Model(network.inputs[0], network.outputs[0], name=network.name)
    leading = 0
    for number, layer in enumerate(network.layers, 1):
        # What draws anew at each step: augmentation, dropout, noise.
        seeds = [x for x in vars(layer).values() if isinstance(x, SeedGenerator)]
        if layer.trainable_weights or seeds:
            break
        leading = number if layer.weights else leading
    if 0 < leading < len(network.layers):
        stem, tail = backbones.cut(network, len(network.layers) - leading)
        return CutNetwork(stem, tail, name=network.name)
    inputs = keras.Input(network.input_shape[1:])
    return CutNetwork(keras.Model(inputs, inputs), network, name=f"cut_{network.name}")


def network_size(backbone: Backbone, image_shape: tuple[int, ...]) -> int:
    """Returns the side to which images are resized where a recipe names none.

    Small images are enlarged four times at most, and never beyond the size that the
    backbone was trained for: larger features cost time and add nothing.

    Example:
        >>> network_size(Backbone("MobileNetV2"), (32, 32, 3))
        128
        >>> network_size(Backbone("MobileNetV2"), (600, 400, 3))
        224
    """
    side = _ENLARGEMENT * max(image_shape[:2])
    return max(backbone.minimum_size, min(backbone.native_size, side))


def pooled_features(
    backbone: Backbone,
    recipe: Recipe,
    image_shape: tuple[int, ...],
    weights: Weights = "imagenet",
    *,
    role: str = "frozen",
    place_depths: int = 0,
) -> tuple[keras.Model, list[int]]:
    """Builds a frozen backbone from images, pixels 0..255, to pooled features.

    Args:
        backbone: The backbone.
        recipe: The choices.
        image_shape: (height, width, 3) of the images.
        weights: As in `Backbone.build`.
        role: What the model's name begins with.
        place_depths: Of how many depths the maps are put out, too, behind the last;
            fewer where the backbone has fewer sizes of maps.

    Returns:
        The model, which puts out a vector for each depth of the recipe side by side,
        and behind it the maps, if asked for; and the vectors' sizes.
    """
    base, images, x = _backbone_on_images(backbone, recipe, image_shape, weights)
    maps = feature_maps(base, recipe.depths, place_depths and 1 + place_depths)
    frozen = keras.Model(base.input, maps, name=base.name)
    frozen.trainable = False
    dtype = full_precision()
    maps = keras.tree.flatten(frozen(x, training=False))
    vectors = [
        layers.GlobalAveragePooling2D(dtype=dtype)(each)
        for each in maps[: recipe.depths]
    ]
    joined = vectors[0]
    if len(vectors) > 1:
        joined = layers.Concatenate(name="depths", dtype=dtype)(vectors)
    sizes = [vector.shape[-1] for vector in vectors]
    # Places of the last layer see most of the image.
    judged = maps[1 : 1 + place_depths] or maps[:place_depths]
    outputs = [joined, *judged] if judged else joined
    return keras.Model(images, outputs, name=f"{role}_stem"), sizes


def feature_maps(
    backbone: keras.Model, depths: int, most: int = 0
) -> list[keras.KerasTensor]:
    """Returns outputs of a backbone's layers from the last backwards, of growing size.

    They are as many as `depths`, or as `most` if the backbone has that many: each is
    the last whose maps are about twice as high as the one before.

    Raises:
        ValueError: If the backbone has not that many sizes of maps.
    """
    maps = [backbone.output]
    # Padding is no feature, and its maps are larger than those of its layer.
    passed_over = layers.ZeroPadding2D | layers.InputLayer
    for layer in reversed(backbone.layers):
        if len(maps) >= max(depths, most):
            break
        output = None if isinstance(layer, passed_over) else layer.output
        if isinstance(output, keras.KerasTensor) and len(output.shape) == 4:
            if (output.shape[1] or 0) >= _LARGER * maps[-1].shape[1]:
                maps.append(output)
    if len(maps) < depths:
        raise ValueError(
            f"The backbone {backbone.name} has feature maps of {len(maps)} sizes; "
            f"expected {depths}. Received: depths={depths}. Choose fewer depths, or a "
            "larger network_size."
        )
    return maps


def stem_and_tail(backbone, recipe, image_shape, weights, role):
    """Returns models from images to features, and from features to one vector."""
    base, images, x = _backbone_on_images(backbone, recipe, image_shape, weights)
    pool = layers.GlobalAveragePooling2D(name="pool", dtype=full_precision())
    base_stem, base_tail = backbones.cut(base, recipe.trained_layers)
    frontier = inputs_like(base_tail.input)
    vector = pool(InferenceMode(base_tail, name=f"{role}_trained_layers")(frontier))
    return (
        keras.Model(images, base_stem(x, training=False), name=f"{role}_stem"),
        keras.Model(frontier, vector, name=f"{role}_backbone_tail"),
    )


def inputs_like(structure):
    """Returns inputs of the same shapes as tensors, or as one shape tuple."""
    if isinstance(structure, tuple):
        return keras.Input(structure[1:])
    return keras.tree.map_structure(lambda x: keras.Input(x.shape[1:]), structure)


def _backbone_on_images(backbone, recipe, image_shape, weights):
    """Returns a backbone, an input for images, and these as the backbone takes them."""
    size = recipe.network_size or network_size(backbone, image_shape)
    base = backbone.build(size, weights=weights)
    images, dtype = keras.Input(image_shape, name="images"), full_precision()
    x = images
    if image_shape[:2] != (size, size):
        x = layers.Resizing(size, size, name="resizing", dtype=dtype)(x)
    if recipe.own_preprocessing:
        preprocessing = backbones.BackbonePreprocessing
        x = preprocessing(backbone.name, name="preprocessing", dtype=dtype)(x)
    else:
        x = layers.Rescaling(1 / 255, name="rescaling", dtype=dtype)(x)
    return base, images, x


def deserialized(config: dict, names: Sequence[str], custom_objects=None) -> dict:
    """Returns a layer's configuration with its networks of some names made again."""
    networks = {
        name: keras.saving.deserialize_keras_object(
            config[name], custom_objects=custom_objects
        )
        for name in names
    }
    return {**config, **networks}
