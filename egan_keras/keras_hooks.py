"""What the package asks of Keras and its backend beyond Keras's public interface.

`tests/test_keras_hooks.py` has a test for each private name, which fails by its name
when a new version of Keras changes what it relies on. This is the first to import Keras
and its backend, so that one that is not there ends in one sentence.
"""

import itertools
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
import tensorflow as tf

# Of whichever backend Keras runs on; Keras itself has no name for it.
Tensor: TypeAlias = Any


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
