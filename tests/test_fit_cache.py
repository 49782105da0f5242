"""fit on features in memory, in files, and on images that are read when asked for."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import egan_keras as ek
from egan_keras.features import StemFunction, feature_store
from egan_keras.networks import MajorityAwareScore

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def files(few_ones, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number, image in enumerate(few_ones[0]):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return ek.ImageFiles(sorted(folder.iterdir()), 32)


class Steps(keras.callbacks.Callback):
    """Keeps the losses after each step."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append([logs["discriminator_loss"], logs["generator_loss"]])


def trained(model, x, y=None, **options):
    """Returns a model and the losses of its steps."""
    keras.utils.set_random_seed(0)
    steps = Steps()
    model.fit(x, y, epochs=2, verbose=0, callbacks=[steps], **options)
    return model, np.array(steps.losses)


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe", ["default", pytest.param("published", marks=pytest.mark.slow)]
)
def test_losses_are_the_same_wherever_features_are(
    build_tiny, few_ones, files, recipe, tmp_path
):
    images, labels = few_ones
    dataset = tf.data.Dataset.from_tensor_slices(few_ones).batch(128)
    fewest = {"minimum_steps": 10}
    expected_model, expected = trained(
        build_tiny(recipe, **fewest), images, labels, cache_features="memory"
    )
    expected_scores = expected_model.predict(images, verbose=0)
    for given, place in (
        ((images, labels), tmp_path / "arrays"),
        ((files, labels), tmp_path / "files"),
        ((files, labels), "memory"),
        ((files, labels), False),
        ((dataset,), tmp_path / "dataset"),
    ):
        model = build_tiny(recipe, **fewest)
        model, losses = trained(model, *given, cache_features=place)
        np.testing.assert_allclose(losses, expected, rtol=1e-4, err_msg=str(place))
        scores = model.predict(files, verbose=0)
        np.testing.assert_allclose(scores, expected_scores, atol=1e-3)


@pytest.mark.slow
def test_a_seeded_run_from_files_repeats_bit_for_bit(build_tiny, few_ones, tmp_path):
    runs = [trained(build_tiny(), *few_ones, cache_features=tmp_path) for _ in range(2)]
    np.testing.assert_array_equal(runs[0][1], runs[1][1])
    scores = [model.predict(few_ones[0], verbose=0) for model, _ in runs]
    np.testing.assert_array_equal(*scores)


def test_a_second_run_runs_no_stem_and_takes_no_statistics(
    build_tiny, few_ones, files, tmp_path, monkeypatch
):
    def fit():
        labels = few_ones[1]
        validation = files.select(np.arange(60, 104)), labels[60:]
        return trained(
            build_tiny(),
            files,
            labels,
            cache_features=tmp_path,
            validation_data=validation,
        )[1]

    def fail(*arguments):
        raise AssertionError("it was computed again")

    first = fit()
    monkeypatch.setattr(StemFunction, "__call__", fail)
    monkeypatch.setattr(MajorityAwareScore, "adapt", fail)
    np.testing.assert_array_equal(fit(), first)


def test_other_minority_images_leave_the_majoritys_features(
    build_tiny, few_ones, files, tmp_path
):
    _, labels = few_ones
    trained(build_tiny(), files, labels, cache_features=tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    fewer = np.arange(102)
    images, labels = files.select(fewer), labels[fewer]
    trained(build_tiny(), images, labels, cache_features=tmp_path)
    after = {path.name for path in tmp_path.iterdir()}
    # Two sets of the minority's were added: each network's, one with maps.
    assert before < after and len(after - before) == 2


def test_all_else_takes_files_as_it_takes_arrays(build_tiny, few_ones, files):
    images, labels = few_ones
    model, _ = trained(build_tiny(), images[::2], labels[::2])
    np.testing.assert_allclose(
        model.predict(files, batch_size=40, verbose=0),
        model.predict(images, verbose=0),
        atol=1e-5,
    )
    evaluated, calibrated, reports = [], [], []
    for given in (images, files):
        evaluated.append(model.evaluate(given, labels, verbose=0))
        with pytest.warns(UserWarning, match="52 of 104 images were left out"):
            calibration = model.calibrate(given, labels, specificity=0.9)
        calibrated.append(calibration.threshold)
        assert calibration.n_majority == 50
        with pytest.warns(UserWarning, match="52 of 104 images were trained on"):
            reports.append(ek.evaluate(model, given, labels)["auroc"])
    for pair in (evaluated, calibrated, reports):
        np.testing.assert_allclose(*pair, atol=1e-5)
    with pytest.raises(ValueError, match="image_shape"):
        model.predict(ek.ImageFiles(files._paths, 16), verbose=0)


def test_rows_of_features_in_a_file_are_read_from_it(tmp_path, monkeypatch):
    rows = np.random.default_rng(0).normal(size=(300, 12)).astype("float32")
    labels = np.arange(300) < 5
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    monkeypatch.setenv("EGAN_KERAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(feature_store, "_MOST_BYTES", 0)
    losses, scores = [], []
    for given, place in ((rows, "memory"), (mapped, "auto")):
        keras.utils.set_random_seed(0)
        model = ek.EGAN.from_features(None, 12)
        model.compile()
        model, steps = trained(model, given, labels, cache_features=place)
        losses.append(steps)
        scores.append(model.predict(given, verbose=0))
    np.testing.assert_allclose(*losses, rtol=1e-4)
    np.testing.assert_allclose(*scores, atol=1e-3)
    # They are features already, and not written a second time.
    assert not (tmp_path / "cache").exists()


def test_a_wrong_place_is_refused_before_long_work(build_tiny, few_ones, monkeypatch):
    with pytest.raises(ValueError, match="place of the features.*Received: 7"):
        build_tiny().fit(*few_ones, cache_features=7)
