"""Several devices of one machine, attached to a model from outside when it is compiled.

Importing this room attaches it; no room below knows of it. Under JAX Keras itself gives
each device of a `DataParallel` its share of every batch. Under TensorFlow devices are
the replicas of a `MirroredStrategy`: every batch is divided among them, also where
their number does not divide it, and each puts its scores where they belong among those
of the whole batch. So the losses are those of the whole batch, and the gradients that
Keras sums over replicas add up to its gradient, whatever the loss does with the scores.
"""

import functools

import keras
import tensorflow as tf

from egan_keras import keras_hooks
from egan_keras.model import EGAN, step

__all__ = ["EGAN", "attach"]

_BETWEEN_SEEDS = 15_485_863

# Of which rows scores are, and penalties means over them: those of majority, minority
# or known minority.
_SCORES = {"majority_scores": 0, "fake_scores": 1, "known_scores": 2}
_PENALTIES = {"discriminator_penalty": 0, "generator_penalty": 1}


def attach(model: EGAN) -> dict:
    """Makes a model train on all devices that it was built for, and no other.

    Returns options of `keras.Model.compile`. It is a ValueError if the model was built
    for devices that cannot train it.
    """
    if keras.backend.backend() == "tensorflow":
        strategy = model.distribute_strategy
        if not isinstance(strategy, Replicas):  # else it was compiled before
            check_strategy(strategy)
            if strategy.num_replicas_in_sync == 1:
                return {}
            Replicas(strategy).carry(model)
        # TensorFlow starts the steps of several replicas one by one.
        return {"steps_per_execution": 1}
    if keras.distribution.distribution() is not None:
        # Keras divides batches where it starts each step by itself.
        model.make_train_function = functools.partial(
            keras.Model.make_train_function, model
        )
    return {}


class Replicas:
    """A step that runs on all replicas, and what Keras takes for the model's strategy.

    Keras would divide each tensor of a batch as if all were of one length, and average
    what the replicas return. So it is shown one replica, which takes whole batches;
    each step divides its batch by itself, and returns what one device would.
    """

    num_replicas_in_sync = 1

    def __init__(self, strategy: tf.distribute.MirroredStrategy) -> None:
        self._strategy = strategy

    def run(self, function, args: tuple = ()):
        """Calls what Keras would run on each replica."""
        return function(*args)

    def experimental_distribute_dataset(self, dataset: tf.data.Dataset):
        """Returns the dataset, whose batches stay whole."""
        return dataset

    def carry(self, model: EGAN) -> None:
        """Puts the step of all replicas in the place of the model's own."""
        networks = [model, model.discriminator.tail]
        keras_hooks.take_batches_whole(model, networks, self)
        model.train_step = functools.partial(self._train_step, model)
        model.fit = functools.wraps(model.fit)(functools.partial(_fit, model))

    def _train_step(self, model: EGAN, batch) -> dict:
        """Carries out one step on (majority, minority, known minority)."""
        rows = model.step_rows(batch)
        sizes = [0 if x is None else tf.shape(tf.nest.flatten(x)[0])[0] for x in rows]
        seeds = [x for x in model.variables if x.name == "seed_generator_state"]
        first = [tf.convert_to_tensor(seed.value) for seed in seeds]

        def on_replica(own) -> dict:
            part = Part(sizes)
            # Keras gives all replicas the same random draws, so that the noise of
            # several would be that of a smaller batch. Those of the first stay.
            for seed, value in zip(seeds, first, strict=True):
                between = tf.stack([part.replica * _BETWEEN_SEEDS, 0])
                seed.assign(value + tf.cast(between, value.dtype))
            inputs = model.step_inputs(own)
            outcome = step.update_both(
                model, lambda: part.joined(step.forward(model, *inputs))
            )
            return model.update_training_metrics(outcome)

        # Batch normalisation takes the statistics of the whole batch.
        changed = [
            layer
            for network in (model.generator.tail, model.discriminator.tail)
            for layer in keras_hooks.every_layer(network)
            if isinstance(layer, keras.layers.BatchNormalization)
            and not layer.synchronized
        ]
        for layer in changed:
            layer.synchronized = True
        try:
            parts = self._strategy.experimental_distribute_values_from_function(
                functools.partial(_part_of, rows)
            )
            results = self._strategy.run(on_replica, args=(parts,))
        finally:
            for layer in changed:
                layer.synchronized = False
        local = self._strategy.experimental_local_results
        return {name: local(result)[0] for name, result in results.items()}


