"""From a folder of images to the run of the best pairing."""

import argparse
import shutil
from typing import Any

import keras

from egan_keras import data, features, tuning
from egan_keras.cli import runs
from egan_keras.cli.loading import check_validation, load
from egan_keras.cli.training import DIVERGED, complete_run, tell_written
from egan_keras.tuning import leaderboard

_SUFFIX = ".search"


def tune(arguments: argparse.Namespace) -> int:
    """Searches as the options of `egan-keras tune` say, and writes the best run.

    Returns:
        The exit code: 0, or 1 if the last training diverged.

    Raises:
        ValueError: for images, classes or options that cannot be used, or if no trial
            can be chosen.
        FileNotFoundError: if a folder does not exist.
        FileExistsError: if the run folder exists already, or the search's holds
            another search.
        KeyboardInterrupt: on Ctrl-C; what was done so far is kept.
    """
    data.check_folder(
        arguments.data, majority=arguments.majority, minority=arguments.minority
    )
    splits = load(arguments)
    check_validation(splits, arguments)
    if not arguments.skip_unreadable:
        # A file that cannot be read would make every trial fail.
        splits.train.images.check()
        splits.validation.images.check()
    folder = arguments.out.with_name(arguments.out.name + _SUFFIX)
    search = tuning.search_pairings(
        splits.train,
        splits.validation,
        encoders=arguments.encoders,
        discriminators=arguments.discriminators,
        folder=folder,
        tuner=arguments.tuner,
        trials=arguments.trials,
        seed=arguments.seed,
        recipe=arguments.recipe,
        weights=arguments.weights,
        max_int8_kb=arguments.max_int8_kb,
        max_latency_ms=arguments.max_latency_ms,
        **_choices(arguments),
    )
    if tuning.is_worker():
        print("This worker has ended; the chief writes the run.")
        return 0
    return _write_run(search, splits, arguments)


def _choices(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns what is searched of the recipe, or fixed."""
    given = {
        "network_size": arguments.network_sizes,
        "depths": arguments.depths,
        "mirrored_minority": arguments.mirrored_minority,
        **dict(arguments.choose),
    }
    return {name: value for name, value in given.items() if value is not None}


def _write_run(
    search: tuning.Search, splits: data.Splits, arguments: argparse.Namespace
) -> int:
    """Trains the best configuration on all training images, and writes its run."""
    best = search.best
    is_default = best.number == 1
    print(
        f"\n{'Kept the default' if is_default else 'Best'}: trial {best.number}, "
        f"{best.pairing}, {best.network_size} pixels, {best.cut}, held-out AUROC "
        f"{best.held_out.mean:.3f} ± {best.held_out.standard_error:.3f}. "
        f"{search.reason} It is trained on all training images.",
        flush=True,
    )
    with runs.writing(arguments.out, overwrite=arguments.overwrite) as folder:
        for name in leaderboard.FILES:
            # A picture that could not be made was warned of.
            if (search.folder / name).is_file():
                shutil.copy(search.folder / name, folder / name)
        keras.utils.set_random_seed(arguments.seed)
        model = search.build()
        # Its files are deleted below, so nothing need be said of them.
        cache = features.FeatureStore(search.features, verbose=0)
        config = complete_run(model, splits, arguments, folder, cache)
    again = [record for record in search.records if record.is_run_again]
    if again:
        print(
            f"{len(again)} trials failed for want of what the machine lacked, such as: "
            f"{again[0].failure}. The search stays in {search.folder}, and the same "
            "command with --overwrite runs them again."
        )
    else:
        shutil.rmtree(search.folder, ignore_errors=True)
    tell_written(arguments.out)
    return 0 if config.diverged_in_epoch is None else DIVERGED
