"""A network in two parts: a frozen stem and a trained tail."""

import keras

from egan_keras import backbones


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
        config = dict(config)
        for part in ("stem", "tail"):
            config[part] = keras.saving.deserialize_keras_object(
                config[part], custom_objects=custom_objects
            )
        return cls(**config)


def shared_names(generator: CutNetwork, discriminator: CutNetwork) -> list[str]:
    """Returns the names of frozen networks and layers that stand in both stems."""
    ours, theirs = (_stem_and_layers(each) for each in (generator, discriminator))
    return [
        name
        for name, layer in theirs.items()
        if layer.weights and ours.get(name) is layer
    ]


def share_again(
    generator: CutNetwork, discriminator: CutNetwork, names: list[str]
) -> CutNetwork:
    """Puts the discriminator's layers into the generator's stem again.

    Keras shares a layer in a saved model's weights, but makes two of it when it loads
    one that stands in two nested models.

    Args:
        generator: The network whose stem has copies.
        discriminator: The network to share with.
        names: What `shared_names` returned before saving.
    """
    originals = _stem_and_layers(discriminator)
    if discriminator.stem.name in names and generator.stem.name in names:
        stem = discriminator.stem
    else:
        stem = keras.models.clone_model(
            generator.stem,
            clone_function=lambda layer: (
                originals[layer.name] if layer.name in names else layer
            ),
        )
    return CutNetwork(stem, generator.tail, name=generator.name) if names else generator


def _stem_and_layers(network: CutNetwork) -> dict[str, keras.layers.Layer]:
    return {layer.name: layer for layer in [network.stem, *network.stem.layers]}


def as_cut(network: keras.Model) -> CutNetwork:
    """Returns a network as stem and tail, without a stem where it has none.

    A functional model whose first layers are frozen is cut behind them.

    Args:
        network: Functional or Sequential Keras model with one image input.

    Raises:
        ValueError: If it is neither.
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
    leading = _count_frozen_layers(network)
    if leading:
        stem, tail = backbones.cut(network, len(network.layers) - leading)
        return CutNetwork(stem, tail, name=network.name)
    inputs = keras.Input(network.input_shape[1:])
    return CutNetwork(keras.Model(inputs, inputs), network, name=f"cut_{network.name}")


def _count_frozen_layers(network: keras.Model) -> int:
    leading = 0
    for index, layer in enumerate(network.layers):
        if layer.trainable_weights or _is_random(layer):
            break
        if layer.weights:
            leading = index + 1
    return leading if leading < len(network.layers) else 0


def _is_random(layer: keras.layers.Layer) -> bool:
    """Whether a layer draws anew at each step (augmentation, dropout, noise)."""
    return any(
        isinstance(value, keras.random.SeedGenerator) for value in vars(layer).values()
    )
