"""One adversarial step on three backends: `make test-backends` has all of them."""

import contextlib
import zipfile

import keras
import numpy as np
import pytest
from on_backend import run_on

import egan_keras as ek
from egan_keras import keras_hooks

pytestmark = pytest.mark.whole

OTHERS = ("jax", "torch")

# The default's discriminator is linear, so that the random points at which its gradient
# penalty is taken do not matter.
RECIPES = {
    "default": {},
    "wasserstein": {"loss": "wasserstein"},
    "published": {"recipe": "published"},
}
CASES = ("images", *RECIPES)

# TensorFlow's kernels take these numbers in 32 bits, whatever layers compute in.
NUMBERS = ("scale", "offset", "negative_slope", "beta_1", "beta_2", "epsilon")


def made_of_images():
    """Returns two networks whose fakes are images, with batch normalisation."""
    inputs, images = keras.Input((32, 32, 3)), keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    for width, frozen in ((8, True), (12, False)):
        x = keras.layers.Conv2D(width, 3, 2, activation="relu", trainable=not frozen)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    discriminator = keras.Model(inputs, keras.layers.Dense(1)(x))
    x = keras.layers.AveragePooling2D(8)(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.Conv2DTranspose(6, 3, 4, "same")(x)
    x = keras.layers.LeakyReLU(0.2)(keras.layers.BatchNormalization()(x))
    x = keras.layers.Conv2DTranspose(3, 3, 2, "same", activation="sigmoid")(x)
    generator = keras.Model(images, keras.layers.Rescaling(255.0)(x))
    return ek.EGAN(generator, discriminator)


def untrained(case, weights):
    """Returns a model without noise and dropout, compiled."""
    keras.utils.set_random_seed(0)
    optimizers = []
    if case == "images":
        model = made_of_images()
        optimizers = [keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1)]
    else:
        model = ek.EGAN.from_backbones(
            "MobileNet:alpha=0.25",
            "MobileNet:alpha=0.25",
            image_shape=(32, 32, 3),
            weights=weights,
            network_size=32,
            minimum_steps=10,
            dropout=0.0,
            latent_noise=0.0,
            **RECIPES[case],
        )
    model.compile(*optimizers)
    return model


@contextlib.contextmanager
def computing_in(policy):
    keras.config.set_dtype_policy(policy)
    keras.config.set_floatx("float64" if policy == "float64" else "float32")
    try:
        yield
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def round_numbers(model):
    """Makes numbers that TensorFlow rounds to 32 bits the same for all backends."""
    parts = [
        *keras_hooks.every_layer(model),
        model.optimizer,
        model.generator_optimizer,
    ]
    for part in parts:
        for name in NUMBERS:
            if isinstance(getattr(part, name, None), float):
                setattr(part, name, float(np.float32(getattr(part, name))))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("backends")


@pytest.fixture(scope="module")
def starts(folder, few_ones, tiny_weights):
    """Returns a function that saves the untrained models and the images, once."""

    def saved(policy):
        target = folder / policy
        if not target.is_dir():
            target.mkdir()
            np.savez(target / "images.npz", images=few_ones[0], labels=few_ones[1])
            with computing_in(policy):
                for case in CASES:
                    model = untrained(case, tiny_weights)
                    round_numbers(model)
                    model.save(target / f"{case}.keras")
        return target

    return saved


@pytest.fixture(scope="module")
def trained(starts):
    """Returns a function from backend, case and policy to what training gave there."""

    def results(backend, case, policy="float32"):
        folder = starts(policy)
        if not (folder / backend).is_dir():
            wide = {"JAX_ENABLE_X64": str(int(policy == "float64"))}
            run_on(backend, "backend_run.py", folder, policy, **wide)
        return dict(np.load(folder / backend / f"{case}.npz"))

    return results


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", OTHERS)
def test_steps_give_the_losses_and_weights_of_tensorflow(trained, backend, case):
    # In 64 bits, since a random backbone makes rounding in 32 bits thousands of times
    # larger, and Adam scales gradients that are nothing but rounding to whole steps.
    found, expected = (
        trained(each, case, "float64") for each in (backend, "tensorflow")
    )
    assert len(found["losses"]) >= 10
    # Statistics of places are those of maps in 16 bits, which may round otherwise.
    for name in found:
        np.testing.assert_allclose(
            found[name], expected[name], rtol=1e-8, atol=1e-7, err_msg=name
        )


