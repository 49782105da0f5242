"""Several replicas of a model under a `tf.distribute.MirroredStrategy`."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence

import keras
import tensorflow as tf

from egan_keras.devices.parts import Part, share, share_or_all
from egan_keras.model.step.forward import forward, with_losses
from egan_keras.model.step.tensorflow import apply, updates

# TensorFlow starts the steps of several replicas one by one.
_OPTIONS = {"steps_per_execution": 1}
_BETWEEN_SEEDS = 15_485_863


def attach(model: keras.Model) -> dict:
    """Makes a model train on all replicas of the strategy that it was built for.

    Returns:
        Options of `keras.Model.compile`.

    Raises:
        ValueError: If the strategy is another one than those that are supported.
    """
    strategy = model.distribute_strategy
    if isinstance(strategy, Replicas):  # it was compiled before
        return _OPTIONS
    check_strategy(strategy)
    if strategy.num_replicas_in_sync == 1:
        return {}
    Replicas(strategy).carry(model)
    return _OPTIONS


class Replicas:
    """Steps that run on all replicas, and what Keras takes for the model's strategy.

    Keras would divide each tensor of a batch as if all were of one length, and average
    what the replicas return. So it is shown one replica, which takes whole batches;
    each step divides its batch by itself, and returns what one device would.

    Args:
        strategy: Where training runs.
    """

    num_replicas_in_sync = 1

    def __init__(self, strategy: tf.distribute.MirroredStrategy) -> None:
        self._strategy = strategy

    def run(self, step: Callable, args: tuple = ()):
        """Calls a step."""
        return step(*args)

    def experimental_distribute_dataset(self, dataset: tf.data.Dataset):
        """Returns the dataset, whose batches stay whole."""
        return dataset

    def carry(self, model: keras.Model) -> None:
        """Puts the steps of all replicas in the place of the model's own."""
        for network in (model, model.discriminator.tail):
            network._distribute_strategy = self
        # Keras would take a batch to build networks that are built.
        model._maybe_symbolic_build = lambda *args, **kwargs: None
        model.train_step = functools.partial(self._train_step, model)
        model.test_step = functools.partial(self._test_step, model)
        model.fit = functools.wraps(model.fit)(functools.partial(_fit, model))

    def _train_step(self, model: keras.Model, batch) -> dict:
        """Carries out one step on (majority, minority, known minority)."""
        rows = model.step_rows(batch)
        sizes = [0 if each is None else _count(each) for each in rows]
        seeds = [x for x in model.variables if x.name == "seed_generator_state"]
        first = [tf.convert_to_tensor(seed.value) for seed in seeds]

        def on_replica(own) -> dict:
            part = Part(sizes)
            _draw_apart(seeds, first, part.replica)
            with tf.GradientTape(persistent=True) as tape:
                passed = forward(model, *model.step_inputs(own))
                outcome = with_losses(model, part.joined(passed))
                update = updates(model, outcome)
            apply(update, tape)
            return model.update_training_metrics(outcome)

        with statistics_of_all([model.generator.tail, model.discriminator.tail]):
            return self._on_all(on_replica, rows, share_or_all)

    def _test_step(self, model: keras.Model, batch) -> dict:
        """Scores a batch of (features, labels)."""
        own = self._on_all(model.update_validation_metrics, batch, share)
        # Of the images of all replicas.
        return {each.name: each.result() for each in model.metrics if each.name in own}

    def _on_all(self, step: Callable, rows: tuple, bounds: Callable):
        """Runs a step on each replica's part of some rows.

        Args:
            step: Function from a replica's rows to a dict.
            rows: Tensors, or tuples of tensors, or `None`.
            bounds: `share` or `share_or_all`.

        Returns:
            What the first replica returned.
        """
        count = self._strategy.num_replicas_in_sync

        def part(context):
            def cut(each):
                begin, end = bounds(tf.shape(each)[0], replica, count)
                return each[begin:end]

            replica = context.replica_id_in_sync_group
            return tuple(
                None if each is None else tf.nest.map_structure(cut, each)
                for each in rows
            )

        parts = self._strategy.experimental_distribute_values_from_function(part)
        results = self._strategy.run(step, args=(parts,))
        return {
            name: self._strategy.experimental_local_results(result)[0]
            for name, result in results.items()
        }


def _count(rows):
    return tf.shape(tf.nest.flatten(rows)[0])[0]


def _fit(model: keras.Model, *args, **kwargs) -> keras.callbacks.History:
    check_optimizers(model.optimizer, model.generator_optimizer)
    return type(model).fit(model, *args, **kwargs)


def _draw_apart(seeds: list, first: list, replica) -> None:
    """Gives the layers of a replica random draws of their own.

    Keras gives all replicas the same, so that the noise of several would be that of a
    smaller batch. Those of the first are left as they are.

    Args:
        seeds: Variables.
        first: Their values on the first replica.
        replica: The number of this one.
    """
    for seed, value in zip(seeds, first, strict=True):
        between = tf.stack([replica * _BETWEEN_SEEDS, 0])
        seed.assign(value + tf.cast(between, value.dtype))


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
