"""Several devices of one machine: `make test-backends` has what is needed."""

import numpy as np
import pytest
from on_backend import run_on

pytestmark = pytest.mark.whole

TWO_DEVICES = "--xla_force_host_platform_device_count=2"


@pytest.fixture(scope="module")
def folder(few_ones, tiny_weights, tmp_path_factory):
    """Holds images and a model without noise and dropout."""
    import egan_keras as ek

    folder = tmp_path_factory.mktemp("replicas")
    images, labels = few_ones
    np.savez(folder / "images.npz", images=images, labels=labels)
    model = ek.EGAN.from_backbones(
        "MobileNet:alpha=0.25",
        "MobileNet:alpha=0.25",
        image_shape=(32, 32, 3),
        weights=tiny_weights,
        network_size=32,
        minimum_steps=10,
        dropout=0.0,
        latent_noise=0.0,
    )
    model.compile()
    model.save(folder / "model.keras")
    return folder


@pytest.fixture(scope="module")
def results(folder):
    """What one and two devices make of the same model."""
    found = {}
    for name, flags in (("one", ""), ("two", TWO_DEVICES)):
        out = folder / f"{name}.npz"
        arguments = folder / "model.keras", folder / "images.npz", out
        run_on("jax", "replica_run.py", *arguments, XLA_FLAGS=flags)
        found[name] = dict(np.load(out))
    return found


def test_two_devices_with_half_the_batch_each_equal_one(results):
    one, two = results["one"], results["two"]
    assert (one.pop("devices"), two.pop("devices")) == (1, 2)
    for name in ("logs", "threshold"):
        np.testing.assert_allclose(
            two.pop(name), one.pop(name), rtol=1e-4, atol=1e-5, err_msg=name
        )
    for name, values in one.items():
        np.testing.assert_allclose(
            two[name], values, rtol=1e-4, atol=1e-4, err_msg=name
        )


def test_two_devices_train_alike_with_rows_taken_on_each(folder):
    arguments = folder / "model.keras", folder / "images.npz"
    run_on("jax", "backend_tables.py", *arguments, XLA_FLAGS=TWO_DEVICES)
