"""Training from a folder of images to a complete run folder."""

import argparse
import dataclasses
import math
import shlex
import sys
import tempfile
import warnings
from pathlib import Path

import keras

from egan_keras import data, evaluation, features, files, logs, networks
from egan_keras.backbones import Backbone
from egan_keras.cli import ends, runs
from egan_keras.cli.loading import FRACTIONS, all_passed_over, check_validation, load
from egan_keras.cli.run_config import RunConfig, describe_files
from egan_keras.data.contents import content_hashes
from egan_keras.model import EGAN
from egan_keras.text import first_few, printable

DIVERGED = 1

_RESERVED = ".reserved"
# In model.keras, with what stands around the numbers.
_BYTES_OF_A_NUMBER = 4.4
# Around a path in config.json.
_PATH_BYTES = 16
# Of the plots and all else.
_OTHER_BYTES = 4_000_000


def train(arguments: argparse.Namespace) -> int:
    """Trains as the options of `egan-keras train` say, and writes the run.

    Returns:
        The exit code: 0, or 1 if training diverged.

    Raises:
        ValueError: for images, classes or options that cannot be used.
        FileNotFoundError: if a file or folder does not exist.
        FileExistsError: if the run folder exists already.
        OSError: if ImageNet weights cannot be had.
        KeyboardInterrupt: on Ctrl-C, after the model was saved.
    """
    data.check_folder(
        arguments.data, majority=arguments.majority, minority=arguments.minority
    )
    _check_networks(arguments)
    with runs.writing(arguments.out, overwrite=arguments.overwrite) as folder:
        keras.utils.set_random_seed(arguments.seed)
        splits = load(arguments)
        check_validation(splits, arguments)
        model = _build(arguments, splits.train.images.shape[1:])
        config = complete_run(model, splits, arguments, folder, arguments.cache)
    tell_written(arguments.out)
    return 0 if config.diverged_in_epoch is None else DIVERGED


def complete_run(
    model: EGAN,
    splits: data.Splits,
    arguments: argparse.Namespace,
    folder: Path,
    cache: str | features.FeatureStore,
) -> RunConfig:
    """Trains a compiled model, calibrates it, reports, and writes all of its run.

    Args:
        model: It was not trained yet.
        splits: What `load` returned.
        arguments: All options of the command.
        folder: Of the run, to write into.
        cache: Where features go, as in `EGAN.fit`.

    Returns:
        The configuration with what became of the training.
    """
    n_bytes = _bytes_needed(model, splits)
    files.check_space(arguments.out, n_bytes, "the run")
    files.reserve(folder / _RESERVED, n_bytes)
    config = _config(arguments, splits, model)
    config = _fit(model, splits, config, folder, cache)
    if arguments.specificity is not None:
        count = splits.validation.majority_count
        logs.tell(f"Setting the threshold on {count:,} validation majority images")
        model.calibrate(
            splits.validation.images,
            splits.validation.labels,
            specificity=arguments.specificity,
            confidence=arguments.confidence,
        )
        runs.save_model(model, folder)
    logs.tell(f"Scoring {len(splits.test):,} test images")
    report = evaluation.evaluate(
        model,
        splits.test.images,
        splits.test.labels,
        prevalence=arguments.prevalence,
        extra=config.report_values() | {"split": "test"},
    )
    config = _noticing_changes(config, arguments.data, folder)
    if config.changed:
        report.values["n_changed_in_training"] = len(config.changed)
    report.save(folder / runs.REPORT)
    logs.tell("Drawing the plots")
    evaluation.save_plots(
        folder / runs.PLOTS,
        report,
        splits.test.images,
        _history(model),
        [Path(path).name for path in splits.test.paths],
    )
    print(f"\n{report}")
    return config


def _noticing_changes(config: RunConfig, root: Path, folder: Path) -> RunConfig:
    """Says which files were changed while the run was made, and notes it in the run."""
    before = {
        path: mark
        for split in config.files
        for path, (_, mark) in config.recorded(split).items()
    }
    now = content_hashes([root / path for path in before])
    pairs = zip(before.items(), now, strict=True)
    changed = [path for (path, mark), found in pairs if found != mark]
    if changed:
        warnings.warn(
            f"{len(changed)} files were changed while the run was made, so that it is "
            f"not of one state of the images: {first_few(changed)} below {root}. "
            "Train again when nothing writes to them.",
            stacklevel=2,
        )
        config = dataclasses.replace(config, changed=changed)
        config.save(folder)
    return config


def tell_written(out: Path) -> None:
    """Prints the files of a run."""
    print("\nWritten:")
    for path in sorted(out.rglob("*.*")):
        print(f"  {printable(path)}")


def _check_networks(arguments: argparse.Namespace) -> None:
    """Builds each backbone once, so that nothing is read in vain if that fails."""
    size = arguments.network_size or networks.get_recipe(arguments.recipe).network_size
    backbones = map(Backbone.parse, (arguments.encoder, arguments.discriminator))
    for name, backbone in {str(backbone): backbone for backbone in backbones}.items():
        logs.tell(f"Trying to build {name}")
        backbone.build(size or backbone.minimum_size, weights=arguments.weights)


