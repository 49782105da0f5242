import keras
import keras_tuner
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import egan_keras as ek
from egan_keras.model import EGAN
from egan_keras.tuning.choosing import (
    Fold,
    HeldOut,
    join_fits,
    make_folds,
    shares_above,
)
from egan_keras.tuning.hypermodel import DivergedError, judge

pytestmark = pytest.mark.whole

TINY = "MobileNet:alpha=0.25"
QUICK = {"epochs": 1, "minimum_steps": 2}


@pytest.fixture
def splits(digits, few_ones):
    """100 zeros and 4 ones to train on, 40 other zeros and 20 ones to validate."""
    images, labels = digits
    rows = [np.flatnonzero(labels == 0)[100:140], np.flatnonzero(labels == 1)[10:30]]
    rows = np.concatenate(rows)
    validation = ek.LabelledImages(images[rows], labels[rows])
    return ek.LabelledImages(*few_ones), validation


@pytest.mark.parametrize("count", [2, 3, 5, 7, 10, 101])
def test_each_minority_image_is_held_out_equally_often(count):
    folds = make_folds(count, seed=3)
    held_out = np.concatenate([fold.held_out for fold in folds])
    times = np.bincount(held_out, minlength=count)
    assert len(times) == count and len(set(times)) == 1
    assert len(folds) >= 5 and len({fold.seed for fold in folds}) == len(folds)
    assert max(len(fold.held_out) for fold in folds) < count
    again = make_folds(count, seed=3)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(folds, again, strict=True))


@pytest.mark.parametrize("n_groups", [2, 4, 9])
def test_images_of_one_group_are_held_out_at_once(n_groups):
    groups = [f"part {row % n_groups}" for row in range(20)]
    folds = make_folds(20, seed=3, groups=groups)
    held_out = np.concatenate([fold.held_out for fold in folds])
    assert np.ptp(np.bincount(held_out, minlength=20)) == 0 and len(folds) >= 5
    for fold in folds:
        inside = {groups[row] for row in fold.held_out}
        assert len(fold.held_out) == sum(groups.count(group) for group in inside) < 20
    with pytest.raises(ValueError, match="2 groups or more. Received: 3 of group a"):
        make_folds(3, groups=["a"] * 3)


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_minority_images_are_refused(count):
    with pytest.raises(ValueError, match=r"2 minority images or more.*Add a second"):
        make_folds(count)


def test_shares_are_the_area_under_the_curve():
    scores = np.random.default_rng(0).integers(0, 9, 60).astype(float)
    labels = np.arange(60) < 20
    shares = shares_above(scores[labels], scores[~labels])
    assert shares.mean() == pytest.approx(roc_auc_score(labels, -scores))
    joined = join_fits(3, [(np.array([0, 2]), np.array([1.0, 0.5])), ([1], [0.0])])
    assert joined.shares == (1.0, 0.0, 0.5) and joined.mean == 0.5


def test_trials_compare_image_by_image():
    easy_and_hard = HeldOut((0.95, 0.35, 0.90))
    better = HeldOut((0.97, 0.39, 0.93))
    lead, error = better.lead(easy_and_hard)
    assert lead == pytest.approx(0.03) and error < 0.01 < easy_and_hard.standard_error


def test_no_fit_sees_what_it_is_judged_by(build_tiny, splits, monkeypatch, tmp_path):
    train, validation = splits
    seen = []
    fit = EGAN.fit

    def watched(self, x, y, **options):
        seen.append({image.tobytes() for image in x[y == 1]})
        return fit(self, x, y, **options)

    monkeypatch.setattr(EGAN, "fit", watched)
    folds = make_folds(4)
    zeros = validation.images[validation.labels == 0]
    judge(build_tiny(**QUICK), train, zeros, folds, place=tmp_path)
    minority = train.images[train.labels == 1]
    for fold, images in zip(folds, seen, strict=True):
        held_out = {minority[index].tobytes() for index in fold.held_out}
        assert len(images) == 3 and not images & held_out


@pytest.mark.slow
def test_every_fit_starts_anew_and_equals_a_plain_one(build_tiny, splits, tmp_path):
    train, validation = splits
    zeros = validation.images[validation.labels == 0]
    halves = np.array([0, 1]), np.array([2, 3])
    folds = [Fold(halves[0], 7), Fold(halves[1], 8), Fold(halves[0], 7)]
    model = build_tiny(**QUICK)
    once, _ = judge(model, train, zeros, folds, place=tmp_path / "a")
    alone, _ = judge(build_tiny(**QUICK), train, zeros, folds[:2], place="memory")
    np.testing.assert_allclose(once.shares, alone.shares, atol=1e-6)
    scores = model.predict(zeros, verbose=0)
    kept = np.setdiff1d(np.arange(len(train)), np.flatnonzero(train.labels)[:2])
    plain = build_tiny(**QUICK)
    keras.utils.set_random_seed(7)
    for layer in plain.generator.tail.layers:
        for variable in layer.non_trainable_variables:
            if variable.name == "seed_generator_state":
                variable.assign([7, 0])
    plain.fit(train.images[kept], train.labels[kept], verbose=0)
    np.testing.assert_allclose(plain.predict(zeros, verbose=0), scores, atol=1e-4)


def test_divergence_fails_a_trial(build_tiny, splits, tmp_path):
    train, validation = splits
    model = build_tiny(**QUICK)
    model.compile(discriminator_optimizer=keras.optimizers.SGD(float("nan")))
    with pytest.warns(UserWarning), pytest.raises(DivergedError, match="not finite"):
        judge(model, train, validation.images, make_folds(4), place=tmp_path)


@pytest.mark.slow
def test_the_hypermodel_works_with_any_tuner(splits, tiny_weights, tmp_path):
    train, validation = splits
    hypermodel = ek.EGANHyperModel(
        (32, 32, 3),
        encoders=[TINY],
        weights=tiny_weights,
        network_size=32,
        depths=[1, 2],
        **QUICK,
    )
    tuner = keras_tuner.RandomSearch(
        hypermodel,
        objective=keras_tuner.Objective("held_out_auroc", "max"),
        max_trials=1,
        directory=tmp_path,
    )
    tuner.search(
        train.images,
        train.labels,
        validation_data=(validation.images, validation.labels),
        cache_features=tmp_path / "features",
        verbose=0,
    )
    (trial,) = tuner.oracle.get_best_trials()
    assert 0 <= trial.score <= 1
    assert trial.metrics.get_best_value("held_out_auroc_error") > 0
    (best,) = tuner.get_best_models()
    assert best.predict(validation.images, verbose=0).shape == (60, 1)
