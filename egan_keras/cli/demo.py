"""Pre-train, transfer, train, calibrate and judge, on handwritten digits.

The digits come with scikit-learn, so nothing is downloaded. DIR becomes a run
as `train` writes it, with the images and a comparison of methods in it.

Or train, calibrate and judge on photographs of solar cells, some of them
defective: pip install 'egan-keras[photographs]' (91 MB; CC BY-NC-SA 4.0, not to
be used for money). Keras downloads the ImageNet weights once.

Examples:
  egan-keras demo
  egan-keras score demo demo/images/test
  egan-keras demo --images solar-cells --out cells
"""

import dataclasses
import tempfile
import textwrap
from pathlib import Path
from typing import Any, Literal

from egan_keras import cli, logs
from egan_keras.cli import options, rooms, runs, train
from egan_keras.cli.options import option

MAJORITY, MINORITY = 3, 5
IMAGES = "images"
LABELS = "labels.csv"
SOURCE_WEIGHTS = "source.weights.h5"
PHOTOGRAPHS_BACKBONE = "MobileNetV2:alpha=0.35"
COMPARISON = "comparison.json"
_SHOWN = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.OutputOptions):
    """All options of `demo`.

    Attributes:
        images: what to train on
    """

    images: Literal["digits", "solar-cells"] = "digits"
    out: Path = option(Path("demo"), metavar="DIR")


def run(given: Options) -> int:
    """Trains as `train` does, and compares what else could be done."""
    runs.check_free(given.out, overwrite=given.overwrite)
    logs.start_keras()
    with runs.writing(given.out, overwrite=given.overwrite) as folder:
        prepare, _ = KINDS[given.images]
        prepare(folder)
        chosen = training_options(folder, given)
        splits = train.load(chosen)
        model = train.build(chosen, splits)
        config, report = train.complete_run(model, splits, chosen, folder, "memory")
        # Where they will be.
        there = training_options(given.out.resolve(), given)
        for name in ("data", "labels", "weights"):
            path = getattr(there, name)
            config.options[name] = path and str(path)
        config.save(folder)
        _show_scores(report, splits.test)
        comparison = _compare(model, report, splits, chosen)
        runs.write_json(folder / COMPARISON, comparison)
    print(
        f"{table(comparison)}\n\nJudged on {report['n_majority']} majority and "
        f"{report['n_minority']} minority test images; 95% intervals below.\n"
        "Another seed gives other figures."
    )
    paths = sorted(given.out.iterdir())
    cli.tell_written(f"{path}/" if path.is_dir() else path for path in paths)
    words = cli.score_words(given.out, given.out / IMAGES)
    if given.images == "solar-cells":
        lowest = splits.test.paths[report.scores.argmin()]
        words = ["score", given.out, lowest, "--heat-maps", given.out / "marked"]
    cli.tell_next(*words, page=given.out / runs.PAGE)
    return 0


def _prepare_digits(folder: Path) -> None:
    """Writes pre-trained weights and images."""
    pair = MAJORITY, MINORITY
    _say(
        f"Source task: {rooms.samples.DIGITS_BACKBONE} learns the digits other than "
        f"{MAJORITY} and {MINORITY}",
        "Its weights are what is transferred. On images of your own, take weights "
        "pre-trained on ImageNet, the default of `egan-keras train`.",
    )
    weights, verbose = folder / SOURCE_WEIGHTS, logs.verbosity()
    accuracy = rooms.samples.pretrain(weights, unseen=pair, verbose=verbose)
    print(f"Accuracy on held-out images of the source task: {accuracy:.3f}")
    rooms.samples.write_digits(folder / IMAGES, pair)
    _say(
        f"Transfer: eGAN is to find digit {MINORITY}, with 5 examples",
        f"Digit {MAJORITY} is the majority; digit {MINORITY} is the minority. The "
        "pre-trained backbone has seen neither.",
    )


def _prepare_solar_cells(folder: Path) -> None:
    """Writes the table of labels."""
    rooms.samples.write_solar_cells(folder / LABELS)
    _say(
        "Transfer: eGAN is to find defective solar cells, with 10 examples",
        "Photographs of Deitsch et al. 2019 (doi 10.1016/j.solener.2019.02.067), CC "
        "BY-NC-SA 4.0; report.html shows some of them, so pass it on under the same "
        "licence. The backbone has seen the photographs of ImageNet, and no solar "
        "cell. Cells that experts were not sure of are left out. No file says which "
        "module a cell is of; neighbours in the list are kept together instead.",
    )


def _digits(folder: Path) -> dict[str, Any]:
    return {
        "data": folder / IMAGES,
        "majority": [str(MAJORITY)],
        "minority": [str(MINORITY)],
        "minority_count": 5,
        "validation_fraction": 0.3,
        "encoder": rooms.samples.DIGITS_BACKBONE,
        "discriminator": rooms.samples.DIGITS_BACKBONE,
        "weights": str(folder / SOURCE_WEIGHTS),
        "network_size": rooms.samples.DIGITS_NETWORK_SIZE,
        # A mirrored five is no five.
        "mirrored_minority": False,
        # The highest round figure that the validation images can guarantee.
        "specificity": 0.9,
    }


def _solar_cells(folder: Path) -> dict[str, Any]:
    return {
        "data": rooms.samples.solar_cells_folder(),
        "labels": folder / LABELS,
        "majority": [rooms.samples.FUNCTIONAL],
        "minority": [rooms.samples.DEFECTIVE],
        "minority_count": 10,
        "encoder": PHOTOGRAPHS_BACKBONE,
        "discriminator": PHOTOGRAPHS_BACKBONE,
    }


# What is written for the images, and which options `train` gets for it.
KINDS = {
    "digits": (_prepare_digits, _digits),
    "solar-cells": (_prepare_solar_cells, _solar_cells),
}


def training_options(folder: Path, given: Options) -> train.Options:
    """Returns the options of `train` for what the demo has written into a folder."""
    _, options_for = KINDS[given.images]
    told = {"out": given.out, "command_line": given.command_line}
    return train.Options(**options_for(folder), **told)


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
        "logistic regression": _judge_logistic_regression(model, splits, chosen),
        "always minority": {**values, "f1": report["always_minority_f1"]},
    }


def _judge_logistic_regression(
    model: Any, splits: Any, chosen: train.Options
) -> dict[str, Any]:
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
        scores[:n_held_out], labels, specificity=chosen.specificity
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
    print("\nSome of the test images:")
    print(f"  {'image':<12}  {'class':<10}  {'score':>7}  called")
    found = [[i for i, x in enumerate(report.labels) if x == label] for label in (0, 1)]
    for index in found[0][:_SHOWN] + found[1][:_SHOWN]:
        score = report.scores[index]
        called = "minority" if score < report["threshold"] else "majority"
        name = Path(test.paths[index]).name
        print(f"  {name:<12}  {test.class_names[index]:<10}  {score:>7.3f}  {called}")


def _say(heading: str, explanation: str) -> None:
    wrapped = textwrap.fill(explanation, 80, break_on_hyphens=False)
    print(f"\n=== {heading} ===\n{wrapped}\n", flush=True)
