"""What stays in 32 bits, where Keras's policy has layers compute in 16.

Backbones, encoders and decoders follow the policy. Pixels on their way into a network,
pooled features, fakes, scores and losses do not: sums over many features overflow
float16, and in bfloat16 scores differ by a hundredth.
"""

import json

import keras

from egan_keras.keras_hooks import Tensor, every_layer

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


def in_full_precision(tensor: Tensor) -> Tensor:
    """Returns a tensor of 16 bits in float32, and any other as it is."""
    if keras.backend.standardize_dtype(tensor.dtype) in ("bfloat16", "float16"):
        return keras.ops.cast(tensor, "float32")
    return tensor


def is_mixed(network: keras.Model) -> bool:
    """Whether layers of a network compute in fewer bits than their weights have."""
    # These take the policy of the place where they are made, and compute nothing.
    idle = (keras.Model, keras.layers.InputLayer)
    return any(
        layer.dtype_policy.name in _MIXED
        for layer in every_layer(network)
        if not isinstance(layer, idle)
    )


def config_in_float32(config: dict) -> dict:
    """Returns a serialised configuration with float32 in place of mixed policies."""
    text = json.dumps(config)
    for name in _MIXED:
        text = text.replace(json.dumps(name), '"float32"')
    return json.loads(text)
