import json
from pathlib import Path

import keras
import numpy as np
import pytest

import egan_keras as ek

pytestmark = pytest.mark.whole

OLD_FILE = Path(__file__).parent / "saved" / "egan_0.1.keras"


def predict(model, images, **kwargs):
    return model.predict(images, verbose=0, **kwargs)


def weights(model):
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


@pytest.fixture(
    params=["default", pytest.param("published", marks=pytest.mark.slow)],
)
def recipe(request):
    return request.param


def test_a_seeded_run_repeats_bit_for_bit(build_tiny, few_ones, recipe):
    scores = []
    for _ in range(2):
        model = build_tiny(recipe)
        model.fit(*few_ones, epochs=2, verbose=0)
        scores.append(predict(model, few_ones[0]))
    np.testing.assert_array_equal(*scores)


def test_scores_do_not_depend_on_batch_size_or_order(build_tiny, few_ones):
    model = build_tiny()
    model.fit(*few_ones, epochs=1, verbose=0)
    images = few_ones[0][:50]
    expected = predict(model, images, batch_size=32)
    np.testing.assert_allclose(
        predict(model, images, batch_size=7), expected, atol=1e-5
    )
    backwards = predict(model, images[::-1], batch_size=32)[::-1]
    np.testing.assert_allclose(backwards, expected, atol=1e-5)


def test_loading_restores_scores_threshold_and_both_optimizers(
    build_tiny, few_ones, digits, recipe, tmp_path
):
    model = build_tiny(recipe)
    model.fit(*few_ones, epochs=2, verbose=0)
    model.calibrate(digits[0][210:], digits[1][210:], specificity=0.9)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    images = digits[0][:40]
    np.testing.assert_array_equal(predict(loaded, images), predict(model, images))
    assert loaded.calibration == model.calibration and loaded.threshold != 0
    assert (loaded.recipe, loaded.pairing) == (model.recipe, model.pairing)
    for name in ("optimizer", "generator_optimizer"):
        before, after = getattr(model, name), getattr(loaded, name)
        assert after.iterations > 0
        for old, new in zip(before.variables, after.variables, strict=True):
            np.testing.assert_array_equal(np.asarray(old), np.asarray(new))


def test_a_file_of_version_0_1_is_loaded():
    # It holds every layer, loss and optimizer that the package registers but losses
    # that are not the default. Saved in November 2026.
    model = keras.saving.load_model(OLD_FILE)
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), "uint8")
    images[:6, ..., 0] //= 4
    expected = [-7.96452, -8.07909, -8.24402, -6.68762, -6.76346, -6.73998, 1.95397]
    np.testing.assert_allclose(predict(model, images[:7])[:, 0], expected, atol=1e-4)
    assert model.threshold == pytest.approx(-1.8236077)
    assert model.optimizer.iterations == model.generator_optimizer.iterations == 80
    with pytest.raises(ValueError, match="all of them trained on"):
        model.calibrate(images[::2], np.arange(30) < 3, specificity=0.5)


