"""Layers that the recipes need beyond Keras's own, and what stays in 32 bits.

Where Keras's policy has layers compute in 16 bits, backbones, encoders and decoders
follow it. Pixels on their way into a network, pooled features, fakes, scores and losses
do not: sums over many features overflow float16, and in bfloat16 scores differ by a
hundredth.
"""

import functools
import json
from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from egan_keras import data, keras_hooks, logs

_DEVIATION_FLOOR = 0.3
_ROWS_AT_ONCE = 1024

_FULL = ("float32", "float64")
_MIXED = ("mixed_bfloat16", "mixed_float16")


def full_precision() -> str:
    """Returns the type of weights under Keras's policy, float32 where it is mixed."""
    policy = keras.config.dtype_policy()
    if policy.variable_dtype not in _FULL or policy.quantization_mode is not None:
        raise ValueError(
            "Weights are trained in 32 or 64 bits; expected a policy such as float32 "
            f"or, for layers that compute in 16, {_MIXED[0]}. Received: the policy "
            f"{policy.name!r}. Call keras.mixed_precision.set_dtype_policy("
            f'"{_MIXED[0]}").'
        )
    return policy.variable_dtype


def in_full_precision(tensor):
    """Returns a tensor of 16 bits in float32, and any other as it is."""
    if keras.backend.standardize_dtype(tensor.dtype) in ("bfloat16", "float16"):
        return ops.cast(tensor, "float32")
    return tensor


def is_mixed(network: keras.Model) -> bool:
    """Whether layers of a network compute in fewer bits than their weights have."""
    # These take the policy of the place where they are made, and compute nothing.
    idle = (keras.Model, layers.InputLayer)
    return any(
        layer.dtype_policy.name in _MIXED
        for layer in keras_hooks.every_layer(network)
        if not isinstance(layer, idle)
    )


def config_in_float32(config: dict) -> dict:
    """Returns a serialised configuration with float32 in place of mixed policies."""
    text = json.dumps(config)
    for name in _MIXED:
        text = text.replace(json.dumps(name), '"float32"')
    return json.loads(text)


def deserialized(config: dict, names: Sequence[str], custom_objects=None) -> dict:
    """Returns a layer's configuration with its networks of some names made again."""
    networks = {
        name: keras.saving.deserialize_keras_object(
            config[name], custom_objects=custom_objects
        )
        for name in names
    }
    return {**config, **networks}


@keras.saving.register_keras_serializable("egan_keras")
class MajorityStandardization(layers.Layer):
    """Standardises features by the majority's mean and standard deviation.

    Unlike those of `keras.layers.Normalization`, its statistics are weights that a
    compiled graph reads anew, so that adapting it never leaves a stale graph behind.
    """

    def build(self, input_shape):
        """Creates the statistics: mean 0 and deviation 1 until adapted."""
        weights = {"shape": (input_shape[-1],), "trainable": False}
        self.mean = self.add_weight(name="mean", initializer="zeros", **weights)
        self.deviation = self.add_weight(
            name="deviation", initializer="ones", **weights
        )

    @property
    def statistics(self) -> list:
        """The variables that `adapt` sets."""
        return [self.mean, self.deviation]

    @property
    def is_adapted(self) -> bool:
        """Whether it has taken statistics already."""
        return bool(np.any(ops.convert_to_numpy(self.mean)))

    def adapt(self, features: np.ndarray) -> None:
        """Takes the statistics of majority features, float (n, d), lazy or not.

        Deviations are combined with three tenths of their mean, in squares, so that a
        feature that hardly varies in the majority does not outweigh all others.
        """
        # Sums of squares about the batches' own means are joined (Chan, Golub and
        # LeVeque, 1983), which loses nothing to rounding where the mean is large.
        count, mean, squares = 0, 0.0, 0.0
        for batch in data.lazy.in_batches(features, _ROWS_AT_ONCE):
            rows = batch.astype("float64")
            own_mean = rows.mean(axis=0)
            difference, total = own_mean - mean, count + len(rows)
            squares += np.square(rows - own_mean).sum(axis=0)
            squares += np.square(difference) * (count * len(rows) / total)
            mean += difference * (len(rows) / total)
            count = total
        deviation = np.sqrt(squares / count)
        self.mean.assign(mean)
        floor = _DEVIATION_FLOOR * deviation.mean()
        deviation = np.sqrt(np.square(deviation) + np.square(floor))
        self.deviation.assign(np.where(deviation > 0, deviation, 1.0))

    def call(self, features):
        """Returns standardised features, shape (n, d)."""
        return (features - self.mean) / self.deviation


@keras.saving.register_keras_serializable("egan_keras")
class UnitLength(layers.Layer):
    """Scales vectors that stand side by side to length 1, each by itself.

    The length of a pooled feature vector tells more of an image's contrast than of
    what it shows. `sizes` are the numbers of features of each.
    """

    def __init__(self, sizes: Sequence[int], **kwargs) -> None:
        super().__init__(**kwargs)
        self.sizes = tuple(sizes)

    def call(self, features):
        """Returns the scaled vectors, (n, sum of sizes)."""
        ends = np.cumsum(self.sizes)[:-1].tolist()
        vectors = ops.split(features, ends, axis=-1) if ends else [features]
        return ops.concatenate([ops.normalize(vector) for vector in vectors], axis=-1)

    def get_config(self) -> dict:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "sizes": self.sizes}


@keras.saving.register_keras_serializable("egan_keras")
class MeanSquarePenalty(layers.Layer):
    """Passes its input on and adds its mean square, times `weight`, to the losses.

    On the residual between a fake and the minority image that it was made from, this
    is the reconstruction term of the generator's loss.
    """

    def __init__(self, weight: float, **kwargs) -> None:
        super().__init__(**kwargs)
        self.weight = weight

    def call(self, inputs):
        """Returns the inputs."""
        self.add_loss(self.weight * ops.mean(ops.square(inputs)))
        return inputs

    def get_config(self) -> dict:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "weight": self.weight}


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


def cast(array, dtype: str):
    """Returns a tensor of another type, as NumPy's `astype` in a third of the time."""
    _cast_once_in_silence()
    return ops.cast(ops.convert_to_tensor(array), dtype)


@functools.cache
def _cast_once_in_silence() -> None:
    """Has oneDNN say now, to nobody, that it leaves numbers of 16 bits to others."""
    with logs.without_stderr():
        ops.convert_to_numpy(ops.cast(ops.cast(ops.ones(1), "float16"), "float32"))
