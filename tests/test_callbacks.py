import keras
import numpy as np
import pytest

import egan_keras as ek

pytestmark = pytest.mark.whole


@pytest.fixture
def validation(digits):
    return digits[0][-60:], digits[1][-60:]


class Poison(keras.callbacks.Callback):
    """Makes a weight NaN at the start of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.poisoned_epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.poisoned_epoch:
            kernel = self.model.discriminator.trainable_variables[0]
            kernel.assign(kernel * np.nan)


class Interrupt(keras.callbacks.Callback):
    """Stands for Ctrl-C, or for a crash, at the end of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.last_epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.last_epoch:
            raise KeyboardInterrupt


def trained(model):
    return [np.array(weight) for weight in model.trainable_variables]


@pytest.mark.slow
def test_divergence_stops_and_keeps_the_last_good_weights(build_tiny, few_ones):
    good = build_tiny()
    good.fit(*few_ones, epochs=2, verbose=0)
    model = build_tiny()
    with pytest.warns(UserWarning, match="diverged.*epoch 3.*weights of epoch 2"):
        history = model.fit(*few_ones, epochs=9, verbose=0, callbacks=[Poison(2)])
    assert len(history.epoch) == 3
    for expected, kept in zip(trained(good), trained(model), strict=True):
        np.testing.assert_array_equal(expected, kept)


def test_divergence_in_the_first_epoch_keeps_the_initial_weights(build_tiny, few_ones):
    model = build_tiny()
    before = trained(model)
    with pytest.warns(UserWarning, match="weights that training started from"):
        model.fit(*few_ones, epochs=3, verbose=0, callbacks=[Poison(0)])
    for expected, kept in zip(before, trained(model), strict=True):
        np.testing.assert_array_equal(expected, kept)


@pytest.mark.slow
def test_after_divergence_training_can_go_on(build_tiny, few_ones):
    model = build_tiny("published")
    with pytest.warns(UserWarning, match="diverged"):
        model.fit(*few_ones, epochs=3, verbose=0, callbacks=[Poison(1)])
    history = model.fit(*few_ones, epochs=1, verbose=0).history
    assert np.isfinite(history["discriminator_loss"]).all()


@pytest.mark.slow
def test_divergence_is_noticed_with_minority_in_validation(
    build_tiny, few_ones, validation
):
    with pytest.warns(UserWarning, match="diverged.*epoch 1"):
        build_tiny().fit(
            *few_ones,
            epochs=3,
            verbose=0,
            callbacks=[Poison(0)],
            validation_data=validation,
        )


def test_early_stopping_watches_validation(build_tiny, few_ones, validation):
    stopping = keras.callbacks.EarlyStopping(
        "val_auroc", mode="max", patience=1, min_delta=2.0, restore_best_weights=True
    )
    history = build_tiny().fit(
        *few_ones, epochs=9, verbose=0, callbacks=[stopping], validation_data=validation
    )
    assert len(history.epoch) == 2 and stopping.stopped_epoch == 1


@pytest.mark.slow
def test_checkpoints_load_as_the_model_of_their_epoch(build_tiny, few_ones, tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    model = build_tiny()
    model.fit(*few_ones, epochs=2, verbose=0, callbacks=[checkpoint])
    last = keras.saving.load_model(tmp_path / "2.keras")
    images = few_ones[0][:9]
    np.testing.assert_array_equal(
        last.predict(images, verbose=0), model.predict(images, verbose=0)
    )
    assert (tmp_path / "1.keras").exists()


def test_an_interrupted_run_resumes_with_both_optimizers(
    build_tiny, few_ones, tmp_path
):
    # Without random draws, which Keras does not restore, the resumed run is the same.
    steady = {"dropout": 0.0, "latent_noise": 0.0}
    options = {"epochs": 3, "verbose": 0, "shuffle": False}
    whole = build_tiny(**steady)
    whole.fit(*few_ones, **options)
    interrupted = build_tiny(**steady)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(*few_ones, callbacks=[backup, Interrupt(1)], **options)
    resumed = build_tiny(**steady)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    history = resumed.fit(*few_ones, callbacks=[backup], **options)
    assert history.epoch == [2]
    assert resumed.optimizer.iterations == whole.optimizer.iterations
    for expected, found in zip(trained(whole), trained(resumed), strict=True):
        np.testing.assert_allclose(expected, found, atol=1e-6)


def test_tensorboard_gets_its_files(build_tiny, few_ones, tmp_path):
    board = keras.callbacks.TensorBoard(tmp_path)
    build_tiny().fit(*few_ones, epochs=1, verbose=0, callbacks=[board])
    assert list(tmp_path.rglob("events.out.tfevents*"))


def test_progress_bar_shows_the_losses(build_tiny, few_ones, capsys):
    build_tiny().fit(*few_ones, epochs=1, verbose=2)
    printed = capsys.readouterr().out
    assert "discriminator_loss" in printed and "Frozen features" in printed
    assert "\b" not in printed and "\x1b" not in printed, "log files get no bars"


@pytest.mark.parametrize("steps", [5, 8, 16])
def test_an_epoch_has_its_steps_whether_or_not_executions_divide_them(steps):
    model = ek.EGAN.from_features(None, 4, batch_size=3, minimum_steps=1)
    model.compile(steps_per_execution=8)
    rows = np.random.default_rng(0).normal(size=(3 * steps + 2, 4))
    model.fit(rows, np.arange(len(rows)) < 2, epochs=3, verbose=0)
    assert model.optimizer.iterations == 3 * steps
