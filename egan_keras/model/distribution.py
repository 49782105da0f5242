"""What `fit` and `evaluate` need beside the steps where there are several replicas."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from egan_keras import features
from egan_keras.data.lazy import in_batches
from egan_keras.model import replicas, workers

_BETWEEN_SEEDS = 15_485_863
_BATCH_SIZE = 32


class OfSeveralReplicas:
    """Methods of a `keras.Model` that differ where it has several replicas."""

    def predict_on_batch(self, x) -> np.ndarray:
        """Returns the scores of one batch, as `keras.Model.predict_on_batch` does."""
        return outputs(self, super().predict_on_batch, x)

    def save(self, filepath, *args, **kwargs) -> None:
        """Saves as `keras.Model.save`; of several workers, the first one does."""
        if workers.writes(self):
            super().save(filepath, *args, **kwargs)

    def save_weights(self, filepath, *args, **kwargs) -> None:
        """Saves as `keras.Model.save_weights`; of several workers, the first does."""
        if workers.writes(self):
            super().save_weights(filepath, *args, **kwargs)

    def _maybe_symbolic_build(self, *args, **kwargs) -> None:
        """Does nothing, since both networks are built.

        Keras would average a batch over replicas whose parts differ in length.
        """


@contextlib.contextmanager
def training(
    model: keras.Model, dataset: tf.data.Dataset, callbacks: list
) -> Iterator[tuple]:
    """Prepares what `keras.Model.fit` is given for the replicas of a model's strategy.

    Args:
        model: An `EGAN`.
        dataset: Batches of majority, minority and known minority.
        callbacks: Keras callbacks.

    Yields:
        The dataset and the callbacks to train with, while the networks' batch
        normalisation takes the statistics of the whole batch.
    """
    strategy = strategy_of(model)
    if strategy is None:
        yield dataset, callbacks
        return
    team = workers.workers_of(model)
    if team is not None:
        callbacks = workers.callbacks_of_worker(team, callbacks)
    with statistics_of_all([model.generator.tail, model.discriminator.tail]):
        yield replicas.divided(dataset, strategy), [DifferentNoise(team), *callbacks]


def strategy_of(model: keras.Model) -> tf.distribute.Strategy | None:
    """Returns a model's strategy; `None` where there is one replica."""
    strategy = getattr(model, "distribute_strategy", None)
    several = strategy is not None and strategy.num_replicas_in_sync > 1
    return strategy if several else None


def check_replicas(model: keras.Model) -> None:
    """Refuses what several replicas would not train as one device does.

    Raises:
        ValueError: If the strategy is another one than those that are supported, or an
            optimizer clips gradients or scales losses.
    """
    strategy = strategy_of(model)
    if strategy is not None:
        check_strategy(strategy)
        check_optimizers(model.optimizer, model.generator_optimizer)


def execution_options(model: keras.Model) -> dict:
    """Returns what `keras.Model.compile` is told to run steps on several replicas."""
    # TensorFlow fails on several steps at once, each of several replicas.
    return {} if strategy_of(model) is None else {"steps_per_execution": 1}


def logs(model: keras.Model, results: dict) -> dict:
    """Returns results of a step as Keras can average them over replicas.

    Over those of several machines it averages along the first dimension.
    """
    if not features.are_several(strategy_of(model)):
        return results
    return {name: tf.reshape(value, (1,)) for name, value in results.items()}


def joined_results(model: keras.Model, metrics: list, results: dict) -> dict:
    """Returns results of metrics over the images of all replicas.

    Keras returns the mean of the replicas' results, whatever each has seen.

    Args:
        model: The model.
        metrics: Its metrics.
        results: The results that Keras returned.
    """
    if strategy_of(model) is None:
        return {}
    used = [metric for metric in metrics if metric.name in results]
    return {metric.name: as_number(metric.result()) for metric in used}


def as_number(result) -> float | np.ndarray:
    """Returns a metric's result as Keras gives it back: a scalar as a float."""
    array = keras.ops.convert_to_numpy(result)
    return array if array.ndim else float(array)


def outputs(network: keras.Model, predict_on_batch: Callable, batch) -> np.ndarray:
    """Returns what a network puts out for a batch, once.

    Keras gives the whole batch to each replica and returns what all of them put out.

    Args:
        network: The network.
        predict_on_batch: Keras's method of it.
        batch: What it takes.
    """
    if strategy_of(network) is None:
        return predict_on_batch(batch)
    return keras.ops.convert_to_numpy(network(batch, training=False))


