"""Pre-train, transfer, train, calibrate and judge, on handwritten digits.

The digits come with scikit-learn, so nothing is downloaded. DIR becomes a run
as `train` writes it, with the images and a comparison of methods in it.

Examples:
  egan-keras demo
  egan-keras score demo demo/images/test
"""

import dataclasses
import tempfile
import textwrap
from pathlib import Path
from typing import Any

from egan_keras import cli
from egan_keras.cli import next_command, options, rooms, runs, train
from egan_keras.cli.options import option
from egan_keras.logs import start_keras

MAJORITY, MINORITY = 3, 5
MINORITY_COUNT = 5
# The highest round figure that the validation images can guarantee.
SPECIFICITY = 0.9
IMAGES = "images"
SOURCE_WEIGHTS = "source.weights.h5"
COMPARISON = "comparison.json"
_SHOWN = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.OutputOptions):
    """All options of `demo`."""

    out: Path = option(Path("demo"), metavar="DIR")


def run(given: Options) -> int:
    """Trains on digits as `train` does, and compares what else could be done."""
    runs.check_free(given.out, overwrite=given.overwrite)
    start_keras()
    with runs.writing(given.out, overwrite=given.overwrite) as folder:
        _prepare(folder)
        chosen = training_options(folder, given)
        splits = train.load(chosen)
        model = train.build(chosen, splits)
        config, report = train.complete_run(model, splits, chosen, folder, "memory")
        # Where they will be.
        paths = {"data": given.out / IMAGES, "weights": given.out / SOURCE_WEIGHTS}
        paths = {name: str(path.resolve()) for name, path in paths.items()}
        config.options |= paths
        config.save(folder)
        _show_scores(report, splits.test)
        comparison = _compare(model, report, splits, chosen)
        runs.write_json(folder / COMPARISON, comparison)
    print(
        f"{table(comparison)}\n\nJudged on {report['n_majority']} majority and "
        f"{report['n_minority']} minority test images; 95% intervals below.\n"
        "Another seed or another pair of digits gives other figures."
    )
    paths = sorted(given.out.iterdir())
    cli.tell_written(f"{path}/" if path.is_dir() else path for path in paths)
    words = next_command.score_words(given.out, given.out / IMAGES)
    next_command.tell(*words, page=given.out / runs.PAGE)
    return 0


def _prepare(folder: Path) -> None:
    """Writes pre-trained weights and images."""
    digits, pair = rooms.digits, (MAJORITY, MINORITY)
    _say(
        f"Source task: {digits.BACKBONE} learns the digits other than {MAJORITY} and "
        f"{MINORITY}",
        "Its weights are what is transferred. On images of your own, take weights "
        "pre-trained on ImageNet, the default of `egan-keras train`.",
    )
    weights, verbose = folder / SOURCE_WEIGHTS, train.verbosity()
    accuracy = digits.pretrain(weights, unseen=pair, verbose=verbose)
    print(f"Accuracy on held-out images of the source task: {accuracy:.3f}")
    digits.write_images(folder / IMAGES, pair)
    _say(
        f"Transfer: eGAN is to find digit {MINORITY}, with {MINORITY_COUNT} examples",
        f"Digit {MAJORITY} is the majority; digit {MINORITY} is the minority. The "
        "pre-trained backbone has seen neither.",
    )


def training_options(folder: Path, given: Options) -> train.Options:
    """Returns the options of `train` for what the demo has written into a folder."""
    return train.Options(
        data=folder / IMAGES,
        majority=[str(MAJORITY)],
        minority=[str(MINORITY)],
        minority_count=MINORITY_COUNT,
        validation_fraction=0.3,
        encoder=rooms.digits.BACKBONE,
        discriminator=rooms.digits.BACKBONE,
        weights=str(folder / SOURCE_WEIGHTS),
        network_size=rooms.digits.NETWORK_SIZE,
        # A mirrored five is no five.
        mirrored_minority=False,
        specificity=SPECIFICITY,
        out=given.out,
        command_line=given.command_line,
    )


def _compare(
    model: Any, report: Any, splits: Any, chosen: train.Options
) -> dict[str, Any]:
    _say(
        "What is the transfer worth? The same training from random weights",
        "Images, seed and all settings are the same.",
    )
    chosen = dataclasses.replace(chosen, weights=None)
    untrained = train.build(chosen, splits)
    with tempfile.TemporaryDirectory() as aside:
        given = (untrained, splits, chosen, Path(aside), "memory")
        _, random_report = train.complete_run(*given)
    _say(
        "What is eGAN worth? Logistic regression on the same frozen features",
        "It is scikit-learn's, on the transferred features of the same images. Its "
        "threshold is set in the same way.",
    )
    values = {"auroc": 0.5, "sensitivity": 1.0, "specificity": 0.0, "ci95": {}}
    return {
        "eGAN, transferred": report.values,
        "eGAN, random weights": random_report.values,
        "logistic regression": _judge_logistic_regression(model, splits),
        "always minority": {**values, "f1": report["always_minority_f1"]},
    }


def _judge_logistic_regression(model: Any, splits: Any) -> dict[str, Any]:
    """Returns the metrics of logistic regression on a model's frozen features."""
    import numpy as np

    stem = model.discriminator.stem
    train_rows, *others = (
        rooms.features.stem_features(stem, split.images)[0] for split in splits
    )
    scores = rooms.baselines.logistic_regression_scores(
        train_rows, splits.train.labels, np.concatenate(others)
    )
    n_held_out, labels = len(splits.validation), splits.validation.labels
    threshold = rooms.thresholds.calibrate(
        scores[:n_held_out], labels, specificity=SPECIFICITY
    ).threshold
    judged = (scores[n_held_out:], splits.test.labels, threshold)
    intervals = rooms.metrics.bootstrap_intervals(*judged)
    metrics = rooms.metrics.score_metrics(*judged)
    return {**metrics, "threshold": threshold, "ci95": intervals}


def table(comparison: dict[str, Any]) -> str:
    """Returns an aligned table: a method a row, its intervals in the row below."""
    from tabulate import tabulate

    names = ("auroc", "f1", "sensitivity", "specificity")
    rows = []
    for method, values in comparison.items():
        intervals = [values["ci95"].get(name) for name in names]
        rows.append([method, *(f"{values[name]:.3f}" for name in names)])
        if any(intervals):
            rows.append(["", *("[{:.3f}, {:.3f}]".format(*ends) for ends in intervals)])
    heads = ["", "AUROC", "F1", *names[2:]]
    return tabulate(rows, heads, "plain", disable_numparse=True)


def _show_scores(report: Any, test: Any) -> None:
    """Prints scores of a few test images, the first of each class."""
    print("\nSome of the test images:\n  image      digit  score    called")
    found = [[i for i, x in enumerate(report.labels) if x == label] for label in (0, 1)]
    for index in found[0][:_SHOWN] + found[1][:_SHOWN]:
        score = report.scores[index]
        called = "minority" if score < report["threshold"] else "majority"
        name = Path(test.paths[index]).name
        print(f"  {name:<9}  {test.class_names[index]:<5}  {score:>7.3f}  {called}")


def _say(heading: str, explanation: str) -> None:
    wrapped = textwrap.fill(explanation, 80, break_on_hyphens=False)
    print(f"\n=== {heading} ===\n{wrapped}\n", flush=True)
