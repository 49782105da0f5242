"""Several replicas of a model, each with its part of every batch.

`tf.distribute` copies a model to several devices. Together they do what one would:
every batch is divided, also where the replicas' number does not divide it, and each
replica puts its scores where they belong among those of the whole batch. So the losses,
and what is reported, are those of the whole batch, and the gradients, which Keras sums
over replicas, add up to its gradient, whatever the loss does with the scores.
"""

import keras
import tensorflow as tf

MAJORITY, MINORITY, KNOWN_MINORITY = range(3)


def bounds(rows, replica, count):
    """Returns where a replica's part of some rows begins and ends.

    Where there are fewer rows than replicas, each takes all of them.

    Args:
        rows: Rows of the whole batch, int or int tensor.
        replica: The replica, 0 .. count - 1.
        count: Number of replicas.
    """
    enough = rows >= count
    begin = tf.where(enough, replica * rows // count, 0)
    end = tf.where(enough, (replica + 1) * rows // count, rows)
    return begin, end


def divided(dataset: tf.data.Dataset, strategy: tf.distribute.Strategy):
    """Returns a dataset whose batches are divided among the strategy's replicas.

    Keras would divide each of the tensors of a batch as if all were of one length.

    Args:
        dataset: Batches of majority, minority and known minority. Without an end, since
            of the dataset returned each replica takes an element a step, so that Keras
            would take it for longer.
        strategy: Where training runs.

    Returns:
        A distributed dataset. Beside its part of a batch, a replica gets the numbers
        of rows of the whole one, int32 (3,).
    """
    count = strategy.num_replicas_in_sync

    def parts(_):
        def part(replica, batch):
            sizes = [tf.shape(tf.nest.flatten(rows)[0])[0] for rows in batch]
            own = []
            for rows, size in zip(batch, sizes, strict=True):
                begin, end = bounds(size, replica, count)
                own.append(
                    tf.nest.map_structure(lambda x, b=begin, e=end: x[b:e], rows)
                )
            return *own, tf.cast(tf.stack(sizes), tf.int64)

        def of_each_replica(*batch):
            replicas = tf.data.Dataset.range(count, output_type=tf.int32)
            return replicas.map(lambda replica: part(replica, batch))

        return dataset.flat_map(of_each_replica).prefetch(2 * count)

    return strategy.distribute_datasets_from_function(parts)


def taken(batch: tuple) -> tuple:
    """Returns a batch of `train_step` and, where it was divided, which part it is."""
    *batch, sizes = batch if len(batch) == 4 else (*batch, None)
    return batch, None if sizes is None else Part(sizes)


class Part:
    """A replica's part of a batch, as the step sees it.

    Args:
        sizes: Rows of the whole batch of majority, minority and known minority,
            int32 (3,).
    """

    def __init__(self, sizes) -> None:
        self._sizes = tf.cast(sizes, tf.int32)
        self._context = tf.distribute.get_replica_context()
        self._replica = tf.cast(self._context.replica_id_in_sync_group, tf.int32)
        self._count = self._context.num_replicas_in_sync

    def own_draws(self, draw, kind: int):
        """Returns the replica's part of what is drawn at random for a whole batch.

        Args:
            draw: Function from a number of rows to random rows.
            kind: Whose rows.
        """
        begin, end = bounds(self._sizes[kind], self._replica, self._count)
        return draw(self._sizes[kind])[begin:end]

    def joined(self, scores: list, generator_penalty, discriminator_penalty) -> tuple:
        """Returns the scores of the whole batch, and its penalties.

        Their values are those of all replicas, their gradients the replica's own.

        Args:
            scores: The replica's scores (n, 1) of majority, fakes and, or `None`, known
                minority.
            generator_penalty: The generator's, a mean over the replica's minority.
            discriminator_penalty: The discriminator's, a mean over its majority.
        """
        placed = [
            None if each is None else self._placed(each, kind)
            for kind, each in enumerate(scores)
        ]
        penalties = [
            self._weighed(generator_penalty, MINORITY),
            self._weighed(discriminator_penalty, MAJORITY),
        ]
        present = [each for each in placed if each is not None]
        *present, generator_penalty, discriminator_penalty = self._summed(
            [*present, *penalties]
        )
        remaining = iter(present)
        scores = [each if each is None else next(remaining) for each in placed]
        return scores, generator_penalty, discriminator_penalty

    def joined_penalty(self, penalty):
        """Returns the whole batch's penalty, of which this is the mean over a part."""
        (total,) = self._summed([self._weighed(penalty, MAJORITY)])
        return total

    def _placed(self, scores, kind: int):
        """Returns the scores where they stand in the whole batch, among zeros."""
        size = self._sizes[kind]
        begin, end = bounds(size, self._replica, self._count)
        # Rows that all replicas take count once.
        scores = scores / tf.cast(
            tf.where(size >= self._count, 1, self._count), scores.dtype
        )
        return tf.pad(scores, [[begin, size - end], [0, 0]])

    def _weighed(self, mean, kind: int):
        """Returns what a mean over the replica's rows adds to that of all rows."""
        size = self._sizes[kind]
        begin, end = bounds(size, self._replica, self._count)
        total = tf.where(size >= self._count, size, size * self._count)
        mean = tf.convert_to_tensor(mean, keras.config.floatx())
        return mean * tf.cast((end - begin) / total, mean.dtype)

    def _summed(self, tensors: list) -> list:
        """Returns sums over the replicas, whose gradient is that of the own tensors."""
        flat = tf.concat([tf.reshape(each, (-1,)) for each in tensors], axis=0)
        fixed = tf.stop_gradient(flat)
        total = self._context.all_reduce(tf.distribute.ReduceOp.SUM, fixed)
        # The difference is exactly 0.
        flat = total + (flat - fixed)
        parts = tf.split(flat, [tf.size(each) for each in tensors], num=len(tensors))
        return [
            tf.reshape(part, tf.shape(each))
            for part, each in zip(parts, tensors, strict=True)
        ]