def test_a_loaded_model_trains_on_as_if_it_had_not_been_saved(
    build_tiny, few_ones, tmp_path
):
    model = build_tiny(dropout=0.0, latent_noise=0.0)
    model.fit(*few_ones, epochs=1, verbose=0, shuffle=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        each.fit(*few_ones, epochs=1, verbose=0, shuffle=False)
    for old, new in zip(weights(model), weights(loaded), strict=True):
        np.testing.assert_allclose(old, new, atol=1e-6)


def test_a_model_is_saved_and_loaded_before_it_is_compiled(digits, tmp_path):
    tiny = "MobileNet:alpha=0.25"
    options = {"image_shape": (32, 32, 3), "weights": None, "network_size": 32}
    model = ek.EGAN.from_backbones(tiny, tiny, **options)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert not loaded.compiled
    images = digits[0][:4]
    np.testing.assert_array_equal(loaded(images), model(images))


def test_a_shared_stem_is_saved_and_loaded_once(build_tiny, tmp_path):
    model = build_tiny()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.discriminator.stem in loaded.generator.stem.layers
    assert len(loaded.weights) == len(model.weights)


@pytest.mark.parametrize(
    "choices",
    [
        {},
        pytest.param(
            {"encoder": "MobileNet:alpha=0.25,dropout=0.1"}, marks=pytest.mark.slow
        ),
    ],
)
def test_cached_and_uncached_training_give_the_same_losses(
    build_tiny, few_ones, recipe, choices
):
    histories = []
    for cache_features in (True, False):
        model = build_tiny(recipe, dropout=0.0, latent_noise=0.0, **choices)
        history = model.fit(
            *few_ones,
            batch_size=32,
            epochs=2,
            verbose=0,
            shuffle=False,
            cache_features=cache_features,
        )
        histories.append(history.history)
    cached, uncached = histories
    for name, values in cached.items():
        np.testing.assert_allclose(values, uncached[name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["least_squares", "hinge", "wasserstein"])
@pytest.mark.parametrize("trained_layers", [0, 5])
def test_every_loss_trains_both_networks(build_tiny, few_ones, loss, trained_layers):
    recipe = "published" if trained_layers else "default"
    model = build_tiny(recipe, loss=loss)
    before = [np.array(weight) for weight in model.trainable_variables]
    history = model.fit(*few_ones, epochs=2, verbose=0).history
    assert np.isfinite(history["discriminator_loss"]).all()
    moved = [
        not np.array_equal(old, np.array(new))
        for old, new in zip(before, model.trainable_variables, strict=True)
    ]
    assert np.mean(moved) > 0.8


def test_frozen_layers_do_not_change(build_tiny, few_ones):
    model = build_tiny("published")
    stems = [model.generator.stem, model.discriminator.stem]
    before = [w for stem in stems for w in weights(stem)]
    model.fit(*few_ones, epochs=1, verbose=0)
    after = [w for stem in stems for w in weights(stem)]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_minority_gets_the_low_score(build_tiny, few_ones):
    model = build_tiny(discriminator_learning_rate=1e-3)
    model.fit(*few_ones, epochs=5, verbose=0)
    scores, minority = predict(model, few_ones[0])[:, 0], few_ones[1] == 1
    assert scores[minority].max() < np.median(scores[~minority])


def test_validation_metrics_need_their_classes(build_tiny, few_ones, digits):
    images, labels = digits
    both = build_tiny().fit(
        *few_ones, epochs=2, verbose=0, validation_data=(images[-60:], labels[-60:])
    )
    assert {"val_auroc", "val_sensitivity", "val_specificity"} <= set(both.history)
    majority = np.flatnonzero(labels == 0)[-40:]
    one = build_tiny().fit(
        *few_ones,
        epochs=2,
        verbose=0,
        validation_data=(images[majority], labels[majority]),
    )
    names = {name for name in one.history if name.startswith("val_")}
    assert names == {"val_majority_score", "val_specificity"}


def test_validation_auroc_is_scikit_learns(build_tiny, few_ones, digits):
    from sklearn.metrics import roc_auc_score

    model = build_tiny()
    model.fit(*few_ones, epochs=3, verbose=0)
    images, labels = digits
    results = model.evaluate(images, labels, verbose=0, return_dict=True)
    scores = predict(model, images)[:, 0]
    assert abs(results["auroc"] - roc_auc_score(labels, -scores)) < 1e-4
    # On which side of 0 a score falls may be up to rounding.
    unclear = np.mean(np.abs(scores[labels == 0]) < 1e-3) + 1e-6
    specificity = np.mean(scores[labels == 0] >= 0)
    assert abs(results["specificity"] - specificity) <= unclear
    assert np.isclose(results["minority_score"], scores[labels == 1].mean(), atol=1e-4)


def test_the_default_score_is_usable_at_threshold_0(build_tiny, few_ones):
    model = build_tiny()
    model.fit(*few_ones, epochs=10, verbose=0)
    majority = few_ones[0][few_ones[1] == 0]
    assert 0.85 <= np.mean(predict(model, majority) >= 0) <= 1


@pytest.mark.slow
def test_published_discriminator_sees_no_real_minority(build_tiny, few_ones):
    images, labels = few_ones
    model = build_tiny("published")
    model.fit(images, labels, epochs=1, verbose=0)
    assert model.fake_weight == 1.0
    default = build_tiny()
    default.fit(images, labels, epochs=1, verbose=0)
    # Four images and their mirror images.
    assert default.fake_weight == 1 / (1 + 500 * 8 / 100)
    default = build_tiny(mirrored_minority=False)
    default.fit(images, labels, epochs=1, verbose=0)
    assert default.fake_weight == 1 / (1 + 500 * 4 / 100)


def test_fitting_again_with_more_minority_images_trusts_them_more(build_tiny, digits):
    images, labels = digits
    model = build_tiny()
    weights = []
    for minority_count in (2, 20):
        few = ek.subsample_minority(images, labels, minority_count=minority_count)
        model.fit(*few, epochs=1, verbose=0)
        score = model.discriminator.tail.get_layer("score")
        weights.append(float(score.weights_of_evidence[1, 0]))
    assert weights[0] > 0.2 > weights[1]


def test_user_metrics_optimizers_and_loss_are_used_and_saved(
    build_tiny, few_ones, digits, tmp_path
):
    model = build_tiny()
    model.compile(
        discriminator_optimizer=keras.optimizers.SGD(0.01),
        generator_optimizer="rmsprop",
        loss=ek.Hinge(gradient_penalty=1.0),
        metrics=[keras.metrics.AUC(curve="PR", name="average_precision")],
    )
    history = model.fit(*few_ones, epochs=1, verbose=0, validation_data=digits)
    assert "val_average_precision" in history.history
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, keras.optimizers.SGD)
    assert isinstance(loaded.generator_optimizer, keras.optimizers.RMSprop)
    assert isinstance(loaded.adversarial_loss, ek.Hinge)
    assert loaded.adversarial_loss.gradient_penalty == 1.0


def test_two_built_keras_models_make_an_egan(few_ones):
    inputs = keras.Input((32, 32, 3))
    pooled = keras.layers.AveragePooling2D(8)(keras.layers.Rescaling(1 / 255)(inputs))
    vector = keras.layers.Flatten()(pooled)
    discriminator = keras.Model(inputs, keras.layers.Dense(1)(vector))
    x = keras.layers.Dense(48, activation="sigmoid")(vector)
    x = keras.layers.UpSampling2D(8)(keras.layers.Reshape((4, 4, 3))(x))
    generator = keras.Model(inputs, keras.layers.Rescaling(255.0)(x))
    model = ek.EGAN(generator, discriminator)
    model.compile()
    model.fit(*few_ones, epochs=2, verbose=0)
    assert predict(model, few_ones[0]).shape == (104, 1)


@pytest.mark.slow
def test_networks_on_one_frozen_base_are_saved_and_loaded(
    few_ones, tiny_weights, tmp_path
):
    base = ek.Backbone.parse("MobileNet:alpha=0.25").build(32, weights=tiny_weights)
    base.trainable = False
    inputs, images = keras.Input((32, 32, 3)), keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(base(inputs, training=False))
    discriminator = keras.Model(inputs, keras.layers.Dense(1)(pooled))
    x = keras.layers.GlobalAveragePooling2D()(base(images, training=False))
    x = keras.layers.Dense(48, activation="sigmoid")(x)
    x = keras.layers.UpSampling2D(8)(keras.layers.Reshape((4, 4, 3))(x))
    generator = keras.Model(images, keras.layers.Rescaling(255.0)(x))
    model = ek.EGAN(generator, discriminator)
    model.compile()
    model.fit(*few_ones, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        predict(loaded, few_ones[0]), predict(model, few_ones[0])
    )
    assert len(loaded.weights) == len(model.weights)


def test_image_fakes_behind_a_shared_stem_are_saved_and_loaded(build_tiny, tmp_path):
    model = build_tiny(generates="images")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.generator.stem is loaded.discriminator.stem


def test_evaluating_other_data_in_a_callback_leaves_validation_alone(
    build_tiny, few_ones, digits
):
    class EvaluateMajority(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            majority = digits[0][digits[1] == 0]
            self.model.evaluate(majority, np.zeros(len(majority), int), verbose=0)

    histories = [
        build_tiny()
        .fit(*few_ones, epochs=2, verbose=0, validation_data=digits, callbacks=each)
        .history
        for each in (None, EvaluateMajority())
    ]
    assert histories[0] == histories[1]


def test_accuracy_is_the_share_of_right_answers(build_tiny, few_ones):
    model = build_tiny()
    model.compile(metrics=["accuracy", keras.metrics.binary_crossentropy])
    model.fit(*few_ones, epochs=1, verbose=0)
    results = model.evaluate(*few_ones, verbose=0, return_dict=True)
    scores = predict(model, few_ones[0])[:, 0]
    unclear = np.mean(np.abs(scores) < 1e-3) + 1e-6
    accuracy = np.mean((scores < 0) == few_ones[1])
    assert abs(results["accuracy"] - accuracy) <= unclear
    assert results["binary_crossentropy"] > 0


def test_one_optimizer_for_both_networks_is_refused(build_tiny):
    model, adam = build_tiny(), keras.optimizers.Adam()
    with pytest.raises(ValueError, match="optimizer of its own"):
        model.compile(optimizer="adam")
    with pytest.raises(ValueError, match="optimizer of its own"):
        model.compile(discriminator_optimizer=adam, generator_optimizer=adam)


def test_loading_weights_resets_the_threshold(build_tiny, few_ones, digits, tmp_path):
    model = build_tiny()
    model.fit(*few_ones, epochs=1, verbose=0)
    model.calibrate(digits[0][210:], digits[1][210:], specificity=0.9)
    assert model.threshold != 0
    model.save_weights(tmp_path / "model.weights.h5")
    model.load_weights(tmp_path / "model.weights.h5")
    assert model.threshold == 0


def test_fitting_again_resets_the_threshold(build_tiny, few_ones, digits):
    model = build_tiny()
    model.fit(*few_ones, epochs=1, verbose=0)
    model.calibrate(digits[0][210:], digits[1][210:], specificity=0.9)
    assert model.threshold != 0
    model.fit(*few_ones, epochs=1, verbose=0)
    assert model.threshold == 0 and model.calibration is None


def test_calibration_uses_the_scores_that_predict_gives(build_tiny, few_ones, digits):
    model = build_tiny()
    model.fit(*few_ones, epochs=1, verbose=0)
    images, labels = digits[0][210:], digits[1][210:]
    calibration = model.calibrate(images, labels, criterion="youden")
    assert calibration.n_minority == labels.sum()
    expected = ek.thresholds.calibrate(
        predict(model, images)[:, 0], labels, criterion="youden"
    )
    assert np.isclose(model.threshold, expected.threshold, atol=1e-5)


class OfPyTorch(keras.optimizers.SGD):
    """Says of itself what optimizers say that were made under PyTorch."""


OfPyTorch.__name__ = "SGD"
OfPyTorch.__module__ = "keras.src.backend.torch.optimizers.torch_sgd"


@pytest.mark.parametrize("scaled", (False, True))
def test_optimizers_are_saved_without_their_backend(build_tiny, scaled):
    model = build_tiny()
    optimizer = OfPyTorch(0.125)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer, keras.optimizers.Adam(0.5))
    config = model.get_compile_config()
    assert "torch" not in json.dumps(config)
    model.compile_from_config(config)
    loaded = model.optimizer.inner_optimizer if scaled else model.optimizer
    assert type(loaded) is keras.optimizers.SGD
    assert float(loaded.learning_rate) == 0.125
    assert type(model.generator_optimizer) is keras.optimizers.Adam
