r"""Train a model on a folder of images, set its threshold, and report.

RUN gets the model, its options and figures, plots, and report.html, a page to
look at mistakes and at what other thresholds would do. It appears when all is
written. After Ctrl-C the model trained so far is in RUN-unfinished.

Exit codes: 1 if training diverged, and RUN holds the last good weights; others
as `egan-keras --help` lists them.

Examples:
  egan-keras train --data images --majority good --minority scratched,dented \
      --out runs/a
  egan-keras train --data cifar10 --majority automobile --minority airplane \
      --minority-count 2 --encoder MobileNetV2:alpha=0.35 \
      --discriminator MobileNetV2:alpha=0.35 --out runs/b
"""

import dataclasses
import functools
import math
import shlex
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from egan_keras import cli, files, logs
from egan_keras.cli import options, rooms, run_results, runs
from egan_keras.cli.options import TrainingOptions, option
from egan_keras.text import first_few, printable

_RESERVED = ".reserved"
# Images so many times as large as the networks' lose details in them.
_MUCH = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions):
    """All options of `train`.

    Networks:
        encoder: backbone of the encoder: a class of Keras Applications, with options
            after a colon as in MobileNetV2:alpha=0.35
        discriminator: backbone of the discriminator, named likewise
        network_size: size to which the networks resize images (default: the recipe's)
    Training:
        epochs: passes over the majority images (default: the recipe's, 20; of
            published 100)
        batch_size: majority images a step (default: the recipe's, 128)
        cache: where the frozen features of the images are kept: memory; disk, in your
            cache folder or $EGAN_KERAS_CACHE, where later runs read them; DIR, likewise
            there; auto takes memory where they are small
    """

    encoder: str = option("MobileNetV2", metavar="SPEC")
    discriminator: str = option("MobileNetV2", metavar="SPEC")
    network_size: int | None = None
    epochs: int | None = option(None, metavar="E")
    batch_size: int | None = option(None, metavar="B")
    cache: str = option("auto", metavar="auto|memory|disk|DIR")


def run(given: Options) -> int:
    """Trains, and writes the run."""
    runs.check_free(given.out, overwrite=given.overwrite)
    logs.start_keras()
    size = given.network_size or rooms.networks.get_recipe(given.recipe).network_size
    for name in (given.encoder, given.discriminator):
        backbone = rooms.backbones.Backbone.parse(name)
        backbone.check(size or backbone.native_size, given.weights)
    with runs.writing(given.out, overwrite=given.overwrite) as folder:
        splits = load(given)
        model = build(given, splits)
        again = functools.partial(_new_model, given, splits)
        config, _ = complete_run(model, splits, given, folder, given.cache, again)
    return tell_written(given, config)


def load(given: TrainingOptions) -> Any:
    """Loads the splits of the images that options name, and says what there is."""
    logs.tell(f"Listing the images below {printable(given.data)}")
    names = "majority minority minority_count ratio image_size gray_range seed"
    names += " validation_fraction test_fraction skip_unreadable duplicates groups"
    # Lazy, so that the memory does not have to hold them all.
    chosen = {"lazy": True, **options.some(given, names)}
    if given.cross_fit:
        chosen["validation_fraction"] = 0.0
    if given.labels is None:
        splits = rooms.data.load_folder(given.data, **chosen)
    else:
        splits = rooms.data.load_table(given.data, given.labels, **chosen)
    height, width = splits.train.images.shape[1:3]
    print(f"Images of {height} x {width} pixels:")
    for name, images in splits._asdict().items():
        counts = images.majority_count, images.minority_count
        line = "  {:<10} {:>7,} majority {:>7,} minority".format(name, *counts)
        n_groups = len(set(images.groups))
        print(line + f" in {n_groups:,} groups" * (n_groups > 0))
    cli.tell_passed_over(runs.passed_over(splits))
    every = [Path(path) for images in splits for path in images.paths]
    if rooms.data.duplicates.are_too_many_to_compare(every):
        print("Not looked for among so many: nearly the same picture on two sides")
    skipped = [path for images in splits for path in images.skipped]
    cli.tell_files(cli.SKIPPED, skipped)
    test = splits.test
    if not len(test):
        raise ValueError(
            "The test split holds no image, so nothing can be reported; expected "
            "images of both classes. Received: 0 test images. Add some below ROOT/test."
        )
    if not (test.majority_count and test.minority_count):
        missing = "minority" if test.majority_count else "majority"
        print(
            f"The test split holds no {missing} image: the report will lack AUROC and "
            "all else that needs both classes."
        )
    if not given.skip_unreadable:
        # The others are read before training, but these after it.
        test.images.check()
    if given.specificity is not None:
        _check_count(splits, given)
    return splits


