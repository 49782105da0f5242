"""KerasTuner's four strategies, made safe to kill and begun with the untuned model."""

import itertools
import json
from collections.abc import Collection
from pathlib import Path

import keras_tuner
from keras_tuner import oracles

from egan_keras.files import write_atomically
from egan_keras.tuning.objective import objective

STRATEGIES = ("random", "hyperband", "bayesian", "grid")

_RUNNING = "RUNNING"
_STOPPED = "STOPPED"


class _Started:
    """What all strategies do alike.

    The first trial is the first value of every choice: the recipe as it is. Files are
    written whole, and a trial that was under way when the search was killed is run
    again.
    """

    def populate_space(self, trial_id: str) -> dict:
        """Returns the values of the next trial."""
        is_first = not self.trials
        response = super().populate_space(trial_id)
        if is_first:
            defaults = {hp.name: hp.default for hp in self.get_space().space}
            response["values"] = {**response["values"], **defaults}
        return response

    def save(self) -> None:
        """Writes the state, as a whole or not at all."""
        text = json.dumps(self.get_state())
        path = Path(self._get_oracle_fname())
        write_atomically(path, lambda target: target.write_text(text, "utf-8"))

    def _save_trial(self, trial) -> None:
        path = Path(self._get_trial_dir(trial.trial_id)) / "trial.json"
        write_atomically(path, lambda target: trial.save(str(target)))

    def reload(self) -> None:
        """Reads the state, and takes up what a killed search had begun."""
        super().reload()
        for trial_id, trial in self.trials.items():
            if trial.status == _RUNNING and trial_id not in self._retry_queue:
                self._retry_queue.append(trial_id)

    def run_again(self, numbers: Collection[int]) -> None:
        """Takes up trials that have failed, by their numbers from 1."""
        for trial_id, trial in self.trials.items():
            if int(trial_id) + 1 in numbers and trial_id in self.end_order:
                trial.status = _RUNNING
                self.end_order.remove(trial_id)
                # The last one of the queue is the first one to be run.
                self._retry_queue.insert(0, trial_id)


class _Random(_Started, oracles.RandomSearchOracle):
    pass


class _Bayesian(_Started, oracles.BayesianOptimizationOracle):
    pass


class _Hyperband(_Started, oracles.HyperbandOracle):
    pass


class _Grid(_Started, oracles.GridSearchOracle):
    """KerasTuner's own grid forgets where it was when it is reloaded."""

    def populate_space(self, trial_id: str) -> dict:
        """Returns the first values that were not tried."""
        space = self.get_space().space
        names = [hp.name for hp in space]
        for values in itertools.product(*(hp.values for hp in space)):
            chosen = dict(zip(names, values, strict=True))
            if not self._duplicate(chosen):
                return {"status": _RUNNING, "values": chosen}
        return {"status": _STOPPED}


def make_oracle(
    strategy: str, *, trials: int, seed: int, epochs: int
) -> keras_tuner.Oracle:
    """Returns what decides which configuration is tried next.

    Args:
        strategy: One of `STRATEGIES`.
        trials: Number of trials at most.
        seed: Decides what is tried.
        epochs: Of a full training, for Hyperband.

    Raises:
        ValueError: If there is no such strategy.
    """
    common = {
        "objective": objective(),
        # KerasTuner takes 0 for no seed.
        "seed": seed + 1,
        # A search goes on after any number of failures.
        "max_consecutive_failed_trials": trials + 1,
    }
    if strategy == "random":
        return _Random(max_trials=trials, **common)
    if strategy == "bayesian":
        return _Bayesian(max_trials=trials, **common)
    if strategy == "grid":
        return _Grid(max_trials=trials, **common)
    if strategy == "hyperband":
        oracle = _Hyperband(max_epochs=epochs, **common)
        oracle.max_trials = trials
        return oracle
    raise ValueError(
        f"Unknown strategy; expected one of {', '.join(STRATEGIES)}. Received: "
        f"tuner={strategy!r}."
    )
