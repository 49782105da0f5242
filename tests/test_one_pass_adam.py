"""Adam by one operation a variable."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from egan_keras.model.compiling import OnePassAdam


def updated(optimizer, gradients, shape=(5, 3)):
    variable = keras.Variable(np.linspace(-1, 1, np.prod(shape)).reshape(shape))
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([gradient], [variable])
    return np.array(variable), optimizer


def random_gradients():
    random = np.random.default_rng(0)
    return [tf.constant(random.normal(size=(5, 3)), tf.float32) for _ in range(10)]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beta_1": 0.5, "epsilon": 1e-3, "clipnorm": 0.5},
        {"weight_decay": 0.1, "learning_rate": 0.1},
        {"amsgrad": True},
    ],
)
def test_its_updates_are_those_of_keras(options):
    expected, other = updated(keras.optimizers.Adam(**options), random_gradients())
    found, optimizer = updated(OnePassAdam(**options), random_gradients())
    # 1 - beta_2, which the first steps are corrected by, is rounded in float32.
    tolerance = 1e-4 * len(random_gradients()) * options.get("learning_rate", 1e-3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    for ours, theirs in zip(optimizer.variables, other.variables, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-7)


def test_gradients_of_a_few_rows_are_those_of_keras():
    rows = tf.IndexedSlices(tf.ones((2, 3)), tf.constant([1, 3]), tf.constant([5, 3]))
    expected, _ = updated(keras.optimizers.Adam(0.1), [rows, rows])
    found, _ = updated(OnePassAdam(0.1), [rows, rows])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_learning_rate_schedule_is_followed():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    expected, _ = updated(keras.optimizers.Adam(schedule), random_gradients())
    found, _ = updated(OnePassAdam(schedule), random_gradients())
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert np.abs(found - np.linspace(-1, 1, 15).reshape(5, 3)).max() < 0.21


def test_it_is_restored_with_its_state():
    _, optimizer = updated(OnePassAdam(0.2, beta_1=0.5), random_gradients())
    config = keras.optimizers.serialize(optimizer)
    again = keras.optimizers.deserialize(config)
    assert isinstance(again, OnePassAdam) and again.beta_1 == 0.5