def _check_count(splits: Any, given: TrainingOptions) -> None:
    """Refuses, before training, a threshold that could not be set after it."""
    level, confidence = given.specificity, given.confidence
    needed = rooms.thresholds.images_needed(level, confidence) if confidence else 1
    split = splits.train if given.cross_fit else splits.validation
    count = split.majority_count
    if count >= needed:
        return
    # The highest whole percentage that so many images can guarantee.
    guaranteed = (1 - confidence) ** (1 / count) if confidence and count else 0
    possible = math.floor(100 * guaranteed) / 100
    advice = f"Pass --specificity {possible:g}, or " if possible else "Pass "
    majority = sum(split.majority_count for split in splits)
    minority = sum(split.minority_count for split in splits)
    if minority > majority:
        names = ",".join(given.minority), ",".join(given.majority)
        exchanged = shlex.join(["--majority", names[0], "--minority", names[1]])
        advice = (
            f"There are {minority:,} minority and {majority:,} majority images in all: "
            f"if the classes are exchanged, pass {exchanged}. Else: {advice}"
        )
    raise ValueError(
        "Too few validation images to set the threshold: a specificity of "
        f"{level:g}{f' with confidence {confidence:g}' if confidence else ''} needs "
        f"{needed} majority images. Received: {count}, {given.validation_fraction:.0%} "
        f"of the majority images to train with. {advice}--specificity none to leave "
        "the threshold at 0, or add majority images."
    )


def build(given: Options, splits: Any) -> Any:
    """Builds and compiles the `EGAN`, and says what it is."""
    import keras

    logs.tell("Building the model")
    keras.utils.set_random_seed(given.seed)
    model = _new_model(given, splits)
    print(f"Model: {model.pairing}, recipe {model.recipe}")
    _tell_of_shrinking(model)
    return model


def _new_model(given: Options, splits: Any) -> Any:
    names = "network_size batch_size epochs mirrored_minority"
    choices = options.some(given, names)
    model = rooms.model.EGAN.from_backbones(
        given.encoder,
        given.discriminator,
        image_shape=splits.train.images.shape[1:],
        recipe=given.recipe,
        weights=given.weights,
        **{name: value for name, value in choices.items() if value is not None},
    )
    model.compile()
    return model


def _tell_of_shrinking(model: Any) -> None:
    """Says what to do where a small defect in a large image would vanish."""
    size = min(model.image_shape[:2])
    layers = model.discriminator.stem.layers
    sides = [layer.height for layer in layers if layer.name == "resizing"]
    if sides and size >= _MUCH * sides[0]:
        print(
            f"Images are shrunk to {sides[0]} x {sides[0]} pixels inside the networks, "
            "where small details vanish. If it is these that tell the classes apart, "
            f"try --network-size {_MUCH * sides[0]}, which takes four times as long."
        )


