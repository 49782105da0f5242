"""What the package asks of Keras and its backend beyond Keras's public interface.

`tests/test_keras_hooks.py` has a test for each private name, which fails by its name
when a new version of Keras changes what it relies on. This is the first to import Keras
and its backend, so that one that is not there ends in one sentence.

Backbones, encoders and decoders follow Keras's policy, which may have layers compute in
16 bits. Pixels on their way into a network, pooled features, fakes, scores and losses
stay in 32: sums over many features overflow float16, and in bfloat16 scores differ by a
hundredth.
"""

import itertools
import json
import os
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

try:
    import keras
except (ImportError, ValueError) as error:
    _file = os.path.join(os.environ.get("KERAS_HOME", "~/.keras"), "keras.json")
    _named = os.environ.get("KERAS_BACKEND")
    _received = f"KERAS_BACKEND={_named}" if _named else f"what {_file} names"
    raise ImportError(
        "Keras cannot start on the backend that was asked for; expected tensorflow, "
        "which is installed with egan_keras, jax or torch. Received: "
        f"{_received} ({error}). Set KERAS_BACKEND=tensorflow, or install the other "
        "one: pip install 'egan-keras[jax]' (or [backends] for PyTorch too)."
    ) from error
import numpy as np
import tensorflow as tf

from egan_keras.version import __version__

# Of whichever backend Keras runs on; Keras itself has no name for it.
Tensor: TypeAlias = Any

_FULL = ("float32", "float64")
_MIXED = ("mixed_bfloat16", "mixed_float16")


def share_accelerators() -> None:
    """Keeps TensorFlow from taking the whole memory of the GPUs.

    Where it only reads data for another backend it sees none of them; where it trains
    it takes memory as it needs it, unless TF_FORCE_GPU_ALLOW_GROWTH says otherwise. To
    be called before TensorFlow computes anything: what builds or loads networks does.
    """
    try:
        if keras.backend.backend() != "tensorflow":
            tf.config.set_visible_devices([], "GPU")
            return
        for device in tf.config.get_visible_devices("GPU"):
            tf.config.experimental.set_memory_growth(device, True)
    except (RuntimeError, ValueError):
        # The program has used or divided them before, as it saw fit.
        return


def has_accelerator() -> bool:
    """Whether the backend computes on another device than the processor."""
    return "cpu" not in str(keras.ops.zeros(()).device).lower()


def every_layer(network: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns a network and all layers within it, at any depth."""
    return list(network._flatten_layers())


def find_layer(network: keras.layers.Layer, kind: type) -> Any:
    """Returns the first layer of a kind in a network; `None` if there is none."""
    return next((x for x in every_layer(network) if isinstance(x, kind)), None)


def nodes(network: keras.Model) -> Iterator[Any]:
    """Yields the calls of operations that a functional network consists of.

    Each has `operation`, `input_tensors` and `output_tensors`.
    """
    return itertools.chain(*network._nodes_by_depth.values())


def adam_moments(optimizer: keras.optimizers.Adam, variable) -> tuple:
    """Returns the first and the second moment that Adam keeps of a variable."""
    index = optimizer._get_variable_index(variable)
    return optimizer._momentums[index], optimizer._velocities[index]


def sum_over_several_replicas_alone(optimizer: keras.optimizers.Optimizer) -> None:
    """Has an optimizer sum gradients over replicas only where there are several.

    TensorFlow keeps the graph of each sum for good (its issue 97697), and with it the
    weights of each model that was ever trained.
    """
    if keras.backend.backend() != "tensorflow":
        return
    over_replicas = optimizer._all_reduce_sum_gradients

    def total(pairs):
        context = tf.distribute.get_replica_context()
        is_one = context is not None and context.num_replicas_in_sync == 1
        return list(pairs) if is_one else over_replicas(pairs)

    optimizer._all_reduce_sum_gradients = total


def file_not_downloaded(error: Exception) -> str | None:
    """Returns the name of the weights file that `keras.utils.get_file` did not get.

    It raises bare Exceptions whose text alone tells.
    """
    url = re.search(r"https?://\S+/([^/\s]+\.h5)", str(error))
    return url and url.group(1)


def is_for_hdf5(network: dict) -> bool:
    """Whether Keras has serialised a network in the form of its HDF5 files."""
    return "registered_name" not in network["config"]["layers"][0]


def take_batches_whole(model: keras.Model, networks: list, strategy: Any) -> None:
    """Makes Keras run networks in a strategy, and build nothing from a batch.

    The strategy stands in the place of the `tf.distribute.Strategy`; the model's
    networks are built.
    """
    for network in networks:
        network._distribute_strategy = strategy
    model._maybe_symbolic_build = lambda *args, **kwargs: None


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


def identity(network: keras.Model) -> Iterator[bytes]:
    """Yields what a network's outputs depend on: its layers, weights and versions."""
    backend = keras.backend.backend()
    yield f"{__version__} {keras.__version__} {backend}".encode()
    config = json.loads(network.to_json())
    # Names hold counters that depend on what else was built before.
    names = dict.fromkeys(_names(config["config"]))
    numbers = {name: f"layer {number}" for number, name in enumerate(names)}
    yield json.dumps(_renamed(config, numbers), sort_keys=True).encode()
    for weight in network.weights:
        array = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
        yield f"{array.shape} {array.dtype}".encode()
        yield array.tobytes()


def _renamed(config: Any, names: dict[str, str]) -> Any:
    """Returns a configuration with texts exchanged, wherever they stand."""
    if isinstance(config, dict):
        return {key: _renamed(value, names) for key, value in config.items()}
    if isinstance(config, list):
        return [_renamed(value, names) for value in config]
    return names.get(config, config) if isinstance(config, str) else config


def _names(config: dict) -> Iterator[str]:
    """Yields the names of a layer or an operation, and of all those in it."""
    yield config["name"]
    for inner in config.get("layers", []):
        yield from _names(inner["config"])