class Part:
    """A replica's part of a batch, within a step; `sizes` are those of the whole."""

    def __init__(self, sizes: list) -> None:
        self._sizes = sizes
        self._context = tf.distribute.get_replica_context()
        self.replica = tf.cast(self._context.replica_id_in_sync_group, tf.int32)
        self._count = self._context.num_replicas_in_sync

    def joined(self, passed: dict) -> dict:
        """Returns `step.forward` of the whole batch, from that of the part.

        Its values are those of all replicas, their gradients the replica's own.
        """
        own = {
            name: self._in_the_whole(passed[name], self._sizes[kind])
            for name, kind in _SCORES.items()
            if passed[name] is not None
        }
        for name, kind in _PENALTIES.items():
            own[name] = self._of_the_whole(passed[name], self._sizes[kind])
        flat = tf.concat([tf.reshape(each, (-1,)) for each in own.values()], axis=0)
        fixed = tf.stop_gradient(flat)
        total = self._context.all_reduce(tf.distribute.ReduceOp.SUM, fixed)
        # The difference is exactly 0, and has the gradient of the own values.
        flat = total + (flat - fixed)
        sizes = [tf.size(each) for each in own.values()]
        sums = tf.split(flat, sizes, num=len(own))
        shapes = [tf.shape(each) for each in own.values()]
        return passed | dict(zip(own, map(tf.reshape, sums, shapes), strict=True))

    def _in_the_whole(self, scores, size):
        """Returns the scores where they stand in the whole batch, among zeros."""
        begin, end = share_or_all(size, self.replica, self._count)
        # Rows that all replicas take count once.
        times = tf.cast(tf.where(size >= self._count, 1, self._count), scores.dtype)
        return tf.pad(scores / times, [[begin, size - end], [0, 0]])

    def _of_the_whole(self, mean, size):
        """Returns what a mean over the replica's rows adds to that of all rows."""
        begin, end = share_or_all(size, self.replica, self._count)
        total = tf.where(size >= self._count, size, size * self._count)
        mean = tf.convert_to_tensor(mean, keras.config.floatx())
        return mean * tf.cast((end - begin) / total, mean.dtype)


def share_or_all(rows, replica, count):
    """Returns where a replica's part of some rows begins and ends.

    Where there are fewer rows than replicas, each takes all.
    """
    enough = rows >= count
    begin, end = replica * rows // count, (replica + 1) * rows // count
    return tf.where(enough, begin, 0), tf.where(enough, end, rows)


def _part_of(rows: tuple, context) -> tuple:
    """Returns a replica's part of tensors, or tuples of tensors, or `None`."""
    replica, count = context.replica_id_in_sync_group, context.num_replicas_in_sync

    def cut(each):
        begin, end = share_or_all(tf.shape(each)[0], replica, count)
        return each[begin:end]

    return tuple(x if x is None else tf.nest.map_structure(cut, x) for x in rows)


def _fit(model: EGAN, *args, **kwargs) -> keras.callbacks.History:
    check_optimizers(model.optimizer, model.generator_optimizer)
    return type(model).fit(model, *args, **kwargs)


def check_strategy(strategy: tf.distribute.Strategy) -> None:
    """Refuses strategies of which it is not known that replicas do what one does."""
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
    """Refuses optimizers that would not see the gradient of the whole batch."""
    for optimizer in optimizers:
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            problem = "Losses in 16 bits are not scaled on several replicas"
            received = "a LossScaleOptimizer, Keras's for mixed_float16"
            advice = "Use mixed_bfloat16 or float32"
        else:
            clips = ("clipnorm", "clipvalue", "global_clipnorm")
            given = [x for x in clips if getattr(optimizer, x, None) is not None]
            if not given:
                continue
            problem = "Keras clips the gradient of each replica by itself"
            received = f"{given[0]}={getattr(optimizer, given[0])}"
            advice = "Leave it out"
        raise ValueError(
            f"{problem}, so that several would not do what one does; expected an "
            f"optimizer without that. Received: {optimizer.name} with {received}. "
            f"{advice}, or train on one device."
        )


EGAN.attachments.append(attach)
