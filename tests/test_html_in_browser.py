"""The page of a report in a headless Chromium: keys, counts, widths, no requests."""

import numpy as np
import pytest
from browser import worker

from egan_keras.evaluation import Report, evaluate
from egan_keras.metrics import precision_at_prevalence, score_metrics

pytestmark = pytest.mark.web


class Scores:
    """A stand-in for a model, whose scores are given."""

    threshold = -0.5

    def __init__(self, scores):
        self.scores = scores

    def predict(self, images, batch_size, verbose):
        return self.scores[:, None]


@pytest.fixture(scope="session")
def work():
    """work(page, *steps) returns what a page shows after each step."""
    return worker()


@pytest.fixture(scope="module")
def report() -> Report:
    random = np.random.default_rng(0)
    labels = (np.arange(300) < 40).astype(int)
    scores = (random.normal(size=300) + 2 - 2.5 * labels).astype("float32")
    images = np.zeros((300, 4, 4, 3), "uint8")
    return evaluate(Scores(scores), images, labels, resamples=20)


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (300, 90, 200, 3), dtype=np.uint8)
    names = [f"a_very_long_name_without_any_space_in_it_{n}.png" for n in range(300)]
    history = {"loss": [0.5, 0.25], "majority_score": [1.0, 2.0]}
    report.save_html(path, images, names=names, history=history)
    return path


def counts_at(report, threshold):
    called = report.scores < np.float32(threshold)
    found, alarms = (int(np.sum(called[report.labels == k])) for k in (1, 0))
    return {
        "found": str(found),
        "missed": str(report["n_minority"] - found),
        "alarms": str(alarms),
        "passed": str(report["n_majority"] - alarms),
    }


def shown_counts(state):
    return {name: state["texts"][name] for name in ("found", "missed")} | {
        name: state["texts"][name] for name in ("alarms", "passed")
    }


def test_keys_move_the_threshold_and_the_counts_follow(work, page, report):
    keys = {"press": ["ArrowRight"] * 3 + ["PageUp"], "on": "slider"}
    ends = [{"press": [key], "on": "slider"} for key in ("Home", "End")]
    start, moved, low, high, back = work(page, {}, keys, *ends, {"click": "back"})
    for state in (start, back):
        assert shown_counts(state) == counts_at(report, -0.5)
        assert state["texts"]["threshold"] == state["texts"]["chosen"] == "-0.5"
        assert float(state["texts"]["sensitivity"]) == pytest.approx(
            report["sensitivity"], abs=5e-4
        )
    for state in (moved, low, high):
        threshold = float(state["texts"]["threshold"])
        assert shown_counts(state) == counts_at(report, threshold)
        assert state["texts"]["chosen"] == state["texts"]["threshold"]
    assert moved["focused"] == "slider" and moved["line"] > start["line"]
    assert shown_counts(low)["found"] == "0" and shown_counts(high)["passed"] == "0"


def test_a_threshold_can_be_typed(work, page, report):
    for text in ("0.731", "-1e1"):
        _, state = work(page, {}, {"type": text, "on": "threshold"})
        assert shown_counts(state) == counts_at(report, float(text))


def test_precision_and_costs_follow_from_what_is_typed(work, page, report):
    typed = {"prevalence": "2", "miss": "50", "alarm": "1"}
    steps = [{"type": text, "on": name} for name, text in typed.items()]
    state = work(page, *steps)[-1]["texts"]
    measured = score_metrics(report.scores, report.labels, -0.5)
    rates = measured["sensitivity"], measured["specificity"]
    expected = precision_at_prevalence(*rates, 0.02)
    assert float(state["precision"]) == pytest.approx(expected, abs=5e-4)
    cost = 1000 * (0.02 * (1 - rates[0]) * 50 + 0.98 * (1 - rates[1]))
    told = float(state["cost"].split("images: ")[1].split(". ")[0].replace(",", ""))
    assert told == pytest.approx(cost, rel=5e-3)
    wrong = work(page, {"type": "200", "on": "prevalence"})[-1]["texts"]
    assert wrong["precision"] == "–" and "from 0 to 100 %" in wrong["expected"]


@pytest.mark.parametrize("dark", [False, True])
def test_no_page_scrolls_sideways(work, page, dark):
    for state in work(page, *({"width": w, "dark": dark} for w in (390, 320, 1280))):
        assert state["overflow"] <= 0 and state["broken"] == 0
