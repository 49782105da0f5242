"""Several replicas on TensorFlow do what one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import egan_keras as ek
from egan_keras import devices, features, keras_hooks

pytestmark = pytest.mark.whole

HERE = Path(__file__).parent
STEADY = {"latent_noise": 0.0, "dropout": 0.0, "network_size": 32}
SGD = {"discriminator_optimizer": "sgd", "generator_optimizer": "sgd"}

# Neither the batch nor what is left at the end of an epoch divides by the replicas.
DEFAULT = {
    "build": {**STEADY, "minimum_steps": 1},
    "compile": {},
    "fit": {"epochs": 2, "batch_size": 25},
}
# One step: an adversarial game magnifies rounding. Its batch normalisation takes the
# statistics of 5 minority images, of which no replica sees all.
PUBLISHED = {
    "build": {**STEADY, "recipe": "published"},
    "compile": SGD,
    "fit": {"epochs": 1, "batch_size": 101},
}
# A tail that is linear has the same gradient at all the points drawn. Of 5 minority
# images, two a step are fewer than the replicas.
WASSERSTEIN = {
    "build": {**STEADY, "minimum_steps": 1, "minority_batch_size": 2},
    "compile": {**SGD, "loss": "wasserstein"},
    "fit": {"epochs": 1, "batch_size": 40, "cache_features": False},
}


@pytest.fixture
def run(image_file, tiny_weights, tmp_path):
    def run_case(replicas, case):
        out = tmp_path / f"{replicas}.npz"
        case = json.dumps({**case, "replicas": replicas})
        finished = subprocess.run(
            [
                sys.executable,
                HERE / "helpers" / "strategy_run.py",
                tiny_weights,
                image_file,
                out,
                case,
            ],
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},
            capture_output=True,
            text=True,
        )
        assert finished.returncode == 0, finished.stderr[-3000:]
        return dict(np.load(out))

    return run_case


@pytest.mark.parametrize(
    ("replicas", "case"),
    [
        pytest.param(2, DEFAULT, marks=pytest.mark.slow),
        pytest.param(1, DEFAULT, marks=pytest.mark.slow),
        pytest.param(3, PUBLISHED, marks=pytest.mark.slow),
        pytest.param(3, WASSERSTEIN, marks=pytest.mark.slow),
    ],
    ids=["default", "one device", "published", "wasserstein"],
)
def test_replicas_do_what_one_device_does(run, replicas, case):
    alone, together = run(0, case), run(replicas, case)
    assert set(alone) == set(together)
    np.testing.assert_array_equal(alone.pop("names"), together.pop("names"))
    for name, expected in alone.items():
        np.testing.assert_allclose(
            expected, together[name], rtol=1e-4, atol=2e-5, err_msg=name
        )
    for name in ("scores", "threshold"):
        np.testing.assert_allclose(
            together[name], together[f"loaded_{name}"], atol=1e-5
        )


@pytest.mark.slow
def test_noise_differs_between_replicas(run):
    case = {**DEFAULT, "build": {"network_size": 32, "minimum_steps": 1}}
    first, second, third = run(3, case)["noise"]
    for one, other in ((first, second), (first, third), (second, third)):
        assert not np.isclose(one, other).any()


def test_clipping_of_gradients_is_refused():
    clipping = keras.optimizers.SGD(global_clipnorm=1.0)
    with pytest.raises(ValueError, match="each replica by itself.*global_clipnorm=1.0"):
        devices.check_optimizers(keras.optimizers.SGD(), clipping)


def test_scaled_losses_are_refused():
    scaling = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    with pytest.raises(ValueError, match="not scaled on several.*LossScaleOptimizer"):
        devices.check_optimizers(scaling)


class ManyReplicas(tf.distribute.experimental.CentralStorageStrategy):
    num_replicas_in_sync = 2


class ManyMachines(tf.distribute.MultiWorkerMirroredStrategy):
    num_replicas_in_sync = 1

    def __init__(self):
        """Connects nothing, which would have to be done before all else."""


@pytest.mark.parametrize(
    ("strategy", "name"),
    [(ManyReplicas, "ManyReplicas"), (ManyMachines, "MultiWorkerMirroredStrategy")],
)
def test_other_strategies_are_refused(build_tiny, monkeypatch, strategy, name):
    model = build_tiny()
    monkeypatch.setattr(ek.EGAN, "distribute_strategy", strategy())
    with pytest.raises(ValueError, match=f"not on several machines.*a {name}.*none"):
        model.compile()


@pytest.fixture
def carried(build_tiny):
    """Returns a function that builds a model as for several replicas, here one."""

    def build(**choices):
        strategy = tf.distribute.MirroredStrategy(["CPU:0"])
        with strategy.scope():
            model = build_tiny(**choices)
        devices.Replicas(strategy).carry(model)
        model.compile()
        return model

    return build


def test_what_is_refused_is_refused_before_the_stems_run(
    carried, few_ones, monkeypatch
):
    def fail(*args, **kwargs):
        raise AssertionError("the stems ran before the optimizers were checked")

    model = carried()
    model.compile(generator_optimizer=keras.optimizers.SGD(clipnorm=1.0))
    monkeypatch.setattr(features, "by_class", fail)
    with pytest.raises(ValueError, match="clips the gradient.*clipnorm=1.0"):
        model.fit(*few_ones, verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize("with_tables", [False, True])
def test_the_steps_of_replicas_are_those_of_one_device(
    build_tiny, carried, few_ones, monkeypatch, with_tables
):
    choices = {"minimum_steps": 3, "loss": "wasserstein", "latent_noise": 0.0}
    plain, model = build_tiny(**choices), carried(**choices)
    assert model.steps_per_execution == 1, "compiled twice"
    monkeypatch.setattr(keras_hooks, "has_accelerator", lambda: with_tables)
    found = []
    for each in (plain, model):
        keras.utils.set_random_seed(0)
        history = each.fit(
            *few_ones, epochs=1, verbose=0, validation_data=few_ones
        ).history
        scores = each.predict(few_ones[0], verbose=0)
        found.append([*history.values(), scores, *each.get_weights()])
    for expected, result in zip(*found, strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 7, 9])
def test_parts_are_all_of_a_batch(rows):
    parts = [
        list(range(*map(int, devices.share_or_all(rows, replica, 3))))
        for replica in range(3)
    ]
    if rows < 3:
        assert parts == [list(range(rows))] * 3
    else:
        assert sum(parts, []) == list(range(rows))
