import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from egan_keras import features
from egan_keras.review import learner as room
from egan_keras.review.learner import Known, Learner

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def images(digits, tmp_path_factory):
    """Paths and labels of 90 zeros and 12 ones."""
    folder, (pixels, labels) = tmp_path_factory.mktemp("images"), digits
    rows = [*np.flatnonzero(labels == 0)[:90], *np.flatnonzero(labels == 1)[:12]]
    paths = []
    for row in rows:
        paths.append(folder / f"{row}.png")
        Image.fromarray(pixels[row]).save(paths[-1])
    return np.array(paths), np.repeat([0, 1], [90, 12])


def begin(model, images, *, trained=60, **options):
    """A learner whose run was trained on 60 zeros and 2 ones, and what is left."""
    paths, labels = images
    is_known = np.zeros(len(paths), bool)
    is_known[[*range(trained), *([90, 91] if trained else [])]] = True
    known = Known(paths[is_known].tolist(), labels[is_known])
    store = features.FeatureStore("memory", verbose=0)
    left = paths[~is_known].tolist()
    return Learner(model, left, known, store=store, **options), labels[~is_known]


@pytest.fixture
def model(build_tiny, few_ones):
    model = build_tiny()
    model.fit(*few_ones, epochs=1, verbose=0)
    return model


def test_it_judges_as_the_runs_model_does(model, images):
    model.threshold = 0.25
    found, labels = begin(model, images)
    judged = found.judge()
    expected = model.judge(found._files(found._paths))[0]
    np.testing.assert_allclose(judged.scores, expected, atol=1e-3)
    assert judged.threshold == 0.25 and not judged.is_alien.any()
    assert len(found.vectors) == len(labels) == 40 and len(found.seen) == 62


def test_images_far_off_are_alien(model, images):
    found, _ = begin(model, images, farthest=-100.0)
    assert found.judge().is_alien.all()


def test_it_learns_from_labels_and_sees_each_image_once(model, images, monkeypatch):
    found, labels = begin(model, images)
    found.learn([0, 1, 30], labels[[0, 1, 30]])
    read = []
    monkeypatch.setattr(found._images.__class__, "_read", lambda *_: read.append(1))
    decoded = room.decode_batch

    def decode_batch(paths, *options, **more):
        read.extend(paths)
        return decoded(paths, *options, **more)

    monkeypatch.setattr(room, "decode_batch", decode_batch)
    judged = found.learn([0, 1, 30, 31], labels[[0, 1, 30, 31]])
    assert read == [found._paths[31]]
    assert roc_auc_score(labels, -judged.scores) > 0.6


def test_heat_maps_are_of_what_was_learned(model, images):
    found, labels = begin(model, images)
    judged = found.learn([0, 30], labels[[0, 30]])
    pixels = found._images[5]
    score, heat = model.scores_and_heat_maps(pixels[None])
    np.testing.assert_allclose(score[0, 0], judged.scores[5], atol=1e-4)
    np.testing.assert_array_equal(found.heat_map(pixels), heat[0])


def test_labels_alone_are_enough_if_both_classes_are_there(model, images):
    found, labels = begin(model, images, trained=0)
    with pytest.raises(ValueError, match="20 majority and 0 minority"):
        found.learn(range(20), [0] * 20)
    rows = [*range(20), 90, 91]
    judged = found.learn(rows, labels[rows])
    assert roc_auc_score(labels, -judged.scores) > 0.8


def test_a_recipe_that_trains_backbones_only_ranks(build_tiny, images):
    model = build_tiny("published")
    found, labels = begin(model, images)
    assert found.judge().scores.shape == (40,) and len(found.vectors) == 40
    assert not found.can_learn
    with pytest.raises(ValueError, match="recipe trains the backbones"):
        found.learn([0, 30], [0, 1])
