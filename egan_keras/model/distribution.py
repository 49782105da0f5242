"""What `fit` and `evaluate` need beside the steps where there are several replicas."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from egan_keras.model import replicas

_BETWEEN_SEEDS = 15_485_863


class OfSeveralReplicas:
    """Methods of a `keras.Model` that differ where it has several replicas."""

    def predict_on_batch(self, x) -> np.ndarray:
        """Returns the scores of one batch, as `keras.Model.predict_on_batch` does."""
        return outputs(self, super().predict_on_batch, x)

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
    with statistics_of_all([model.generator.tail, model.discriminator.tail]):
        yield replicas.divided(dataset, strategy), [DifferentNoise(), *callbacks]


def strategy_of(model: keras.Model) -> tf.distribute.Strategy | None:
    """Returns a model's strategy; `None` where there is one replica."""
    strategy = getattr(model, "distribute_strategy", None)
    several = strategy is not None and strategy.num_replicas_in_sync > 1
    return strategy if several else None


def check_replicas(model: keras.Model) -> None:
    """Refuses what several replicas would not train as one device does.

    Raises:
        ValueError: If an optimizer clips gradients or scales losses.
    """
    if strategy_of(model) is not None:
        check_optimizers(model.optimizer, model.generator_optimizer)


def execution_options(model: keras.Model) -> dict:
    """Returns what `keras.Model.compile` is told to run steps on several replicas.

    Raises:
        ValueError: If the strategy is another one than those that are supported.
    """
    if (strategy := getattr(model, "distribute_strategy", None)) is not None:
        check_strategy(strategy)
    # TensorFlow fails on several steps at once, each of several replicas.
    return {} if strategy_of(model) is None else {"steps_per_execution": 1}


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
    on_machines = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    mirrored = isinstance(strategy, tf.distribute.MirroredStrategy)
    if on_machines or (strategy.num_replicas_in_sync > 1 and not mirrored):
        # TensorFlow's class has an older name.
        name = type(strategy).__name__
        name = "MultiWorkerMirroredStrategy" if on_machines else name
        raise ValueError(
            "A model trains on one device, or on several of one machine with "
            "tf.distribute.MirroredStrategy, and not on several machines. Received: a "
            f"model built in the scope of a {name}. Build it in the scope of a "
            "MirroredStrategy, or of none."
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
    """

    def on_epoch_begin(self, epoch, logs=None):
        """Sets the seeds apart, once a backup has been restored."""
        for variable in self.model.variables:
            if variable.name != "seed_generator_state":
                continue
            first, *others = variable.value.values
            for place, copy in enumerate(others, 1):
                copy.assign(first + [place * _BETWEEN_SEEDS, 0])
