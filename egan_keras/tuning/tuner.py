"""The tuner: it runs trials as KerasTuner asks for them, and keeps what came out."""

import gc
import json
import time
from collections.abc import Callable
from pathlib import Path

import keras
import keras_tuner
import numpy as np

from egan_keras import data
from egan_keras.files import write_atomically
from egan_keras.logs import without_warnings
from egan_keras.model import EGAN
from egan_keras.tuning import footprint
from egan_keras.tuning.fits import judge
from egan_keras.tuning.folds import Fold
from egan_keras.tuning.hypermodel import EGANHyperModel
from egan_keras.tuning.objective import ERROR_NAME, NAME
from egan_keras.tuning.records import TrialRecord

FEATURES = "features"
PROJECT = "tuner"

_EPOCHS = "tuner/epochs"
_REASON_LENGTH = 300


class PairingTuner(keras_tuner.Tuner):
    """Runs trials, each judged by minority images that its training did not see.

    Args:
        oracle: What decides which configuration is tried next.
        hypermodel: The configurations.
        folder: Of the search; earlier trials in it are taken up.
        train: Training images of both classes.
        majority: Validation majority images, (n, h, w, 3).
        folds: The fits of each trial.
        on_trial: Called with the record of each trial that ends.
    """

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
        self._train = train
        self._majority = majority
        self._folds = folds
        self._on_trial = on_trial
        super().__init__(
            oracle, hypermodel, directory=str(folder), project_name=PROJECT
        )

    def _populate_initial_space(self) -> None:
        """Declares what is searched; KerasTuner's own would build a model."""
        space = self.oracle.get_space()
        self.hypermodel.declare_hyperparameters(space)
        self.oracle.update_space(space)

    def _try_run_and_update_trial(self, trial, *arguments, **options) -> None:
        """Marks a trial that fails, without KerasTuner's printing of the traceback."""
        try:
            self._run_and_update_trial(trial, *arguments, **options)
            trial.status = "COMPLETED"
        except keras_tuner.errors.FailedTrialError as error:
            trial.status, trial.message = "FAILED", str(error)

    def save(self) -> None:
        """Writes the state, as a whole or not at all."""
        if not self._is_worker():
            self.oracle.save()
        text = json.dumps(self.get_state())
        path = Path(self._get_tuner_fname())
        write_atomically(path, lambda target: target.write_text(text, "utf-8"))

    def run_trial(self, trial, *arguments, **options) -> dict[str, float]:
        """Trains and judges one configuration, and keeps the record.

        Raises:
            FailedTrialError: If anything fails: memory, numbers, missing weights.
        """
        started = time.perf_counter()
        # What the trial before used would still fill the memory.
        keras.backend.clear_session()
        gc.collect()
        record = self._begun(trial)
        try:
            with without_warnings():
                record = self._judged(trial, record)
        # Whatever stops one configuration need not stop the others.
        except Exception as error:
            reason = _reason(error)
            again = _is_of_surroundings(error)
            self._end(record, started, failure=reason, is_run_again=again)
            raise keras_tuner.errors.FailedTrialError(reason) from error
        self._end(record, started)
        held_out = record.held_out
        return {NAME: held_out.mean, ERROR_NAME: held_out.standard_error}

    def _begun(self, trial) -> TrialRecord:
        chosen = self.hypermodel.space.choose(trial.hyperparameters)
        recipe = chosen.recipe
        return TrialRecord(
            number=int(trial.trial_id) + 1,
            encoder=chosen.encoder,
            discriminator=chosen.discriminator,
            choices={
                name: getattr(recipe, name) for name in self.hypermodel.space.searched
            },
            recipe=vars(recipe),
            network_size=self.hypermodel.network_size(chosen),
            epochs=trial.hyperparameters.values.get(_EPOCHS, recipe.epochs),
        )

    def _judged(self, trial, record: TrialRecord) -> TrialRecord:
        model = self.hypermodel.build(trial.hyperparameters)
        held_out, seconds = judge(
            model,
            self._train,
            self._majority,
            self._folds,
            place=self._folder / FEATURES,
            epochs=record.epochs,
        )
        cost = footprint.measure(
            model,
            record.discriminator,
            record.network_size,
            self._train,
            self._folder,
        )
        return record.with_values(
            shares=held_out.shares,
            training_seconds=seconds,
            trained_parameters=_trained_parameters(model),
            features_size=_features_size(model),
            int8_kb=cost.int8_kb,
            latency_ms=cost.latency_ms,
        )

    def _end(self, record: TrialRecord, started: float, **values) -> None:
        seconds = time.perf_counter() - started
        record = record.with_values(seconds=seconds, **values)
        record.save(self._folder)
        self._on_trial(record)


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
    names = ("MemoryError", "ResourceExhaustedError", "OutOfMemoryError")
    return type(error).__name__ in names or "RESOURCE_EXHAUSTED" in str(error)


def _trained_parameters(model: EGAN) -> int:
    return sum(
        int(np.prod(variable.shape))
        for network in (model.generator, model.discriminator)
        for variable in network.tail.trainable_variables
    )


def _features_size(model: EGAN) -> int:
    outputs = keras.tree.flatten(model.discriminator.stem.outputs)
    return sum(int(np.prod(output.shape[1:])) for output in outputs)
