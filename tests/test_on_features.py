import keras
import numpy as np
import pytest
import tensorflow as tf

import egan_keras as ek
from egan_keras import features

pytestmark = pytest.mark.whole


def test_training_on_features_gives_the_scores_of_training_on_images(
    build_tiny, few_ones
):
    images, labels = few_ones
    on_images = build_tiny()
    stem = on_images.discriminator.stem
    seen = np.concatenate([images, images[labels == 1][:, :, ::-1]])
    compute = features.compiled(stem)
    (vectors,), maps = compute.raw(seen), compute.maps(seen)
    flat = [each.reshape(len(seen), -1) for each in maps]
    rows = np.concatenate([vectors, *flat], axis=1)
    row_labels = np.append(labels, np.ones(len(rows) - len(labels), labels.dtype))
    on_images.fit(images, labels, epochs=2, verbose=0)
    on_rows = ek.EGAN.from_features(
        None,
        vectors.shape[1],
        map_shapes=[each.shape[1:] for each in maps],
        side=images.shape[1],
        views=2,
    )
    on_rows.compile()
    for mine, theirs in zip(
        [*on_rows.generator.tail.weights, *on_rows.discriminator.tail.weights],
        [
            *build_tiny().generator.tail.weights,
            *build_tiny().discriminator.tail.weights,
        ],
        strict=True,
    ):
        mine.assign(theirs)
    on_rows.fit(rows, row_labels, epochs=2, verbose=0)
    expected = on_images.predict(images, verbose=0)
    scores = on_rows.predict(rows[: len(images)], verbose=0)
    assert np.corrcoef(scores[:, 0], expected[:, 0])[0, 1] > 0.98


def test_rows_that_are_no_multiple_of_the_views_are_refused():
    model = ek.EGAN.from_features(None, 8, map_shapes=[(2, 2, 3)], views=2)
    model.compile()
    rows = np.random.default_rng(0).normal(size=(40, 20))
    with pytest.raises(ValueError, match="2 rows each.*Received: 3 minority rows"):
        model.fit(rows, np.arange(40) < 3, epochs=1, verbose=0)


def test_the_encoder_reads_its_own_columns():
    random = np.random.default_rng(0)
    rows = random.normal(size=(60, 12)).astype("float32")
    model = ek.EGAN.from_features(4, 8, unit_length=False)
    model.compile()
    model.fit(rows, np.arange(60) < 3, epochs=1, verbose=0)
    encoded, own = model.generator.stem.predict(rows, verbose=0)
    np.testing.assert_array_equal(encoded, rows[:, :4])
    standardized = (rows[:, 4:] - rows[3:, 4:].mean(axis=0)) / own
    assert np.ptp(standardized, axis=0).max() < 1e-3
    changed = np.concatenate([rows[:, :4] + 9, rows[:, 4:]], axis=1)
    np.testing.assert_array_equal(
        model.predict(changed, verbose=0), model.predict(rows, verbose=0)
    )


def test_saved_and_loaded_it_scores_the_same(tmp_path):
    rows = np.random.default_rng(0).normal(size=(60, 12))
    model = ek.EGAN.from_features(4, 8, pairing="a->b")
    model.compile()
    model.fit(rows, np.arange(60) < 3, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.predict(rows, verbose=0), model.predict(rows, verbose=0)
    )


def test_rows_that_do_not_fit_are_refused():
    model = ek.EGAN.from_features(None, 8)
    model.compile()
    with pytest.raises(ValueError, match=r"shape \(n, 8\).*Received: .*\(4, 9\)"):
        model.predict(np.zeros((4, 9)))
    with pytest.raises(ValueError, match=r"finite numbers"):
        model.fit(np.full((4, 8), np.nan), [0, 0, 1, 1])


def test_recipes_that_need_images_are_refused():
    with pytest.raises(ValueError, match=r"trained_layers=5.*Train it on images"):
        ek.EGAN.from_features(None, 8, recipe="published")
    with pytest.raises(ValueError, match=r"one number.*discriminator_size=0"):
        ek.EGAN.from_features(None, 0)


def test_rows_of_features_are_scored_whatever_gives_them():
    model = ek.EGAN.from_features(None, 8)
    rows = np.random.default_rng(0).normal(size=(90, 8)).astype("float32")
    expected = model(rows).numpy()
    dataset = tf.data.Dataset.from_tensor_slices(rows).batch(30)
    for given in (rows, rows.astype("float64").tolist(), dataset):
        np.testing.assert_allclose(model.predict(given, verbose=0), expected, atol=1e-5)
