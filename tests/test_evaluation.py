import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from sklearn.datasets import load_digits

from egan_keras.evaluation import (
    evaluate,
    plot_history,
    plot_mistakes,
    plot_precision_recall,
    plot_roc,
    plot_scores,
    save_plots,
)
from egan_keras.evaluation.style import MAJORITY, MINORITY
from egan_keras.metrics import precision_at_prevalence, score_metrics
from egan_keras.thresholds import calibrate

pytestmark = pytest.mark.whole

HISTORY = {
    "discriminator_loss": [0.7, 0.5, 0.4],
    "val_specificity": [0.8, 0.9, 0.95],
    "majority_logit": [0.1, 1.0, 2.0],
    "learning_rate": [1e-4, 1e-4, 1e-4],
}


class InkModel:
    """Scores an image by how little ink it has; a stand-in for a trained model."""

    def __init__(self, threshold=0.0, **attributes):
        self.threshold = threshold
        vars(self).update(attributes)

    def predict(self, images, batch_size, verbose):
        mean = np.asarray(images, "float32").mean(axis=(1, 2, 3))
        return (8 * (75 - mean))[:, None]


def digits(majority=1, minority=0):
    images, digit = load_digits(return_X_y=True)
    chosen = np.isin(digit, (majority, minority))
    images = (images[chosen].reshape(-1, 8, 8, 1) * 15).astype("uint8")
    return images, (digit[chosen] == minority).astype(int)


@pytest.fixture(scope="module")
def report():
    return evaluate(InkModel(), *digits(), resamples=100)


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(match=_is_text))


def _is_text(artist):
    return hasattr(artist, "get_text")


def shown_images(figure):
    return figure.findobj(match=AxesImage)


def test_the_report_holds_metrics_and_how_the_threshold_was_set():
    images, labels = digits()
    scores = InkModel().predict(images, 256, 0)
    calibration = calibrate(scores, labels, specificity=0.95)
    model = InkModel(
        calibration.threshold, calibration=calibration, recipe="default", pairing="A->B"
    )
    report = evaluate(model, images, labels, extra={"seed": 7, "skipped": 2})
    for name, value in score_metrics(scores, labels, calibration.threshold).items():
        assert report[name] == value
    assert report["threshold_guarantee"] == calibration.guarantee
    assert report["threshold_criterion"] == "specificity"
    described = [report[k] for k in ("seed", "recipe", "pairing", "skipped")]
    assert described == [7, "default", "A->B", 2]
    assert all(
        low <= report[name] <= high for name, (low, high) in report["ci95"].items()
    )


def test_a_model_with_nothing_but_predict_is_judged_at_zero():
    class Bare:
        predict = InkModel().predict

    report = evaluate(Bare(), *digits(), resamples=10)
    assert report["threshold"] == 0
    assert report["threshold_criterion"] == "uncalibrated"
    assert report["threshold_guarantee"].startswith("No guarantee")
    assert "recipe" not in report


def test_expected_precision_comes_with_an_interval():
    report = evaluate(InkModel(), *digits(), prevalence=0.001, resamples=100)
    rates = (report["sensitivity"], report["specificity"])
    assert report["expected_precision"] == precision_at_prevalence(*rates, 0.001)
    low, high = report["ci95"]["expected_precision"]
    assert low < report["expected_precision"] < high
    assert "where 0.1% of images are minority" in str(report)


def test_the_report_reads_as_a_table(report):
    lines = str(report).splitlines()
    f1 = next(line for line in lines if line.startswith("F1"))
    low, high = report["ci95"]["f1"]
    assert f"{report['f1']:.3f}  [{low:.3f}, {high:.3f}]" in f1
    assert f"always answering minority: {report['always_minority_f1']:.3f}" in f1
    assert lines[-1].startswith("No guarantee: the threshold was not calibrated")
    table = lines[2 : lines.index("", 2)]
    assert len({line.index(".") for line in table[1:]}) == 1
    assert len({line.index("[") for line in table[1:]}) == 1
    assert max(map(len, table)) <= 88


def test_an_interval_without_width_is_explained():
    perfect = evaluate(InkModel(-1e9), *digits(), resamples=10)
    assert "too few mistakes to resample, not certainty" in str(perfect)


def test_one_class_gives_what_can_be_computed(tmp_path):
    images, labels = digits()
    report = evaluate(InkModel(), images[labels == 0], labels[labels == 0])
    assert "auroc" not in report
    assert "specificity" in report
    assert "AUROC" not in str(report)
    with pytest.raises(KeyError, match="absent when the images hold one"):
        report["auroc"]
    with pytest.raises(ValueError, match="ROC curve needs.*minority images=0"):
        plot_roc(report)
    with pytest.raises(ValueError, match="precision-recall curve needs images of both"):
        plot_precision_recall(report)
    written = save_plots(tmp_path, report, images[labels == 0])
    assert [path.name for path in written] == ["scores.png", "mistakes.png"]