@pytest.mark.parametrize("case", ("images", "default", "wasserstein"))
@pytest.mark.parametrize("backend", OTHERS)
def test_steps_in_float32_give_them_within_rounding(trained, backend, case):
    found, expected = trained(backend, case), trained("tensorflow", case)
    losses = found.pop("losses")
    np.testing.assert_allclose(losses, expected["losses"], rtol=1e-5)
    for name in found:
        np.testing.assert_allclose(
            found[name], expected[name], rtol=1e-3, atol=1e-3, err_msg=name
        )


@pytest.mark.parametrize("case", ("images", "default"))
@pytest.mark.parametrize("backend", OTHERS)
def test_training_is_the_same_with_rows_taken_on_the_device(starts, backend, case):
    folder = starts("float32")
    run_on(
        backend, "backend_tables.py", folder / f"{case}.keras", folder / "images.npz"
    )


@pytest.mark.slow
@pytest.mark.parametrize("policy", ("mixed_bfloat16", "mixed_float16"))
@pytest.mark.parametrize("backend", ("tensorflow", *OTHERS))
def test_losses_in_16_bits_are_close_to_those_in_32(trained, backend, policy):
    for case in ("images", "default", "wasserstein"):
        found = trained(backend, case, policy)["losses"]
        expected = trained(backend, case)["losses"]
        np.testing.assert_allclose(found, expected, rtol=0.05, atol=0.02, err_msg=case)
    found = trained(backend, "published", policy)
    assert np.isfinite(found["losses"]).all()
    assert found["scores"].dtype == "float32" and np.ptp(found["scores"]) > 0


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", OTHERS)
def test_a_model_trained_elsewhere_scores_alike_under_tensorflow(
    trained, starts, few_ones, backend, case
):
    found = trained(backend, case)
    path = starts("float32") / backend / f"{case}.keras"
    with zipfile.ZipFile(path) as archive:
        # To load a class of another backend imports that backend.
        assert "keras.src.backend" not in archive.read("config.json").decode()
    model = keras.saving.load_model(path)
    scores = model.predict(few_ones[0], verbose=0)
    np.testing.assert_allclose(scores, found["scores"], rtol=1e-4, atol=1e-4)
    assert model.optimizer.iterations == model.generator_optimizer.iterations > 0


@pytest.fixture(scope="module")
def workflow(folder, starts, tiny_weights):
    """Returns a function that runs a user's workflow on a backend, once."""
    done = set()

    def run(backend):
        if backend not in done:
            images = starts("float32") / "images.npz"
            run_on(backend, "backend_workflow.py", images, tiny_weights, folder)
            done.add(backend)

    return run


@pytest.mark.parametrize("backend", OTHERS)
def test_the_whole_workflow_runs_but_for_exporting(workflow, backend):
    workflow(backend)


@pytest.mark.parametrize("backend", OTHERS)
def test_a_model_trained_elsewhere_is_exported_by_tensorflow(
    workflow, folder, few_ones, backend
):
    workflow(backend)
    model = keras.saving.load_model(folder / f"trained_{backend}.keras")
    expected = np.load(folder / f"scores_{backend}.npy")
    exported = ek.export_tflite(
        model, folder / f"{backend}.tflite", validation_data=few_ones
    )
    scores = ek.TFLiteModel(exported.path.read_bytes()).predict(few_ones[0])
    np.testing.assert_allclose(
        scores, expected, rtol=0, atol=1e-4 * max(1, expected.std())
    )
    assert exported.calibration.threshold == model.threshold != 0