def _build(arguments: argparse.Namespace, image_shape: tuple[int, int, int]) -> EGAN:
    """Builds and compiles the model."""
    logs.tell("Building the model")
    choices = {
        name: getattr(arguments, name)
        for name in ("network_size", "batch_size", "epochs", "mirrored_minority")
    }
    model = EGAN.from_backbones(
        arguments.encoder,
        arguments.discriminator,
        image_shape=image_shape,
        recipe=arguments.recipe,
        weights=arguments.weights,
        **{name: value for name, value in choices.items() if value is not None},
    )
    model.compile()
    print(f"Model: {model.pairing}, recipe {model.recipe}")
    return model


def _config(
    arguments: argparse.Namespace, splits: data.Splits, model: EGAN
) -> RunConfig:
    """Returns the run's configuration before training."""
    options = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(arguments).items()
        if name not in ("run", "command", "argv", "traceback", "overwrite")
    }
    options |= {
        "data": str(arguments.data.resolve()),
        "epochs": model.recipe.epochs,
        "batch_size": model.recipe.batch_size,
        **FRACTIONS,
    }
    return RunConfig(
        command=shlex.join(["egan-keras", *arguments.argv]),
        options=options,
        recipe=dataclasses.asdict(model.recipe),
        image_shape=model.image_shape,
        versions=evaluation.versions(),
        unused=_unused(arguments, splits),
        passed_over=dict(all_passed_over(splits)),
        **describe_files(splits, arguments.data),
    )


def _unused(arguments: argparse.Namespace, splits: data.Splits) -> dict[str, list[str]]:
    """Returns the minority images that training was not to have, by class."""
    if arguments.minority_count is None and arguments.ratio is None:
        return {}
    named = ("paths", "skipped", "dropped_duplicates")
    used = {p for each in splits for name in named for p in getattr(each, name)}
    found = data.list_every_image(arguments.data, arguments.minority)
    return {
        name: [
            path.relative_to(arguments.data).as_posix()
            for path in paths
            if str(path) not in used
        ]
        for name, paths in found.items()
    }


def _fit(
    model: EGAN,
    splits: data.Splits,
    config: RunConfig,
    folder: Path,
    cache: str | features.FeatureStore,
) -> RunConfig:
    """Trains, and writes model, configuration and history, on Ctrl-C too.

    Returns:
        The configuration with what became of the training.
    """
    validation = splits.validation
    try:
        model.fit(
            splits.train.images,
            splits.train.labels,
            # A progress bar is for a terminal; a log gets a line for each epoch.
            verbose=1 if sys.stdout.isatty() else 2,
            cache_features=cache,
            validation_data=(validation.images, validation.labels)
            if len(validation)
            else None,
        )
    except KeyboardInterrupt:
        # Before there are epochs, the features are computed.
        if getattr(model, "history", None) is not None:
            _save(model, config, folder, interrupted=True)
        raise
    return _save(model, config, folder, interrupted=False)


def _save(
    model: EGAN, config: RunConfig, folder: Path, *, interrupted: bool
) -> RunConfig:
    """Writes model, configuration and history, which a signal does not interrupt."""
    history = _history(model)
    epochs = len(next(iter(history.values()), ()))
    config = dataclasses.replace(
        config,
        epochs_completed=epochs,
        interrupted=interrupted,
        # Nothing else stops training before its last epoch.
        diverged_in_epoch=epochs if model.stop_training and not interrupted else None,
    )
    with ends.saving("the model"):
        (folder / _RESERVED).unlink()
        try:
            runs.save_model(model, folder)
        except files.FullDiskError:
            # Another program has taken what was reserved. It may be on another disk.
            elsewhere = Path(tempfile.mkdtemp(prefix="egan-keras-"))
            runs.save_model(model, elsewhere)
            print(f"The model so far is kept in {elsewhere}", file=sys.stderr)
            raise
        config.save(folder)
        runs.save_history(history, folder)
        if interrupted:
            print(
                "\nInterrupted. The model trained so far is saved; its threshold is 0, "
                "because it was not calibrated.",
                file=sys.stderr,
            )
    return config


def _bytes_needed(model: EGAN, splits: data.Splits) -> int:
    """Returns how many bytes a run takes while it is written."""
    weights = [*model.variables, *model.optimizer.variables]
    weights += model.generator_optimizer.variables
    numbers = sum(math.prod(weight.shape) for weight in weights)
    paths = sum(len(path) + _PATH_BYTES for split in splits for path in split.paths)
    # What is written again stands beside its earlier version for a moment.
    return int(2 * (_BYTES_OF_A_NUMBER * numbers + paths)) + _OTHER_BYTES


def _history(model: EGAN) -> dict[str, list[float]]:
    """Returns the values of the epochs so far; Ctrl-C may come before the first."""
    return getattr(getattr(model, "history", None), "history", {})
