"""Features kept on the device that trains, which the processor stands in for here."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import egan_keras as ek
from egan_keras import keras_hooks
from egan_keras.data.lazy import SelectedRows
from egan_keras.features import training_rows

pytestmark = pytest.mark.whole

CASES = {
    "default": ({"minimum_steps": 10}, {}),
    "published": ({"recipe": "published"}, {}),
    "images at every step": (
        {"minimum_steps": 10, "mirrored_minority": False},
        {"cache_features": False},
    ),
}


@pytest.fixture
def accelerator(monkeypatch):
    """Returns a function that pretends that there is an accelerator."""
    return lambda: monkeypatch.setattr(keras_hooks, "has_accelerator", lambda: True)


@pytest.fixture
def made(monkeypatch):
    """The tables that training made."""
    made, make = [], training_rows.Tables

    def noted(*arguments):
        made.append(make(*arguments))
        return made[-1]

    monkeypatch.setattr(training_rows, "Tables", noted)
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.slow] * (case == "published"))
        for case in CASES
    ],
)
def test_training_is_the_same_with_rows_taken_on_the_device(
    build_tiny, few_ones, accelerator, made, case
):
    choices, options = CASES[case]
    found = []
    for pretend in (lambda: None, accelerator):
        pretend()
        model = build_tiny(**choices)
        history = model.fit(
            *few_ones, epochs=2, verbose=0, validation_data=few_ones, **options
        )
        found.append([*history.history.values(), *model.get_weights()])
        model.evaluate(*few_ones, verbose=0)
    assert len(made) == 1
    for plain, on_device in zip(*found, strict=True):
        np.testing.assert_allclose(plain, on_device, rtol=1e-5, atol=1e-6)


def test_rows_of_several_arrays():
    first, second = np.arange(6.0).reshape(3, 2), np.arange(3, dtype="uint8")
    parts = [[first, second], [first], [second]]
    kept = training_rows.Tables(parts, [False, True, False])
    assert [variable.dtype for variable in kept.variables][1] == "uint8"
    (several, pixels), whole, single = kept.rows([np.array([2, 0]), np.array([1])])
    np.testing.assert_array_equal(several, first[[2, 0]])
    np.testing.assert_array_equal(pixels, second[[2, 0]])
    np.testing.assert_array_equal(whole, first)
    np.testing.assert_array_equal(single, second[[1]])


def test_only_what_fits_goes_to_the_device(accelerator, monkeypatch):
    parts = [[np.zeros((10, 4), "float32")], [np.zeros((2, 4), "float32")]]
    drawn = [False, False]
    assert training_rows.make_tables(parts, drawn) is None
    accelerator()
    assert training_rows.make_tables(parts, drawn) is not None
    in_files = SelectedRows(np.zeros((10, 4), "float32"), np.arange(10))
    assert training_rows.make_tables([[in_files], parts[1]], drawn) is None
    monkeypatch.setattr(training_rows, "_LARGEST_BYTES", 12 * 4 * 4 - 1)
    assert training_rows.make_tables(parts, drawn) is None


def orders_of_two_parts():
    """Returns the orders of epochs of four steps, of three and two rows each."""
    keras.utils.set_random_seed(3)
    return [training_rows.epoch_order(7, 10, shuffle=True) for _ in range(2)], (3, 2)


def test_row_numbers_are_those_of_the_dataset():
    parts, sizes = orders_of_two_parts()
    cut = [each.rebatch(size) for each, size in zip(parts, sizes, strict=True)]
    expected = list(tf.data.Dataset.zip(tuple(cut)).repeat(3).as_numpy_iterator())
    batches = training_rows.RowNumbers(*orders_of_two_parts(), steps=4)
    found = []
    for _ in range(3):
        batches.on_epoch_begin()
        found += [batches[step] for step in range(batches.num_batches)]
    assert len(found) == len(expected) == 12
    for numbers, others in zip(found, expected, strict=True):
        for own, other in zip(numbers, others, strict=True):
            np.testing.assert_array_equal(own, other)


def test_row_numbers_are_taken_several_steps_at_once_until_the_epoch_ends():
    batches = training_rows.RowNumbers(*orders_of_two_parts(), steps=4)
    for _ in range(2):
        batches.on_epoch_begin()
        taken = batches.take(3), batches.take(3), batches.take(3)
        assert [len(each) for each in taken] == [3, 1, 0]
        for step, numbers in enumerate(sum(taken, [])):
            for own, other in zip(numbers, batches[step], strict=True):
                np.testing.assert_array_equal(own, other)


@pytest.mark.slow
def test_nothing_is_left_on_the_device_or_in_files(
    build_tiny, few_ones, accelerator, tmp_path
):
    accelerator()
    model = build_tiny(minimum_steps=10)
    names = [weight.path for weight in model.weights]
    path = tmp_path / "checkpoint.weights.h5"
    checkpoint = keras.callbacks.ModelCheckpoint(path, save_weights_only=True)
    model.fit(*few_ones, epochs=1, verbose=0, callbacks=[checkpoint])
    assert [weight.path for weight in model.weights] == names
    assert model.train_function is None
    model.load_weights(path)
    model.fit(*few_ones, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.predict(few_ones[0], verbose=0), model.predict(few_ones[0], verbose=0)
    )


def test_tables_leave_the_device_after_an_interruption(
    build_tiny, few_ones, accelerator
):
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    accelerator()
    model = build_tiny(minimum_steps=10)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*few_ones, epochs=1, verbose=0, callbacks=[Interrupt()])
    assert model._tables is None and model.train_function is None


def test_features_given_as_rows(accelerator, made):
    rows = np.random.default_rng(0).normal(size=(99, 8)).astype("float32")
    labels = np.arange(99) < 5
    accelerator()
    keras.utils.set_random_seed(0)
    model = ek.EGAN.from_features(None, [5, 3])
    model.compile()
    history = model.fit(rows, labels, epochs=2, verbose=0)
    assert np.isfinite(history.history["discriminator_loss"]).all()
    assert len(made) == 1
