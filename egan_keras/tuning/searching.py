"""`search_pairings`: a search that one can watch, kill, resume and trust."""

import contextlib
import dataclasses
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras

from egan_keras import data, networks
from egan_keras.files import telling_full_disk, write_atomically
from egan_keras.model import EGAN
from egan_keras.tuning import choosing, footprint, guard
from egan_keras.tuning.folds import make_folds
from egan_keras.tuning.hypermodel import EGANHyperModel, validation_majority
from egan_keras.tuning.leaderboard import CSV, write_leaderboard
from egan_keras.tuning.oracles import make_oracle
from egan_keras.tuning.records import TrialRecord, load_records
from egan_keras.tuning.table import LiveTable
from egan_keras.tuning.tuner import FEATURES, PROJECT, PairingTuner


@dataclasses.dataclass(frozen=True)
class Search:
    """What a search has found.

    Attributes:
        folder: Where it is, with its leaderboard.
        records: The trials, in their order.
        best: The one chosen; `None` in a worker, whose chief chooses.
        hypermodel: The configurations it chose among.
        reason: Why this one was chosen, in a sentence.
    """

    folder: Path
    records: tuple[TrialRecord, ...]
    best: TrialRecord | None
    hypermodel: EGANHyperModel
    reason: str = ""

    @property
    def features(self) -> Path:
        """Where its features are, for `fit(..., cache_features=search.features)`."""
        return self.folder / FEATURES

    def build(self) -> EGAN:
        """Returns the best configuration, compiled, not trained yet."""
        model = EGAN.from_backbones(
            self.best.encoder,
            self.best.discriminator,
            image_shape=self.hypermodel.image_shape,
            recipe=networks.Recipe(**self.best.recipe),
            weights=self.hypermodel.weights,
        )
        model.compile()
        return model


def search_pairings(
    train: data.LabelledImages,
    validation: data.LabelledImages,
    *,
    encoders: Sequence[str],
    folder: str | os.PathLike,
    discriminators: Sequence[str] | None = None,
    tuner: str = "random",
    trials: int = 20,
    seed: int = 0,
    recipe: "str | networks.Recipe" = "default",
    weights: "networks.Weights | Mapping[str, networks.Weights]" = "imagenet",
    max_int8_kb: float | None = None,
    max_latency_ms: float | None = None,
    verbose: bool = True,
    **choices,
) -> Search:
    """Searches for the best pairing of backbones, and choices of a recipe.

    A trial is judged by minority images that its training did not see, see
    `EGANHyperModel.fit`. The first one is the first pairing with the recipe as it is;
    it is chosen unless another one is clearly better. Where the folder holds this
    search already, killed or not, it goes on.

    Args:
        train: Training images of both classes, two minority images or more.
        validation: Images not to train on; their majority images judge.
        encoders: Backbones to choose the encoder among.
        folder: Of the search: its trials, features and leaderboard.
        discriminators: The same for the discriminator; `None` takes the encoders.
        tuner: KerasTuner's `"random"`, `"hyperband"`, `"bayesian"` or `"grid"`.
        trials: Configurations to try at most.
        seed: Decides what is tried, held out and drawn.
        recipe: All that is not chosen, by name or as a `Recipe`.
        weights: As in `EGAN.from_backbones`.
        max_int8_kb: Do not choose what is larger as int8 TFLite, in 1000 bytes.
        max_latency_ms: Do not choose what takes longer for an image as that, on one
            thread of this machine.
        verbose: Whether to print a line for each trial.
        **choices: As in `EGANHyperModel`.

    Returns:
        The search, with the best configuration.

    Raises:
        ValueError: If there are too few images, an argument is unknown, no trial
            completes, or none is within the budget.
        FileExistsError: If the folder holds another search, or something else.
        KeyboardInterrupt: On Ctrl-C, after the leaderboard so far was written.
    """
    budget = {"max_int8_kb": max_int8_kb, "max_latency_ms": max_latency_ms}
    _check_measurable(budget)
    folder = Path(folder)
    folds = make_folds(train.minority_count, seed)
    majority = validation_majority(validation)
    hypermodel = EGANHyperModel(
        train.images.shape[1:],
        encoders=encoders,
        discriminators=discriminators,
        recipe=recipe,
        weights=weights,
        seed=seed,
        **choices,
    )
    epochs = hypermodel.space.recipe.epochs
    oracle = make_oracle(tuner, trials=trials, seed=seed, epochs=epochs)
    guard.enter(folder, guard.describe(hypermodel, train, validation, tuner))
    table = LiveTable([*hypermodel.space.encoders, *hypermodel.space.discriminators])
    with contextlib.nullcontext() if is_worker() else guard.alone(folder):
        again = [] if is_worker() else _take_up(folder)
        # KerasTuner tells which file it reads.
        with contextlib.redirect_stdout(io.StringIO()):
            running = PairingTuner(
                oracle,
                hypermodel,
                folder=folder,
                train=train,
                majority=majority,
                folds=folds,
                on_trial=table.add if verbose else lambda record: None,
            )
        oracle.run_again(again)
        if verbose:
            _announce(hypermodel.space.size, trials, len(folds), load_records(folder))
            table.head()
        try:
            with telling_full_disk(folder):
                running.search(verbose=0)
        except KeyboardInterrupt:
            _keep(folder, budget, verbose)
            raise
        return _finished(folder, hypermodel, budget)


