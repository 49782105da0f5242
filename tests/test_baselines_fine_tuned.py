import keras
import numpy as np
import pytest
from conftest import TINY
from sklearn.metrics import roc_auc_score

from egan_keras.baselines import (
    IMAGE_BASELINES,
    fine_tuned,
    fine_tuned_classifier_scores,
)

pytestmark = pytest.mark.whole


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(fine_tuned, "_MINIMUM_STEPS", 1)


@pytest.fixture
def options(tiny_weights):
    return {"backbone": TINY, "weights": tiny_weights, "network_size": 32, "seed": 0}


def shades(majority, minority):
    """Returns dark images (majority) and bright ones, of four shades each; labels.

    No more shades, since a network with random weights takes every new one to
    features of another kind.
    """
    labels = (np.arange(majority + minority) >= majority).astype(int)
    shade = 20 * (np.arange(len(labels)) % 4) + 180 * labels
    images = np.empty((len(labels), 32, 32, 3), "uint8")
    images[:] = shade[:, None, None, None]
    return images, labels


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGE_BASELINES)
def test_minority_images_score_low(name, options):
    test_images, test_labels = shades(8, 8)
    scores = IMAGE_BASELINES[name](*shades(60, 6), test_images, **options)
    assert scores.shape == (16,)
    assert scores.dtype == np.float64
    assert roc_auc_score(test_labels, -scores) > 0.9


@pytest.mark.slow
def test_seeded_scores_repeat(options):
    given = *shades(20, 2), shades(3, 3)[0]
    options.update(epochs=1, seed=5)
    first = fine_tuned_classifier_scores(*given, **options)
    keras.utils.set_random_seed(7)
    np.testing.assert_array_equal(
        fine_tuned_classifier_scores(*given, **options), first
    )


@pytest.mark.slow
def test_only_the_last_layers_are_tuned_and_no_moving_statistics(options, monkeypatch):
    bases, before, build = [], {}, fine_tuned.Backbone.build

    def remember(self, *arguments, **choices):
        bases.append(build(self, *arguments, **choices))
        before.update({v.path: v.numpy() for v in bases[0].variables})
        return bases[0]

    monkeypatch.setattr(fine_tuned.Backbone, "build", remember)
    fine_tuned_classifier_scores(*shades(60, 6), shades(1, 1)[0], **options)
    changed = {
        variable.path
        for variable in bases[0].variables
        if not np.array_equal(variable, before[variable.path])
    }
    layers = {path.split("/")[-2] for path in changed}
    assert {"conv_pw_11", "conv_dw_13", "conv_pw_13_bn"} <= layers
    assert not {"conv1", "conv_dw_1", "conv_pw_8"} & layers
    assert not [path for path in changed if "moving" in path]


def test_few_images_are_trained_on_for_more_epochs(monkeypatch):
    monkeypatch.setattr(fine_tuned, "_MINIMUM_STEPS", 7)
    model = keras.Sequential([keras.layers.Dense(1)])
    rows, labels = np.eye(70, 4), np.arange(70) % 2
    fine_tuned._train(model, rows, labels, 1e-3, "class weights", epochs=1)
    assert model.optimizer.iterations == 8
    fine_tuned._train(model, rows, labels, 1e-3, "class weights", epochs=5)
    assert model.optimizer.iterations == 10


@pytest.mark.parametrize("loss", ["class weights", "focal"])
def test_the_classes_weigh_the_same_however_rare_one_is(loss):
    rows, labels = np.zeros((400, 1)), (np.arange(400) < 20).astype("int32")
    bias = keras.layers.Dense(1)
    model = keras.Sequential([bias])
    fine_tuned._train(model, rows, labels, 0.02, loss, epochs=20)
    assert abs(float(bias.bias[0])) < 0.3


def test_what_cannot_be_trained_is_refused(options):
    images, labels = shades(4, 2)
    with pytest.raises(ValueError, match="Unknown loss.*loss='hinge'"):
        fine_tuned_classifier_scores(images, labels, images, loss="hinge", **options)
    with pytest.raises(ValueError, match="at least 1 epoch.*epochs=0"):
        fine_tuned_classifier_scores(images, labels, images, epochs=0, **options)
    with pytest.raises(ValueError, match="no minority image"):
        fine_tuned_classifier_scores(images, 0 * labels, images, **options)
    with pytest.raises(ValueError, match=r"shape \(n, 32, 32, 3\)"):
        fine_tuned_classifier_scores(images, labels, images[:, 1:], **options)
