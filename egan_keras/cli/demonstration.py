"""What the demo does: source task, transfer, and what both are worth."""

import argparse
import dataclasses
import json
import shlex
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

import keras
import numpy as np

from egan_keras import baselines, data, evaluation, features, metrics, thresholds
from egan_keras.cli import digits, runs
from egan_keras.cli.run_config import RunConfig, describe_files
from egan_keras.evaluation import Report
from egan_keras.files import write_atomically
from egan_keras.model import EGAN
from egan_keras.text import printable

MAJORITY, MINORITY = 3, 5
MINORITY_COUNT = 5
SEED = 0
# The highest round figure that the validation images can guarantee.
SPECIFICITY = 0.9
VALIDATION_FRACTION = 0.3

IMAGES = "images"
SOURCE_WEIGHTS = "source.weights.h5"
COMPARISON = "comparison.json"

_COLUMNS = {
    "auroc": "AUROC",
    "f1": "F1",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}
_SHOWN = 3
_WIDTH = 80

Metrics = dict[str, Any]


def demonstrate(arguments: argparse.Namespace) -> int:
    """Carries out the demo, and writes the run.

    Returns:
        The exit code 0.

    Raises:
        FileExistsError: if the run folder exists already.
    """
    out = arguments.out
    with runs.writing(out, overwrite=arguments.overwrite) as folder:
        pretrain(folder / SOURCE_WEIGHTS)
        digits.write_images(folder / IMAGES, (MAJORITY, MINORITY), seed=SEED)
        splits = load(folder / IMAGES)
        model, report = _transfer(splits, folder)
        _write_run(arguments, folder, model, splits, report)
        comparison = _compare(model, report, splits)
        text = json.dumps(comparison, indent=2, allow_nan=False)
        write_atomically(
            folder / COMPARISON, lambda path: path.write_text(text + "\n", "utf-8")
        )
    print(f"{table(comparison)}\n")
    _print_wrapped(
        f"Judged on {report['n_majority']} majority and {report['n_minority']} "
        "minority test images; 95% intervals below. Another seed or another pair of "
        "digits gives other figures."
    )
    _show_written(out)
    return 0


def _transfer(splits: data.Splits, folder: Path) -> tuple[EGAN, Report]:
    _say(
        f"Transfer: eGAN is to find digit {MINORITY}, with {MINORITY_COUNT} examples",
        f"Digit {MAJORITY} is the majority, with {splits.train.majority_count} images "
        f"to train on; digit {MINORITY} is the minority. The pre-trained backbone has "
        "seen neither.",
    )
    model = train(splits, folder / SOURCE_WEIGHTS)
    report = judge(model, splits.test)
    print(f"\n{report}")
    _show_scores(report, splits.test)
    return model, report


def _compare(model: EGAN, report: Report, splits: data.Splits) -> dict[str, Metrics]:
    _say(
        "What is the transfer worth? The same training from random weights",
        "Images, seed and all settings are the same.",
    )
    random_report = judge(train(splits, None), splits.test)
    _say(
        "What is eGAN worth? Logistic regression on the same frozen features",
        "It is scikit-learn's, on the transferred features of the same images. Its "
        "threshold is set in the same way.",
    )
    return {
        "eGAN, transferred": report.values,
        "eGAN, random weights": random_report.values,
        "logistic regression": judge_logistic_regression(model, splits),
        "always minority": _always_minority(report),
    }


def pretrain(weights: Path) -> None:
    """Makes the weights to transfer, and says how good they are at their own task."""
    _say(
        f"Source task: {digits.BACKBONE} learns the digits other than {MAJORITY} and "
        f"{MINORITY}",
        "Its weights are what is transferred. On images of your own, take weights "
        "pre-trained on ImageNet, the default of `egan-keras train`.",
    )
    accuracy = digits.pretrain(weights, unseen=(MAJORITY, MINORITY), verbose=_verbose())
    print(f"Accuracy on held-out images of the source task: {accuracy:.3f}")


def load(root: Path, *, seed: int = SEED) -> data.Splits:
    """Loads the images that `digits.write_images` wrote, with few of the minority."""
    return data.load_folder(
        root,
        majority=str(MAJORITY),
        minority=str(MINORITY),
        minority_count=MINORITY_COUNT,
        validation_fraction=VALIDATION_FRACTION,
        seed=seed,
    )


def train(
    splits: data.Splits,
    weights: Path | None,
    *,
    epochs: int | None = None,
    seed: int = SEED,
) -> EGAN:
    """Returns an eGAN, trained and calibrated.

    Args:
        splits: What to train and calibrate on.
        weights: Weights of the backbone; None for random ones.
        epochs: Passes over the majority; None takes the recipe's.
        seed: Of the training.
    """
    keras.utils.set_random_seed(seed)
    model = EGAN.from_backbones(
        digits.BACKBONE,
        digits.BACKBONE,
        image_shape=splits.train.images.shape[1:],
        network_size=digits.NETWORK_SIZE,
        weights=weights,
        # A mirrored five is no five.
        mirrored_minority=False,
    )
    model.compile()
    validation = splits.validation
    model.fit(
        splits.train.images,
        splits.train.labels,
        epochs=epochs,
        validation_data=(validation.images, validation.labels),
        verbose=_verbose(),
    )
    model.calibrate(validation.images, validation.labels, specificity=SPECIFICITY)
    return model


def judge(model: EGAN, test: data.LabelledImages) -> Report:
    """Returns the report on the test split."""
    extra = {"seed": SEED, "split": "test"}
    return evaluation.evaluate(model, test.images, test.labels, extra=extra)


