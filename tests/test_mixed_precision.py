import keras
import numpy as np
import pytest

import egan_keras as ek

pytestmark = pytest.mark.whole

POLICIES = ("mixed_bfloat16", "mixed_float16")
SCALED = keras.optimizers.LossScaleOptimizer


@pytest.fixture(params=POLICIES)
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def in_float16():
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe", ("default", pytest.param("published", marks=pytest.mark.slow))
)
def test_a_model_trained_in_16_bits_is_saved_and_loaded(
    build_tiny, few_ones, tmp_path, policy, recipe
):
    model = build_tiny(recipe)
    model.fit(*few_ones, epochs=1, verbose=0)
    # Upside down they are images that training did not see.
    held_out = few_ones[0][:, ::-1], few_ones[1]
    calibration = model.calibrate(*held_out, specificity=0.9)
    scores = model.predict(few_ones[0], verbose=0)
    assert scores.dtype == "float32" and np.isfinite(scores).all()
    model.save(tmp_path / "model.keras")
    # Whoever loads it need not know the policy.
    keras.config.set_dtype_policy("float32")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(few_ones[0], verbose=0), scores)
    assert loaded.threshold == calibration.threshold
    for name in ("optimizer", "generator_optimizer"):
        found, expected = getattr(loaded, name), getattr(model, name)
        assert isinstance(found, SCALED) == (policy == "mixed_float16")
        for ours, theirs in zip(found.variables, expected.variables, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("scaled", (True, False))
def test_small_gradients_reach_weights_in_float16_if_scaled(in_float16, scaled):
    model = ek.EGAN.from_features(None, 64, adversarial=0.0, reconstruction=1e-6)
    model.compile(auto_scale_loss=scaled)
    weight = model.generator.tail.get_layer("latent").kernel
    before = keras.ops.convert_to_numpy(weight)
    rows = np.random.default_rng(0).normal(size=(104, 64))
    model.fit(rows, np.arange(104) >= 100, epochs=1, verbose=0)
    moved = keras.ops.convert_to_numpy(weight) != before
    assert moved.mean() > 0.9 if scaled else not moved.any()


def test_a_step_whose_gradients_overflow_is_left_out(build_tiny, few_ones, in_float16):
    model = build_tiny(minimum_steps=1)
    model.compile(generator_optimizer=SCALED(keras.optimizers.Adam(), 2.0**126))
    before = model.generator.tail.get_weights()
    model.fit(*few_ones, epochs=1, verbose=0)
    for expected, kept in zip(before, model.generator.tail.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, expected)
    assert model.generator_optimizer.dynamic_scale == 2.0**125
    assert model.optimizer.iterations == 1


@pytest.mark.slow
def test_features_in_16_bits_are_the_same_in_files(
    build_tiny, few_ones, tmp_path, policy
):
    losses = [
        build_tiny("published")
        .fit(*few_ones, epochs=1, verbose=0, cache_features=place)
        .history["discriminator_loss"]
        for place in ("memory", tmp_path, False)
    ]
    assert losses[0] == losses[1]
    np.testing.assert_allclose(losses[2], losses[0], rtol=0.02)


@pytest.mark.slow
def test_a_copy_in_float32_of_a_model_in_float32_scores_the_same(build_tiny, few_ones):
    model = build_tiny("published")
    model.fit(*few_ones, epochs=1, verbose=0)
    copy = model.in_float32()
    np.testing.assert_array_equal(
        copy.predict(few_ones[0], verbose=0), model.predict(few_ones[0], verbose=0)
    )


@pytest.mark.slow
def test_a_model_in_16_bits_is_exported_in_float32(
    build_tiny, few_ones, tmp_path, policy
):
    model = build_tiny()
    model.fit(*few_ones, epochs=1, verbose=0)
    with pytest.raises(ValueError, match=f"{policy}.*in_float32"):
        ek.export_tflite(model, tmp_path / "model.tflite")
    copy = model.in_float32()
    copy.calibrate(few_ones[0][:, ::-1], few_ones[1], specificity=0.9)
    exported = ek.export_tflite(
        copy, tmp_path / "model.tflite", validation_data=few_ones
    )
    scores = ek.TFLiteModel(exported.path.read_bytes()).predict(few_ones[0])
    in_16_bits = model.predict(few_ones[0], verbose=0)
    assert np.corrcoef(scores[:, 0], in_16_bits[:, 0])[0, 1] > 0.9


@pytest.mark.parametrize("name", ["float16", "bfloat16", "int8_from_float32"])
def test_weights_in_fewer_bits_are_refused_with_the_policy_to_take(name):
    keras.config.set_dtype_policy(name)
    try:
        with pytest.raises(ValueError, match=f"'{name}'.*mixed_bfloat16"):
            ek.EGAN.from_features(None, 8)
    finally:
        keras.config.set_dtype_policy("float32")
