"""What `fit` does beside the steps where several machines train one model."""

import contextlib
import functools
import random
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from keras import callbacks as keras_callbacks

from egan_keras.features import Workers

# Files of one name written by several processes would destroy each other.
_WRITERS = (
    keras_callbacks.ModelCheckpoint,
    keras_callbacks.CSVLogger,
    keras_callbacks.TensorBoard,
)


def workers_of(model: keras.Model) -> Workers | None:
    """Returns the workers that train a model, `None` where one process does."""
    return Workers.of(getattr(model, "distribute_strategy", None))


def writes(model: keras.Model) -> bool:
    """Whether this process writes files: of several workers, the first one does."""
    team = workers_of(model)
    return team is None or team.is_first


def on_all_workers(method: Callable) -> Callable:
    """Makes a method of a model say what is wrong where several workers carry it out.

    The method then raises `ValueError` within a strategy's scope, and `RuntimeError`
    if the connection to another worker is lost.
    """

    @functools.wraps(method)
    def checked(model, *args, **kwargs):
        if workers_of(model) is None:
            return method(model, *args, **kwargs)
        if tf.distribute.has_strategy():
            raise ValueError(
                "On several machines fit belongs outside of strategy.scope(), since "
                "what it prepares is each worker's own. Received: a call inside. Build "
                "and compile the model in the scope, and call fit after it."
            )
        with _told_of_lost_workers():
            return method(model, *args, **kwargs)

    return checked


def draw_alike(workers: Workers) -> None:
    """Sets TensorFlow's seed on all workers to one that the first one draws."""
    seed = workers.from_first(np.array([random.randrange(2**31)], np.int64))
    tf.random.set_seed(int(seed[0]))


def callbacks_of_worker(workers: Workers, callbacks: list) -> list:
    """Returns the callbacks of one of several workers.

    Callbacks of Keras that write files run on the first worker alone.

    Args:
        workers: The workers.
        callbacks: What `fit` was given.
    """
    own = []
    for callback in callbacks:
        if isinstance(callback, keras_callbacks.BackupAndRestore):
            own.append(BackupOfFirst(callback, workers))
        elif workers.is_first or not isinstance(callback, _WRITERS):
            own.append(callback)
    return [*own, StopTogether(workers)]


class BackupOfFirst(keras_callbacks.Callback):
    """Lets the first worker keep a backup, and gives all workers what it restores.

    Keras would have each worker write the same files, and start where its own end.

    Args:
        backup: A `keras.callbacks.BackupAndRestore`.
        workers: The workers.
    """

    def __init__(
        self, backup: keras_callbacks.BackupAndRestore, workers: Workers
    ) -> None:
        super().__init__()
        self._backup = backup
        self._workers = workers

    def set_model(self, model):
        """Tells the backup its model."""
        super().set_model(model)
        self._backup.set_model(model)

    def on_train_begin(self, logs=None):
        """Restores on the first worker, then sends state and epoch to all."""
        model = self.model
        if self._workers.is_first:
            self._backup.on_train_begin(logs)
        epoch = np.array([getattr(model, "_initial_epoch", None) or 0], np.int64)
        # Where BackupAndRestore puts it.
        model._initial_epoch = int(self._workers.from_first(epoch)[0])
        trained = (model.discriminator.tail, model.generator.tail)
        for owner in (*trained, model.optimizer, model.generator_optimizer):
            for variable in owner.variables:
                value = keras.ops.convert_to_numpy(variable)
                variable.assign(self._workers.from_first(value))

    def on_train_batch_end(self, batch, logs=None):
        """Keeps a backup, if it is time."""
        if self._workers.is_first:
            self._backup.on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        """Keeps a backup, if it is time."""
        if self._workers.is_first:
            self._backup.on_epoch_end(epoch, logs)

    def on_train_end(self, logs=None):
        """Deletes the backup."""
        if self._workers.is_first:
            self._backup.on_train_end(logs)


class StopTogether(keras_callbacks.Callback):
    """Ends training on all workers where a callback ends it on one.

    Rounding may differ between machines, and a worker alone would wait forever.

    Args:
        workers: The workers.
    """

    def __init__(self, workers: Workers) -> None:
        super().__init__()
        self._workers = workers

    def on_epoch_end(self, epoch, logs=None):
        """Tells the others."""
        wish = np.array([self.model.stop_training], np.int64)
        self.model.stop_training = bool(self._workers.gathered(wish).any())


@contextlib.contextmanager
def _told_of_lost_workers() -> Iterator[None]:
    """Turns what TensorFlow raises when another worker ends into one sentence.

    Raises:
        RuntimeError: If the connection to another worker is lost.
    """
    try:
        yield
    except (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
    ) as error:
        raise RuntimeError(
            "Another worker has ended or cannot be reached, so that training stops on "
            "this one too; expected all workers of TF_CONFIG to run until the end. "
            f"Received: {_reason(error.message)} Start all workers again; with "
            "keras.callbacks.BackupAndRestore they go on where the last epoch ended."
        ) from error


def _reason(message: str) -> str:
    """Returns what TensorFlow says of the connection, from a message of many lines."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    for place, line in enumerate(lines):
        if line.startswith("Collective ops is aborted by"):
            return " ".join(lines[place : place + 2])
    return lines[0] if lines else "no reason."