def judge_logistic_regression(model: EGAN, splits: data.Splits) -> Metrics:
    """Returns the metrics of logistic regression on a model's frozen features.

    Args:
        model: Its discriminator's stem gives the features.
        splits: What it is trained, calibrated and judged on, as the model was.
    """
    stem = model.discriminator.stem
    train_features, validation_features, test_features = (
        features.stem_features(stem, split.images)[0] for split in splits
    )
    held_out = np.concatenate([validation_features, test_features])
    scores = baselines.logistic_regression_scores(
        train_features, splits.train.labels, held_out
    )
    validation_scores, test_scores = np.split(scores, [len(splits.validation)])
    calibration = thresholds.calibrate(
        validation_scores, splits.validation.labels, specificity=SPECIFICITY
    )
    judged = (test_scores, splits.test.labels, calibration.threshold)
    return {
        **metrics.score_metrics(*judged),
        "threshold": calibration.threshold,
        "ci95": metrics.bootstrap_intervals(*judged),
    }


def _always_minority(report: Report) -> Metrics:
    values = {"auroc": 0.5, "sensitivity": 1.0, "specificity": 0.0}
    return {**values, "f1": report["always_minority_f1"], "ci95": {}}


def table(comparison: dict[str, Metrics]) -> str:
    """Returns an aligned table: a method a row, its intervals in the row below.

    Args:
        comparison: The metrics of each method, by its name.
    """
    rows = [["", *_COLUMNS.values()]]
    for method, values in comparison.items():
        intervals = [values["ci95"].get(name) for name in _COLUMNS]
        rows.append([method, *(f"{values[name]:.3f}" for name in _COLUMNS)])
        if any(intervals):
            rows.append(["", *("[{:.3f}, {:.3f}]".format(*ends) for ends in intervals)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _write_run(
    arguments: argparse.Namespace,
    folder: Path,
    model: EGAN,
    splits: data.Splits,
    report: Report,
) -> None:
    """Writes what `egan-keras train` writes."""
    history = model.history.history
    runs.save_model(model, folder)
    _config(arguments, folder, model, splits).save(folder)
    runs.save_history(history, folder)
    report.save(folder / runs.REPORT)
    names = [Path(path).name for path in splits.test.paths]
    evaluation.save_plots(
        folder / runs.PLOTS, report, splits.test.images, history, names
    )


def _config(
    arguments: argparse.Namespace, folder: Path, model: EGAN, splits: data.Splits
) -> RunConfig:
    out = arguments.out.resolve()
    options = {
        "data": str(out / IMAGES),
        "majority": [str(MAJORITY)],
        "minority": [str(MINORITY)],
        "minority_count": MINORITY_COUNT,
        "ratio": None,
        "image_size": None,
        "skip_unreadable": False,
        "validation_fraction": VALIDATION_FRACTION,
        "test_fraction": 0.0,
        "recipe": str(model.recipe),
        "encoder": digits.BACKBONE,
        "discriminator": digits.BACKBONE,
        "weights": str(out / SOURCE_WEIGHTS),
        "network_size": digits.NETWORK_SIZE,
        "mirrored_minority": False,
        "epochs": model.recipe.epochs,
        "batch_size": model.recipe.batch_size,
        "seed": SEED,
        "specificity": SPECIFICITY,
        "confidence": model.calibration.confidence,
        "prevalence": None,
        "out": str(arguments.out),
    }
    return RunConfig(
        command=shlex.join(["egan-keras", *arguments.argv]),
        options=options,
        recipe=dataclasses.asdict(model.recipe),
        image_shape=model.image_shape,
        versions=evaluation.versions(),
        **describe_files(splits, folder / IMAGES),
        epochs_completed=len(model.history.epoch),
    )


def _show_scores(report: Report, test: data.LabelledImages) -> None:
    """Prints scores of a few test images, the first of each class."""
    print("\nSome of the test images:\n  image      digit  score    called")
    chosen = [np.flatnonzero(report.labels == label)[:_SHOWN] for label in (0, 1)]
    for index in np.concatenate(chosen):
        score = report.scores[index]
        called = "minority" if score < report["threshold"] else "majority"
        name = Path(test.paths[index]).name
        print(f"  {name:<9}  {test.class_names[index]:<5}  {score:>7.3f}  {called}")


def _show_written(out: Path) -> None:
    print("\nWritten:")
    for path in sorted(out.iterdir()):
        print(f"  {printable(path)}{'/' if path.is_dir() else ''}")
    command = [*program(), "score", str(out), str(out / IMAGES / "test")]
    print(f"\nTry it: {shlex.join(command)}")


def program() -> list[str]:
    """Returns the words that start this program where this one was started."""
    started = Path(sys.argv[0]).absolute()
    words = []
    if started.stem != "egan-keras":
        started, words = Path(sys.executable), ["-m", "egan_keras"]
    found = shutil.which(started.name)
    if found and Path(found).absolute() == started:
        return [started.name, *words]
    here = Path.cwd()
    shown = started.relative_to(here) if started.is_relative_to(here) else started
    return [str(shown), *words]


def _say(heading: str, explanation: str) -> None:
    print(f"\n=== {heading} ===")
    _print_wrapped(explanation)
    print(flush=True)


def _print_wrapped(text: str) -> None:
    print(textwrap.fill(text, _WIDTH, break_on_hyphens=False))


def _verbose() -> int:
    # A progress bar is for a terminal; a log gets a line for each epoch.
    return 1 if sys.stdout.isatty() else 2
