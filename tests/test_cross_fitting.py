import numpy as np
import pytest

import egan_keras as ek
from egan_keras import features, networks
from egan_keras.model import Judged


class Model:
    """Scores an image by its brightness, and remembers what it was trained on."""

    threshold, calibration = 0.0, None
    recipe = networks.get_recipe("published")

    def __init__(self, fitted):
        self._fitted = fitted

    def fit(self, images, labels, **options):
        self._fitted.append((images[:, 0, 0, 0], labels, options))

    def judge(self, images):
        seen = self._fitted[-1][0]
        assert not np.isin(images[:, 0, 0, 0], seen).any()
        return Judged(images[:, 0, 0, 0].astype("float32"))


def numbered(count):
    images = np.zeros((count, 4, 4, 3), "uint8")
    images[:] = np.arange(count)[:, None, None, None]
    return images


@pytest.mark.parametrize("grouped", [False, True])
def test_each_majority_image_is_scored_by_a_model_that_has_not_seen_it(grouped):
    images, labels = numbered(23), np.arange(23) % 7 == 3
    groups = [f"part {number // 4}" for number in range(23)] if grouped else None
    fitted = []
    scored = ek.cross_fitted_scores(
        lambda: Model(fitted), images, labels, folds=3, groups=groups, verbose=0
    )
    np.testing.assert_array_equal(scored.scores, np.flatnonzero(~labels))
    assert not scored.labels.any() and not scored.trained_on.any()
    assert len(fitted) == 3
    for seen, own, options in fitted:
        assert options == {"verbose": 0}
        # All of the minority, and two thirds of the majority.
        np.testing.assert_array_equal(seen[own == 1], np.flatnonzero(labels))
        held_out = set(np.flatnonzero(~labels)) - set(seen)
        assert 4 <= len(held_out) <= 8
        if grouped:
            there = {number // 4 for number in seen[own == 0]}
            assert not there & {number // 4 for number in held_out}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1}, "Received: folds=1, majority images=20"),
        ({"folds": 21}, "Pass a number from 2 to 20"),
        ({"folds": 3, "groups": [0] * 12 + [1] * 11}, "groups of majority images=2"),
    ],
)
def test_more_folds_than_there_can_be_are_refused(options, message):
    labels = np.arange(23) % 7 == 3
    with pytest.raises(ValueError, match=message):
        ek.cross_fitted_scores(lambda: None, numbered(23), labels, **options)


@pytest.mark.whole
def test_a_threshold_is_set_without_holding_images_out(digits, build_tiny):
    images, labels = digits
    options = {"epochs": 1, "verbose": 0}
    scored = ek.cross_fitted_scores(build_tiny, images, labels, folds=2, **options)
    assert len(scored.scores) == np.sum(labels == 0)
    model = build_tiny()
    model.fit(images, labels, **options)
    found = ek.calibrate_cross_fitted(model, scored, 2, specificity=0.9)
    assert model.threshold == found.threshold
    assert "as far as the model scores like 2 others" in found.guarantee
    assert f"({found.n_majority} cross-fitted majority images)" in found.guarantee
    assert np.mean(scored.scores >= found.threshold) >= 0.9


@pytest.mark.slow
def test_frozen_backbones_see_each_image_once(build_tiny, few_ones, monkeypatch):
    images, labels = few_ones
    seen, compute = [], features.FeatureStore.features

    def counted(self, own, *told, **options):
        if own.shape[1:] == images.shape[1:]:
            seen.append(len(own))
        return compute(self, own, *told, **options)

    monkeypatch.setattr(features.FeatureStore, "features", counted)
    options = {"folds": 2, "epochs": 2, "verbose": 0}
    scores = ek.cross_fitted_scores(build_tiny, images, labels, **options).scores
    # The images, and the mirror images of the minority.
    assert seen == [len(images), int(labels.sum())]

    # One that watches images is trained on images.
    watched = options | {"validation_data": (images[:20], labels[:20])}
    expected = ek.cross_fitted_scores(build_tiny, images, labels, **watched).scores
    assert np.corrcoef(scores, expected)[0, 1] > 0.9
