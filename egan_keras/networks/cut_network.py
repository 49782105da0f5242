"""A network in two parts: a frozen stem and a trained tail."""

import keras
from keras import layers

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


def tie_stem(network: CutNetwork, stem: keras.Model) -> CutNetwork:
    """Puts a stem in the place of the copy of it that stands inside another stem.

    Keras shares a layer in a saved model's weights, but makes two of it when it loads
    one that stands in two nested models.

    Args:
        network: The network whose stem may contain a copy, recognised by its name.
        stem: The stem to share.
    """
    if stem.name not in [layer.name for layer in network.stem.layers]:
        return network
    tied = keras.models.clone_model(
        network.stem,
        clone_function=lambda layer: stem if layer.name == stem.name else layer,
    )
    return CutNetwork(tied, network.tail, name=network.name)


def as_cut(network: keras.Model) -> CutNetwork:
    """Returns a network as stem and tail, without a stem where it has none.

    A functional model whose first layers are frozen is cut behind them.

    Args:
        network: Any built Keras model with one image input.
    """
    if isinstance(network, CutNetwork):
        return network
    leading = _count_frozen_layers(network)
    if leading:
        stem, tail = backbones.cut(network, len(network.layers) - leading)
        return CutNetwork(stem, tail, name=network.name)
    inputs = keras.Input(network.input_shape[1:])
    return CutNetwork(keras.Model(inputs, inputs), network, name=f"cut_{network.name}")


def _count_frozen_layers(network: keras.Model) -> int:
    leading = 0
    for index, layer in enumerate(network.layers):
        if layer.trainable_weights or isinstance(layer, layers.Dropout):
            break
        if layer.weights:
            leading = index + 1
    return leading if leading < len(network.layers) else 0