def _check_measurable(budget: dict) -> None:
    """Refuses a budget where nothing tells what a configuration costs.

    Raises:
        ValueError: If there is one.
    """
    asked = {name: limit for name, limit in budget.items() if limit is not None}
    if asked and not footprint.can_measure():
        given = ", ".join(f"{name}={limit!r}" for name, limit in asked.items())
        raise ValueError(
            "A budget is measured on exported models; expected "
            "KERAS_BACKEND=tensorflow, the default, or no budget. Received: "
            f"KERAS_BACKEND={keras.backend.backend()}, {given}. Search on TensorFlow, "
            "or leave the budget out."
        )


def is_worker() -> bool:
    """Whether this process runs trials for a chief elsewhere."""
    is_chief = "chief" in os.environ.get("KERASTUNER_TUNER_ID", "")
    return "KERASTUNER_ORACLE_IP" in os.environ and not is_chief


def _take_up(folder: Path) -> list[int]:
    """Lets KerasTuner see the trials that another process began.

    It looks for a file with its own name, not for the search: it would begin anew after
    a kill in the first trial, or where a chief began what one process goes on with.

    Returns:
        The numbers of trials to run again, whose surroundings failed.
    """
    project = folder / PROJECT
    identity = os.environ.get("KERASTUNER_TUNER_ID", "tuner0")
    if (project / "oracle.json").is_file():
        path = project / f"{identity}.json"
        write_atomically(path, lambda target: target.write_text("{}", "utf-8"))
    again = [record for record in load_records(folder) if record.is_run_again]
    for record in again:
        record.path(folder).unlink()
    return [record.number for record in again]


def _announce(
    size: int, trials: int, n_fits: int, records: Sequence[TrialRecord]
) -> None:
    done = f", {len(records)} of them done before" if records else ""
    print(
        f"Searching {size:,} configurations: up to {trials} trials of {n_fits} fits"
        f"{done}.",
        flush=True,
    )


def _chosen(records: Sequence[TrialRecord], budget: dict) -> tuple[TrialRecord, str]:
    """Returns the winner, and why it is."""
    eligible = choosing.within(choosing.completed(records), **budget)
    default = choosing.default_of(records)
    best = choosing.choose(eligible, default)
    return best, choosing.explain(best, eligible, default)


def _keep(folder: Path, budget: dict, verbose: bool) -> None:
    """Writes the leaderboard of what has ended when the search is interrupted."""
    records = load_records(folder)
    if not records or is_worker():
        return
    try:
        best, reason = _chosen(records, budget)
    except ValueError:
        best, reason = None, ""
    write_leaderboard(folder, records, best, reason)
    if verbose:
        print(
            f"\nInterrupted after {len(records)} trials. The leaderboard so far: "
            f"{folder / CSV}. The same call or command goes on.",
            flush=True,
        )


def _finished(folder: Path, hypermodel: EGANHyperModel, budget: dict) -> Search:
    """Writes the leaderboard, unless another process does."""
    records = load_records(folder)
    if is_worker():
        return Search(folder, tuple(records), None, hypermodel)
    try:
        best, reason = _chosen(records, budget)
    except ValueError:
        write_leaderboard(folder, records, None)
        raise
    write_leaderboard(folder, records, best, reason)
    return Search(folder, tuple(records), best, hypermodel, reason)
