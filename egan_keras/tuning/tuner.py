"""KerasTuner's strategies and its tuner, made safe to kill and to go on with.

A trial is trained and judged; what its discriminator costs where it is used, size and
time as int8 TFLite, is measured once for each graph.
"""

import contextlib
import dataclasses
import gc
import hashlib
import itertools
import json
import math
import statistics
import tempfile
import time
import timeit
from collections.abc import Callable, Collection
from pathlib import Path

import keras
import keras_tuner
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from keras_tuner import oracles
from keras_tuner.engine.trial import Trial

from egan_keras import data, schemas
from egan_keras.exporting import comparison, conversion
from egan_keras.files import write_json, write_text
from egan_keras.logs import without_stderr, without_warnings
from egan_keras.model import EGAN
from egan_keras.text import printable
from egan_keras.tuning.choosing import ERROR_NAME, NAME, Fold, TrialRecord
from egan_keras.tuning.hypermodel import EGANHyperModel, judge

FEATURES = "features"

_PROJECT = "tuner"
_FOOTPRINTS = "footprints"
_EPOCHS = "tuner/epochs"
_REASON_LENGTH = 300
_OUT_OF_MEMORY = ("MemoryError", "ResourceExhaustedError", "OutOfMemoryError")
_SCHEMA = schemas.mapped(schemas.optional(schemas.NOT_NEGATIVE))
_COSTS = ("int8_kb", "latency_ms")
_REPRESENTATIVES = 60
_RUNS = 30
# Choices of the recipe that change the discriminator's graph.
_SHAPING = (
    "own_preprocessing trained_layers depths place_depths unit_length standardize "
    "distance_weight"
).split()


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
        write_text(self.state_file, json.dumps(self.get_state() | {"trials": trials}))

    def go_on(self, again: Collection[int]) -> None:
        """Takes up the state that there is, to run trials that were under way again.

        So are those of the given numbers, which have failed.
        """
        if not self.state_file.is_file():
            return
        state = json.loads(self.state_file.read_text("utf-8"))
        trials = state["trials"]
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
    """Returns what decides which configuration is tried next, `trials` at most."""
    if strategy not in _ORACLES:
        raise ValueError(
            f"Unknown strategy; expected one of {', '.join(_ORACLES)}. Received: "
            f"tuner={strategy!r}."
        )
    space = keras_tuner.HyperParameters()
    hypermodel.space.choose(space)
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
        folder: Path,
        judged_by: tuple[data.LabelledImages, np.ndarray | data.LazyRows, list[Fold]],
        on_trial: Callable[[TrialRecord], None] | None,
    ) -> None:
        self._folder, self._judged_by, self._on_trial = folder, judged_by, on_trial
        self._record: TrialRecord | None = None
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
            failed = {"failure": _reason(error), "is_run_again": again}
            record = dataclasses.replace(record, **failed)
        seconds = time.perf_counter() - started
        self._record = dataclasses.replace(record, seconds=seconds)
        return dict(zip((NAME, ERROR_NAME), figures, strict=True))

    def on_trial_end(self, trial: Trial) -> None:
        """Keeps the record, and has the oracle know of a failure."""
        self._record.save(self._folder)
        if self._on_trial:
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
        model = self.hypermodel.build(trial.hyperparameters)
        options = {"place": self._folder / FEATURES, "epochs": record.epochs}
        held_out, seconds = judge(model, *self._judged_by, **options)
        train, *_ = self._judged_by
        size = record.network_size
        cost = measure(model, record.discriminator, size, train, self._folder)
        tails = model.generator.tail, model.discriminator.tail
        trained = [each for tail in tails for each in tail.trainable_variables]
        outputs = keras.tree.flatten(model.discriminator.stem.outputs)
        return dataclasses.replace(
            record,
            shares=held_out.shares,
            training_seconds=seconds,
            trained_parameters=sum(math.prod(each.shape) for each in trained),
            features_size=sum(math.prod(each.shape[1:]) for each in outputs),
            **cost,
        )


def measure(
    model: EGAN,
    discriminator: str,
    network_size: int,
    train: data.LabelledImages,
    folder: Path,
) -> dict[str, float | None]:
    """Returns `int8_kb` and `latency_ms`, each `None` if it cannot be converted.

    The latency is of one image on one thread. An earlier trial of the folder with the
    same graph may have found both: the weights decide nothing.
    """
    found: dict[str, float | None] = dict.fromkeys(_COSTS)
    if keras.backend.backend() != "tensorflow":
        return found
    recipe = model.recipe
    shaping = [discriminator, network_size, *(getattr(recipe, n) for n in _SHAPING)]
    mark = hashlib.blake2b(json.dumps(shaping).encode(), digest_size=8).hexdigest()
    path = folder / _FOOTPRINTS / f"{mark}.json"
    # What is not there, or broken, is measured.
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
        kept = schemas.read(path, _SCHEMA)
        return {name: kept[name] for name in _COSTS}
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = comparison.of_both_classes(np.asarray(train.labels), _REPRESENTATIVES)
    few, labels = np.rint(train.images[rows]).astype("uint8"), train.labels[rows]
    made = tempfile.TemporaryDirectory()
    # A ValueError: TFLite has no operator for a part of it.
    with contextlib.suppress(ValueError), without_stderr(), made:
        saved = Path(made.name) / "saved_model"
        conversion.write_saved_model(model, saved, "uint8", batch_size=1)
        content = conversion.convert(saved, "int8", representative=few, labels=labels)
        interpreter = Interpreter(model_content=content, num_threads=1)
        runner = interpreter.get_signature_runner(conversion.SIGNATURE)
        times = timeit.repeat(lambda: runner(images=few[:1]), number=1, repeat=_RUNS)
        latency_ms = 1000 * statistics.median(times)
        found = {"int8_kb": len(content) / 1000, "latency_ms": latency_ms}
    write_json(path, found)
    return found


def _reason(error: Exception) -> str:
    """Returns why a trial failed, on one line."""
    text = printable(" ".join(str(error).split())) or "no reason given"
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
