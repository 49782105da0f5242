"""KerasTuner's strategies and its tuner, made safe to kill and to go on with."""

import gc
import itertools
import json
import math
import os
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import keras
import keras_tuner
import numpy as np
from keras_tuner import oracles
from keras_tuner.engine.trial import Trial

from egan_keras import data
from egan_keras.files import write_atomically
from egan_keras.logs import without_warnings
from egan_keras.tuning import footprint
from egan_keras.tuning.choosing import ERROR_NAME, NAME, Fold, TrialRecord
from egan_keras.tuning.fits import judge
from egan_keras.tuning.hypermodel import EGANHyperModel

FEATURES = "features"

_PROJECT = "tuner"
_EPOCHS = "tuner/epochs"
_REASON_LENGTH = 300
_OUT_OF_MEMORY = ("MemoryError", "ResourceExhaustedError", "OutOfMemoryError")


class _Resumable:
    """What all strategies do alike.

    The first trial is the first value of every choice: the recipe as it is. The state,
    trials and all, is one file that is written as a whole.
    """

    def __init__(self, folder: Path, **options) -> None:
        super().__init__(**options)
        self.state_file = folder / _PROJECT / "oracle.json"

    def populate_space(self, trial_id: str) -> dict:
        """Returns the values of the next trial."""
        is_first = not self.trials
        response = super().populate_space(trial_id)
        if is_first:
            defaults = {hp.name: hp.default for hp in self.get_space().space}
            response["values"] = {**response["values"], **defaults}
        return response

    def save(self) -> None:
        """Writes the state."""
        trials = {name: trial.get_state() for name, trial in self.trials.items()}
        text = json.dumps(self.get_state() | {"trials": trials})
        write_atomically(self.state_file, lambda path: path.write_text(text, "utf-8"))

    def go_on(self, again: Collection[int]) -> None:
        """Takes up the state that there is, to run trials that were under way again.

        So are those of the given numbers, which have failed.
        """
        if not self.state_file.is_file():
            return
        state = json.loads(self.state_file.read_text("utf-8"))
        # Earlier versions kept trials in files of their own.
        files = self.state_file.parent.glob("trial_*/trial.json")
        trials = state.get("trials") or {
            file.parent.name.removeprefix("trial_"): json.loads(file.read_text("utf-8"))
            for file in files
        }
        waiting = []
        for name in sorted(trials, key=int):
            trial = Trial.from_state(trials[name])
            if trial.status == "RUNNING" or int(name) + 1 in again:
                # Without what it has reported.
                trial = Trial(trial.hyperparameters, name)
                waiting.append(name)
            self.trials[name] = trial
        ended = [name for name in state["end_order"] if name not in waiting]
        # The last one of the queue is the first one to be run.
        queue = {"ongoing_trials": {}, "retry_queue": waiting[::-1]}
        self.set_state(state | queue | {"end_order": ended})
        self.save()


class _Grid(keras_tuner.Oracle):
    """All configurations in turn; KerasTuner's own forgets where it was when read."""

    def populate_space(self, trial_id: str) -> dict:
        """Returns the first values that were not tried."""
        space = self.get_space().space
        known = [trial.hyperparameters.values for trial in self.trials.values()]
        for values in itertools.product(*(hp.values for hp in space)):
            chosen = dict(zip((hp.name for hp in space), values, strict=True))
            if chosen not in known:
                return {"status": "RUNNING", "values": chosen}
        return {"status": "STOPPED"}


_ORACLES = {
    "random": oracles.RandomSearchOracle,
    "hyperband": oracles.HyperbandOracle,
    "bayesian": oracles.BayesianOptimizationOracle,
    "grid": _Grid,
}


def make_oracle(
    strategy: str, hypermodel: EGANHyperModel, folder: Path, *, trials: int
) -> keras_tuner.Oracle:
    """Returns what decides which configuration is tried next, `trials` at most.

    Raises:
        ValueError: If there is no such strategy.
    """
    if strategy not in _ORACLES:
        raise ValueError(
            f"Unknown strategy; expected one of {', '.join(_ORACLES)}. Received: "
            f"tuner={strategy!r}."
        )
    space = keras_tuner.HyperParameters()
    hypermodel.declare_hyperparameters(space)
    options = {"objective": keras_tuner.Objective(NAME, "max")}
    if strategy == "hyperband":
        options["max_epochs"] = hypermodel.space.recipe.epochs
    oracle = type("Oracle", (_Resumable, _ORACLES[strategy]), {})(
        folder,
        hyperparameters=space,
        # KerasTuner takes 0 for no seed.
        seed=hypermodel.seed + 1,
        # A search goes on after any number of failures.
        max_consecutive_failed_trials=trials + 1,
        **options,
    )
    oracle.max_trials = trials
    return oracle


