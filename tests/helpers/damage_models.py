"""Damages a model in many ways and tells what the edge kit does with each copy.

    python tests/helpers/damage_models.py MODEL.tflite COUNT SEED

Each copy is checked, loaded and run as `export/trial.py` does, in a forked process, and
where that succeeds once more in another, which stands for the user's program. Prints
JSON: how many copies ended how, and the numbers of those that crashed a process.
"""

import collections
import json
import os
import random
import signal
import sys
from pathlib import Path

import numpy as np

KIT = Path(__file__).parents[2] / "export"
_SECONDS = 20
_LOADED, _REFUSED_EARLY, _REFUSED_BY_RUNTIME = 0, 2, 3


class Damage:
    """Makes damaged copies of a model, the same ones for the same seed."""

    def __init__(self, data: bytes, seed: int) -> None:
        self._data = data
        self._seed = seed
        self._outside = _outside_weights(data)

    def copy(self, number: int) -> bytes:
        """Returns a copy that is cut short, or has 1 to 4 bits flipped.

        A fourth are cut, a fourth flipped anywhere, and half flipped outside of the
        weights.
        """
        chance = random.Random(f"{self._seed} {number}")
        if number % 4 == 0:
            return self._data[: chance.randrange(len(self._data))]
        copy = bytearray(self._data)
        places = range(len(copy)) if number % 4 == 1 else self._outside
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            copy[places[chance.randrange(len(places))]] ^= 1 << chance.randrange(8)
        return bytes(copy)


def _outside_weights(data: bytes) -> np.ndarray:
    """Returns where the bytes are that belong to no buffer of over 64 bytes."""
    from ai_edge_litert.schema_py_generated import Model

    model = Model.GetRootAsModel(data, 0)
    outside = np.ones(len(data), bool)
    for number in range(model.BuffersLength()):
        buffer = model.Buffers(number)
        if buffer.DataLength() > 64:
            start = buffer._tab.Vector(buffer._tab.Offset(4))
            outside[start : start + buffer.DataLength()] = False
    return np.flatnonzero(outside)


def _attempt(data: bytes) -> int:
    """Checks, loads and runs a model; returns how that ended."""
    from model import Model, ModelError, check

    try:
        description = check(Path("copy.tflite"), data)
    except ModelError:
        return _REFUSED_EARLY
    try:
        model = Model(data, description)
        model.score(np.resize(np.arange(256, dtype=np.uint8), (*model.size, 3)))
    except ModelError:
        return _REFUSED_BY_RUNTIME
    return _LOADED


def _in_fork(data: bytes) -> int:
    """Returns the exit code of `_attempt` in another process; below 0: a signal."""
    child = os.fork()
    if child == 0:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        signal.alarm(_SECONDS)
        try:
            os._exit(_attempt(data))
        except BaseException:
            # What the kit did not tell in words counts as a crash, too.
            os.kill(os.getpid(), signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    """Prints what became of the copies."""
    data, count, seed = Path(sys.argv[1]).read_bytes(), *map(int, sys.argv[2:4])
    sys.path.insert(0, str(KIT))
    # Loaded once, not in each process.
    import model  # noqa: F401

    damage = Damage(data, seed)
    ended: collections.Counter[str] = collections.Counter()
    crashed_trial, crashed_caller = [], []
    for number in range(count):
        copy = damage.copy(number)
        code = _in_fork(copy)
        if code < 0:
            crashed_trial.append(number)
        elif code == _LOADED and _in_fork(copy) != _LOADED:
            crashed_caller.append(number)
        ended[str(code)] += 1
    print(
        json.dumps(
            {
                "loaded": ended[str(_LOADED)],
                "refused_early": ended[str(_REFUSED_EARLY)],
                "refused_by_runtime": ended[str(_REFUSED_BY_RUNTIME)],
                "crashed_trial": crashed_trial,
                "crashed_caller": crashed_caller,
            }
        )
    )


if __name__ == "__main__":
    main()