def predicted_alone(model: keras.Model, x, batch_size: int | None) -> np.ndarray:
    """Returns scores that one of several workers computes without the others.

    Keras would divide the images among the workers, mix up their order, and wait
    forever where one worker alone wants to know.

    Args:
        model: The model.
        x: Images (n, h, w, 3), or a `tf.data.Dataset` of batches of images or of
            (images, labels).
        batch_size: Images scored at once, if `x` is not batched.

    Raises:
        ValueError: If `x` is something else.
    """
    if isinstance(x, tf.data.Dataset):
        batches = (each[0] if isinstance(each, tuple) else each for each in x)
    elif hasattr(x, "shape"):
        batches = in_batches(x, batch_size or _BATCH_SIZE)
    else:
        raise ValueError(
            "On several machines images are scored from an array or a tf.data.Dataset. "
            f"Received: x of type {type(x).__name__}. Convert it to an array."
        )
    return np.concatenate([model.predict_on_batch(batch) for batch in batches])


@contextlib.contextmanager
def statistics_of_all(networks: Sequence[keras.Model]) -> Iterator[None]:
    """Makes batch normalisation take the statistics of the whole batch."""
    found = [layer for each in networks for layer in _normalisations(each)]
    changed = [layer for layer in found if not layer.synchronized]
    for layer in changed:
        layer.synchronized = True
    try:
        yield
    finally:
        for layer in changed:
            layer.synchronized = False


def _normalisations(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    if isinstance(layer, keras.layers.BatchNormalization):
        yield layer
    for inner in getattr(layer, "layers", []):
        yield from _normalisations(inner)


def check_strategy(strategy: tf.distribute.Strategy) -> None:
    """Refuses strategies of which it is not known that replicas do what one does.

    Raises:
        ValueError: If it is one.
    """
    known = tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy
    if not isinstance(strategy, known):
        raise ValueError(
            "Several replicas train with tf.distribute.MirroredStrategy or "
            "MultiWorkerMirroredStrategy. Received: a model built in the scope of a "
            f"{type(strategy).__name__}. Build it in the scope of one of these."
        )


def check_optimizers(*optimizers: keras.optimizers.Optimizer) -> None:
    """Refuses optimizers that would not see the gradient of the whole batch.

    Raises:
        ValueError: If one clips gradients, or scales losses.
    """
    for optimizer in optimizers:
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            raise ValueError(
                "Losses in 16 bits are not scaled on several replicas; expected "
                f"optimizers as they are. Received: {optimizer.name}, a "
                "LossScaleOptimizer, which Keras chooses under the policy "
                "mixed_float16. Use mixed_bfloat16 or float32, or train on one device."
            )
        for name in ("clipnorm", "clipvalue", "global_clipnorm"):
            if getattr(optimizer, name, None) is not None:
                raise ValueError(
                    "Keras clips the gradient of each replica by itself, so that "
                    "several replicas would not do what one does; expected optimizers "
                    f"without clipping. Received: {optimizer.name} with "
                    f"{name}={getattr(optimizer, name)}. Leave it out, or train on one "
                    "device."
                )


class DifferentNoise(keras.callbacks.Callback):
    """Gives the layers of each replica random draws of their own.

    Keras gives all replicas the same, so that the noise of several would be that of a
    smaller batch. Those of the first are left as they are.

    Args:
        team: The workers, where there are several.
    """

    def __init__(self, team: features.Workers | None) -> None:
        super().__init__()
        self._team = team

    def on_epoch_begin(self, epoch, logs=None):
        """Sets the seeds apart, once a backup has been restored."""
        states = [
            variable.value.values
            for variable in self.model.variables
            if variable.name == "seed_generator_state"
        ]
        if not states:
            return
        first = np.stack([copies[0].numpy() for copies in states])
        number = 0
        if self._team is not None:
            first = self._team.from_first(first)
            number = self._team.first_replica
        for seed, copies in zip(first, states, strict=True):
            for place, copy in enumerate(copies):
                copy.assign(seed + [(number + place) * _BETWEEN_SEEDS, 0])
