"""What the package uses of Keras beyond its public interface is still there."""

import gc
import urllib.error

import keras
import numpy as np
import pytest
import tensorflow as tf

from egan_keras import keras_hooks


@pytest.fixture
def network():
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, name="inside")])
    inputs = keras.Input((3,))
    shared = keras.layers.Dense(3, name="first")(inputs)
    x = keras.layers.Add(name="add")([inner(shared), shared])
    return keras.Model(inputs, x)


def test_every_layer_is_found_at_any_depth(network):
    found = keras_hooks.every_layer(network)
    assert found[0] is network or network in found
    assert {"first", "inside", "add"} <= {layer.name for layer in found}


def test_nodes_are_calls_with_their_tensors(network):
    nodes = {node.operation.name: node for node in keras_hooks.nodes(network)}
    assert len(nodes["add"].input_tensors) == 2
    (tensor,) = nodes["add"].output_tensors
    assert tensor is network.output
    assert nodes["first"].output_tensors[0] is nodes["add"].input_tensors[1]


def test_adam_moments_are_those_of_the_variable():
    optimizer = keras.optimizers.Adam()
    variables = [keras.Variable(np.zeros(size)) for size in (2, 3)]
    optimizer.build(variables)
    optimizer.apply([keras.ops.ones(2), keras.ops.ones(3)], variables)
    first, second = keras_hooks.adam_moments(optimizer, variables[1])
    np.testing.assert_allclose(first, np.full(3, 0.1), rtol=1e-5)
    np.testing.assert_allclose(second, np.full(3, 0.001), rtol=1e-5)


def test_file_not_downloaded_is_told_from_what_keras_raises(monkeypatch, tmp_path):
    def no_network(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", no_network)
    with pytest.raises(Exception) as caught:
        keras.utils.get_file(
            origin="https://example.org/a/b_notop.h5", cache_dir=str(tmp_path)
        )
    assert keras_hooks.file_not_downloaded(OSError("another")) is None
    assert keras_hooks.file_not_downloaded(caught.value) == "b_notop.h5"


def test_is_for_hdf5_tells_the_forms_apart(network, tmp_path):
    configs = []

    @keras.saving.register_keras_serializable("tests")
    class Noting(keras.Model):
        def get_config(self):
            configs.append(network.get_config())
            return {"config": 1}

    noting = Noting()
    noting.build((None, 3))
    noting.built = True
    keras.saving.save_model(noting, tmp_path / "noting.keras")
    keras.saving.save_model(noting, tmp_path / "noting.h5")
    found = [keras_hooks.is_for_hdf5({"config": config}) for config in configs]
    assert found[0] is False and found[-1] is True


def test_take_batches_whole_puts_another_strategy_in(network):
    # What it sets must be what Keras itself has and asks.
    assert network._distribute_strategy is None
    assert callable(network._maybe_symbolic_build)
    strategy = object()
    keras_hooks.take_batches_whole(network, [network], strategy)
    assert network.distribute_strategy is strategy
    assert network._maybe_symbolic_build(iterator=None) is None


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow's own leak"
)
@pytest.mark.slow
def test_the_graph_of_a_training_is_not_kept(digits, build_tiny):
    def graphs():
        gc.collect()
        graph = type(tf.function(lambda: 0).get_concrete_function().graph)
        return sum(isinstance(each, graph) for each in gc.get_objects())

    pixels, labels = digits
    counts = []
    for _ in range(3):
        model = build_tiny()
        model.fit(pixels[:60], labels[:60], epochs=1, verbose=0)
        del model
        keras.backend.clear_session()
        counts.append(graphs())
    assert counts[1] == counts[2]