class PairingTuner(keras_tuner.Tuner):
    """Runs trials, each judged by minority images that its training did not see."""

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        hypermodel: EGANHyperModel,
        *,
        folder: Path,
        train: data.LabelledImages,
        majority: np.ndarray | data.LazyRows,
        folds: list[Fold],
        on_trial: Callable[[TrialRecord], None],
    ) -> None:
        self._folder = folder
        self._images = train, majority
        self._folds = folds
        self._on_trial = on_trial
        self._record: TrialRecord | None = None
        # Earlier versions had it read again by this file, which KerasTuner tells.
        name = os.environ.get("KERASTUNER_TUNER_ID", "tuner0")
        (folder / _PROJECT / f"{name}.json").unlink(missing_ok=True)
        # Given the hypermodel, it would build one to learn what the oracle knows.
        super().__init__(oracle, directory=str(folder), project_name=_PROJECT)
        self.hypermodel = hypermodel

    def save(self) -> None:
        """Writes nothing: the oracle has all there is to go on with, and saves it."""

    def run_trial(self, trial: Trial, **options) -> dict[str, float]:
        """Trains and judges one configuration; one that fails has figures of 0."""
        started, self._record = time.perf_counter(), None
        # What the trial before used would still fill the memory.
        keras.backend.clear_session()
        gc.collect()
        record = self._begun(trial)
        try:
            with without_warnings():
                record = self._judged(trial, record)
            held_out = record.held_out
            figures = held_out.mean, held_out.standard_error
        # Whatever stops one configuration need not stop the others.
        except Exception as error:
            again, figures = _is_of_surroundings(error), (0.0, 0.0)
            record = record.with_values(failure=_reason(error), is_run_again=again)
        self._record = record.with_values(seconds=time.perf_counter() - started)
        return dict(zip((NAME, ERROR_NAME), figures, strict=True))

    def on_trial_end(self, trial: Trial) -> None:
        """Keeps the record, and has the oracle know of a failure."""
        self._record.save(self._folder)
        self._on_trial(self._record)
        if self._record.failure is not None:
            trial.status, trial.message = "FAILED", self._record.failure
        super().on_trial_end(trial)

    def _begun(self, trial: Trial) -> TrialRecord:
        chosen = self.hypermodel.space.choose(trial.hyperparameters)
        recipe, searched = chosen.recipe, self.hypermodel.space.searched
        return TrialRecord(
            number=int(trial.trial_id) + 1,
            encoder=chosen.encoder,
            discriminator=chosen.discriminator,
            choices={name: getattr(recipe, name) for name in searched},
            recipe=vars(recipe),
            network_size=self.hypermodel.network_size(chosen),
            epochs=trial.hyperparameters.values.get(_EPOCHS, recipe.epochs),
        )

    def _judged(self, trial: Trial, record: TrialRecord) -> TrialRecord:
        train, majority = self._images
        model = self.hypermodel.build(trial.hyperparameters)
        options = {"place": self._folder / FEATURES, "epochs": record.epochs}
        held_out, seconds = judge(model, train, majority, self._folds, **options)
        cost = footprint.measure(
            model, record.discriminator, record.network_size, train, self._folder
        )
        return record.with_values(
            shares=held_out.shares,
            training_seconds=seconds,
            trained_parameters=_numbers(
                each.shape
                for network in (model.generator, model.discriminator)
                for each in network.tail.trainable_variables
            ),
            features_size=_numbers(
                each.shape[1:]
                for each in keras.tree.flatten(model.discriminator.stem.outputs)
            ),
            int8_kb=cost.int8_kb,
            latency_ms=cost.latency_ms,
        )


def _reason(error: Exception) -> str:
    """Returns why a trial failed, on one line."""
    text = " ".join(str(error).split()) or "no reason given"
    kind = "out of memory: " if _is_out_of_memory(error) else ""
    if not isinstance(error, ValueError | OSError) and not kind:
        kind = f"{type(error).__name__}: "
    return f"{kind}{text}"[:_REASON_LENGTH]


def _is_of_surroundings(error: BaseException | None) -> bool:
    """Whether a failure is the machine's, so that another time it may not occur."""
    while error is not None:
        if isinstance(error, OSError) or _is_out_of_memory(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_out_of_memory(error: BaseException) -> bool:
    return type(error).__name__ in _OUT_OF_MEMORY or "RESOURCE_EXHAUSTED" in str(error)


def _numbers(shapes: Iterable[tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes)