def test_the_saved_report_is_the_values_as_json(report, tmp_path):
    report.save(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == report.values
    assert os.listdir(tmp_path) == ["report.json"]


def test_a_failed_save_keeps_the_report_that_was_there(report, tmp_path):
    path = tmp_path / "report.json"
    path.write_text("before")
    bad = evaluate(InkModel(), *digits(), resamples=10, extra={"odd": object()})
    with pytest.raises(TypeError, match="object cannot be written"):
        bad.save(path)
    assert path.read_text() == "before"
    with pytest.raises(FileNotFoundError, match="does not exist.*Make"):
        report.save(tmp_path / "missing" / "report.json")


def test_extra_values_may_be_numpy_and_paths(tmp_path):
    extra = {"count": np.int64(3), "data": tmp_path, "values": np.arange(2)}
    report = evaluate(InkModel(), *digits(), resamples=10, extra=extra)
    report.save(tmp_path / "report.json")
    saved = json.loads((tmp_path / "report.json").read_text())
    assert [saved["count"], saved["data"], saved["values"]] == [
        3,
        str(tmp_path),
        [0, 1],
    ]


@pytest.mark.parametrize(
    "labels, options, message",
    [
        ([0, 1], {}, "do not match: expected one label for each image.*labels=2"),
        ([0, 1, 2], {}, r"neither 0 nor 1.*labels=\[2\]"),
        ([0, 1, 1], {"prevalence": 5}, "prevalence is out of range"),
        ([0, 1, 1], {"extra": {"f1": 1}}, "would replace measured.*extra with f1"),
    ],
)
def test_unusable_input_is_refused(labels, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate(InkModel(), np.zeros((3, 8, 8, 1)), labels, **options)


def test_a_model_that_gives_nan_is_refused():
    with pytest.raises(ValueError, match="not finite.*training diverged"):
        evaluate(InkModel(), np.full((2, 8, 8, 1), np.nan), [0, 1])


@pytest.mark.parametrize("plot", [plot_scores, plot_roc, plot_precision_recall])
def test_plots_have_labelled_axes_and_a_legend(report, plot):
    figure = plot(report)
    axes = figure.axes[0]
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    assert f"threshold {report['threshold']:.3g}" in texts(figure)


def test_the_operating_point_lies_on_the_curve(report):
    for plot, expected in (
        (plot_roc, (1 - report["specificity"], report["sensitivity"])),
        (plot_precision_recall, (report["sensitivity"], report["precision"])),
    ):
        lines = plot(report).axes[0].get_lines()
        point = next(line for line in lines if line.get_marker() == "o")
        assert point.get_xydata()[0] == pytest.approx(expected)
        curve = max(lines, key=lambda line: len(line.get_xdata())).get_xydata()
        assert np.min(np.abs(curve - expected).sum(axis=1)) < 0.02


def test_the_area_under_the_drawn_steps_is_the_average_precision(report):
    lines = plot_precision_recall(report).axes[0].get_lines()
    curve = max(lines, key=lambda line: len(line.get_xdata()))
    recall, precision = curve.get_xydata().T
    assert curve.get_drawstyle() == "steps-post"
    area = -np.sum(np.diff(recall) * precision[:-1])
    assert area == pytest.approx(report["average_precision"])
    assert precision[-1] == precision[-2]


def test_no_operating_point_is_drawn_where_nothing_is_called_minority():
    report = evaluate(InkModel(threshold=-1e9), *digits(), resamples=10)
    assert "nothing is below the threshold" in texts(plot_precision_recall(report))


def test_outlying_scores_are_counted_and_do_not_squeeze_the_rest():
    images, labels = digits()
    usual = plot_scores(evaluate(InkModel(), images, labels, resamples=10))
    outlying = images.astype("float32")
    outlying[0] = 1e6
    figure = plot_scores(evaluate(InkModel(), outlying, labels, resamples=10))
    assert "1 below, down to -8e+06" in texts(figure)
    width, usual_width = (np.ptp(f.axes[0].get_xlim()) for f in (figure, usual))
    assert width < 3 * usual_width


def test_history_is_sorted_into_panels():
    figure = plot_history(HISTORY)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["losses", "logits", "metrics"]
    assert "learning rate" not in texts(figure)
    assert figure.axes[1].get_lines()[0].get_color() == MAJORITY
    assert figure.axes[2].get_lines()[0].get_linestyle() == "--"
    assert len(plot_history({"loss": [1.0]}).axes) == 1
    with pytest.raises(ValueError, match="no training history.*Received: history={}"):
        plot_history({})


def test_mistakes_show_the_most_confident_of_each_kind(report):
    images, labels = digits()
    figure = plot_mistakes(report, images, count=2, names=np.arange(len(labels)))
    wrong = (report.scores < 0) != (labels == 1)
    missed = np.flatnonzero(wrong & (labels == 1))
    worst = missed[np.argmax(report.scores[missed])]
    first = shown_images(figure)[0]
    np.testing.assert_array_equal(first.get_array(), images[worst, ..., 0])
    assert first.axes.get_title() == f"{report.scores[worst]:.2f}"
    assert first.axes.get_xlabel() == str(worst)
    assert to_hex(first.axes.spines["top"].get_edgecolor()).upper() == MINORITY
    assert len(shown_images(figure)) == 4
    assert f"{len(missed)} of {labels.sum()} minority images missed" in texts(figure)


def test_mistakes_can_be_none_or_fewer_than_asked():
    images = np.zeros((3, 8, 8, 3), "uint8")
    images[2] = 255
    none = evaluate(InkModel(), images, [0, 0, 1], resamples=10)
    figure = plot_mistakes(none, images)
    assert "0 of 1 minority images missed" in texts(figure)
    assert not shown_images(figure)
    one = evaluate(InkModel(), images, [0, 0, 0], resamples=10)
    assert len(shown_images(plot_mistakes(one, images))) == 1
    assert "no minority images to judge" in texts(plot_mistakes(one, images))


@pytest.mark.parametrize(
    "n, options, message",
    [
        (2, {}, "do not match the report: expected 3.*images=2"),
        (3, {"names": ["a"]}, "expected 3.*images=3, names=1"),
        (3, {"count": 0}, "out of range.*count=0"),
    ],
)
def test_mistakes_refuse_what_does_not_fit(n, options, message):
    images = np.zeros((3, 8, 8, 1))
    report = evaluate(InkModel(), images, [0, 0, 1], resamples=10)
    with pytest.raises(ValueError, match=message):
        plot_mistakes(report, images[:n], **options)


def test_mistakes_refuse_features():
    report = evaluate(InkModel(), np.zeros((2, 8, 8, 1)), [0, 1], resamples=10)
    with pytest.raises(ValueError, match="wrong shape.*Pass images, not features"):
        plot_mistakes(report, np.zeros((2, 64)))


def test_plots_are_written_and_nothing_else(report, tmp_path):
    images, _ = digits()
    written = save_plots(tmp_path / "plots", report, images, HISTORY)
    names = ["scores", "roc", "precision_recall", "training", "mistakes"]
    assert [path.name for path in written] == [f"{name}.png" for name in names]
    assert sorted(os.listdir(tmp_path / "plots")) == sorted(p.name for p in written)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_a_failed_plot_keeps_the_file_that_was_there(report, tmp_path, monkeypatch):
    def fail(figure, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    (tmp_path / "scores.png").write_bytes(b"before")
    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.warns(UserWarning, match="png could not be made: disk full"):
        assert save_plots(tmp_path, report, digits()[0]) == []
    assert os.listdir(tmp_path) == ["scores.png"]
    assert (tmp_path / "scores.png").read_bytes() == b"before"


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["$\\frac{$", "照片 $a$", "\udce9\n\x1b[2J", "_a$"])
def test_names_are_drawn_whatever_they_are(report, tmp_path, name):
    images, labels = digits()
    history = {f"loss {name}": [1.0, 0.5]}
    names = [name] * len(labels)
    assert len(save_plots(tmp_path, report, images, history, names)) == 5


def test_plots_can_be_written_from_threads(report, tmp_path):
    images, _ = digits()
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(lambda k: save_plots(tmp_path / k, report, images), "ab")
    (first, *_), (second, *_) = done
    assert first.read_bytes() == second.read_bytes()


def test_a_dataset_is_judged_as_arrays_are_but_not_drawn(report, tmp_path):
    images, labels = digits()
    images = np.repeat(images, 3, axis=-1)
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(50)
    by_arrays, by_dataset = (
        evaluate(InkModel(), *given, resamples=10)
        for given in ((images, labels), (dataset,))
    )
    assert by_dataset.values == by_arrays.values
    with pytest.raises(ValueError, match="another order.*np.concatenate"):
        save_plots(tmp_path, report, dataset)


def test_a_minority_that_scores_higher_is_told_of():
    images, _ = digits()
    scores = InkModel().predict(images, 256, 0)[:, 0]
    labels = scores > np.quantile(scores, 0.8)
    with pytest.warns(UserWarning, match=r"score higher.*AUROC 0\.000.*1 - labels"):
        evaluate(InkModel(), images, labels, resamples=10)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (5, [0], "Images must be an array or a tf.data.Dataset. Received: 5"),
        (np.zeros((1, 8, 8, 1)), 0, "Labels must be an array or a list"),
        (np.zeros((1, 8, 8, 1)), None, "The images have no labels"),
        (["a.png"], [0], "ek.ImageFiles"),
    ],
)
def test_what_is_no_array_is_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        evaluate(InkModel(), images, labels)