def complete_run(
    model: Any,
    splits: Any,
    given: TrainingOptions,
    folder: Path,
    cache: Any,
    again: Callable[[], Any] | None = None,
) -> tuple[runs.RunConfig, Any]:
    """Trains a compiled model, calibrates it, reports, and writes all of its run.

    `cache` is where features go, as in `EGAN.fit`; `again` returns another model alike,
    not trained, which cross-fitting needs. Returned are the configuration, with what
    became of the training, and the report.
    """
    train, validation, test = splits
    n_bytes = _bytes_needed(model, splits)
    files.check_space(given.out, n_bytes, "the run")
    files.reserve(folder / _RESERVED, n_bytes)
    config = runs.configure(model, splits, given)
    fitting = {"cache_features": cache, "verbose": logs.verbosity()}
    if len(validation):
        fitting["validation_data"] = validation.images, validation.labels
    try:
        model.fit(train.images, train.labels, **fitting)
    except KeyboardInterrupt:
        # Before there are epochs, the features are computed.
        if getattr(model, "history", None) is not None:
            _save(model, config, folder, interrupted=True)
        raise
    _save(model, config, folder)
    scored = run_results.set_threshold(model, splits, given, folder, fitting, again)
    logs.tell(f"Scoring {len(test):,} test images")
    report = rooms.evaluation.evaluate(
        model,
        test.images,
        test.labels,
        prevalence=given.prevalence,
        groups=test.groups or None,
        extra=config.report_values(split="test"),
    )
    _note_changes(config, given.data)
    if config.changed:
        config.save(folder)
        report.values["n_changed_in_training"] = len(config.changed)
    report.save(folder / runs.REPORT)
    judged = rooms.model.Judged(report.scores, None, report.most_like)
    scored["test"] = test.paths, test.class_names, judged
    run_results.write_scores(folder, given.data, scored)
    logs.tell("Drawing the plots, and writing the page")
    told = {"config": config, "model": model, "history": model.history.history}
    run_results.save_plots_and_page(folder, given.out, report, test, **told)
    print(f"\n{report}")
    return config, report


def _bytes_needed(model: Any, splits: Any) -> int:
    """Returns how many bytes a run takes while it is written."""
    parts = (model, model.optimizer, model.generator_optimizer)
    numbers = sum(math.prod(x.shape) for part in parts for x in part.variables)
    # With what stands around the numbers in model.keras, and paths in config.json.
    paths = sum(len(path) + 16 for split in splits for path in split.paths)
    # What is written again stands beside its earlier version; plots, the page of at
    # most 5 MB, and all else.
    return int(2 * (4.4 * numbers + paths)) + 9_000_000


def _save(
    model: Any, config: runs.RunConfig, folder: Path, *, interrupted: bool = False
) -> None:
    """Writes model, configuration and history; a signal does not interrupt it."""
    history, config.interrupted = model.history.history, interrupted
    # Ctrl-C may come before the first is over.
    config.epochs_completed = len(next(iter(history.values()), ()))
    # Nothing else stops training before its last epoch.
    if model.stop_training and not interrupted:
        config.diverged_in_epoch = config.epochs_completed
    with cli.saving("the model"):
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
                "because it was not calibrated: egan-keras calibrate does that.",
                file=sys.stderr,
            )


def _note_changes(config: runs.RunConfig, root: Path) -> None:
    """Notes in the configuration, and says, which files changed meanwhile."""
    recorded = config.recorded(*config.files)
    now = rooms.data.lazy.content_hashes([root / path for path in recorded])
    pairs = zip(recorded.items(), now, strict=True)
    changed = [path for (path, (_, mark)), found in pairs if found != mark]
    config.changed = changed
    if changed:
        warnings.warn(
            f"{len(changed)} files were changed while the run was made, so that it is "
            f"not of one state of the images: {first_few(changed)} below {root}. "
            "Train again when nothing writes to them.",
            stacklevel=2,
        )


def tell_written(given: TrainingOptions, config: runs.RunConfig) -> int:
    """Prints the files of a run and what to do next, and returns the exit code."""
    cli.tell_written(sorted(given.out.rglob("*.*")))
    if config.diverged_in_epoch is not None:
        return cli.BLEMISHED
    words = cli.score_words(given.out, given.data)
    cli.tell_next(*words, page=given.out / runs.PAGE)
    return 0
