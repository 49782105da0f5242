"""A report says when a specificity is short of its guarantee, and of which groups."""

import json

import numpy as np
import pytest

from egan_keras.evaluation import evaluate
from egan_keras.thresholds import calibrate


class Scored:
    """Gives the first pixel of an image as its score; calibrated on 0 to 199."""

    def __init__(self, **wish):
        scores = np.arange(200.0)
        labels = np.repeat([0, 1], [180, 20]) if "criterion" in wish else 0 * scores
        self.calibration = calibrate(scores, labels, **wish)
        self.threshold = self.calibration.threshold

    def predict(self, images, batch_size, verbose):
        return np.asarray(images, "float32")[:, 0, 0, :1]


def judged(n_alarms, model=None, n_majority=100, **options):
    """Reports on majority images of which so many are false alarms."""
    images = np.full((n_majority + 10, 2, 2, 3), 250, "uint8")
    images[:n_alarms] = 0
    images[n_majority:] = 1
    labels = np.repeat([0, 1], [n_majority, 10])
    model = model or Scored(specificity=0.95)
    return evaluate(model, images, labels, resamples=50, **options)


def test_more_false_alarms_than_chance_explains_are_told(tmp_path):
    report = judged(14)
    assert report["specificity_shortfall_p"] == pytest.approx(4.6e-4, rel=0.05)
    assert "Warning: 14 false alarms among 100 majority images" in str(report)
    assert "allows 5 or so" in str(report) and "--groups" in str(report)
    report.save(tmp_path / "report.json")
    values = json.loads((tmp_path / "report.json").read_text())
    assert values["specificity_shortfall_p"] < 0.001
    assert values["guaranteed_specificity"] == 0.95


@pytest.mark.parametrize("n_alarms", [0, 5, 10])
def test_what_chance_explains_is_not_told(n_alarms):
    report = judged(n_alarms)
    assert "specificity_shortfall_p" not in report
    assert "Warning" not in str(report)


@pytest.mark.parametrize(
    "wish",
    [
        {"specificity": 0.95, "confidence": None},
        {"criterion": "youden"},
        {"sensitivity": 0.5, "confidence": None},
    ],
)
def test_nothing_is_short_of_what_is_not_guaranteed(wish):
    if "sensitivity" in wish:
        model = Scored(specificity=0.95)
        labels = np.repeat([0, 1], 100)
        model.calibration = calibrate(np.arange(200.0), labels, **wish)
    else:
        model = Scored(**wish)
    assert "specificity_shortfall_p" not in judged(30, model)


def test_the_group_that_false_alarms_come_from_is_named():
    groups = ["7"] * 10 + ["8"] * 4 + [str(n) for n in range(9, 105)]
    report = judged(14, groups=np.array(groups))
    assert report["false_alarm_groups"][:2] == [["7", 10, 10], ["8", 4, 4]]
    assert "calibrate on majority images of more groups" in str(report)
    assert "10 of 14 false alarms came from group 7, which has 10 of 100" in str(report)
    alone = judged(14, groups=[str(n) for n in range(110)])
    assert "came from group" not in str(alone)


def test_groups_of_other_images_are_refused():
    with pytest.raises(ValueError, match="groups=3, labels=110"):
        judged(14, groups=["a"] * 3)


def test_images_of_one_class_are_judged_too():
    images = np.zeros((20, 2, 2, 3), "uint8")
    model = Scored(specificity=0.95)
    assert "specificity_shortfall_p" in evaluate(model, images, [0] * 20)
    assert "specificity_shortfall_p" not in evaluate(model, images, [1] * 20)
