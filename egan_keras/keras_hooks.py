"""What the package uses of Keras beyond its public interface, all in one place.

`tests/test_keras_hooks.py` has a test for each, which fails by its name when a new
version of Keras changes what it relies on.
"""

import itertools
import re
from collections.abc import Iterator
from typing import Any

import keras


def every_layer(network: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns a network and all layers within it, at any depth."""
    return list(network._flatten_layers())


def nodes(network: keras.Model) -> Iterator[Any]:
    """Yields the calls of operations that a functional network consists of.

    Each has `operation`, `input_tensors` and `output_tensors`.
    """
    return itertools.chain(*network._nodes_by_depth.values())


def adam_moments(optimizer: keras.optimizers.Adam, variable) -> tuple:
    """Returns the first and the second moment that Adam keeps of a variable."""
    index = optimizer._get_variable_index(variable)
    return optimizer._momentums[index], optimizer._velocities[index]


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

    Args:
        model: What is trained; its networks are built.
        networks: Those that are run.
        strategy: Stands in the place of the `tf.distribute.Strategy`.
    """
    for network in networks:
        network._distribute_strategy = strategy
    model._maybe_symbolic_build = lambda *args, **kwargs: None
