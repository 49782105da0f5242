"""What the replicas of a model make of their parts of a batch, joined.

Every batch is divided among the replicas, also where their number does not divide it,
and each puts its scores where they belong among those of the whole batch. So the losses
are those of the whole batch, and the gradients, which Keras sums over replicas, add up
to its gradient, whatever the loss does with the scores.
"""

import keras
import tensorflow as tf

MAJORITY, MINORITY, KNOWN_MINORITY = range(3)

_SCORES = {
    "majority_scores": MAJORITY,
    "fake_scores": MINORITY,
    "known_scores": KNOWN_MINORITY,
}
# Means over the rows of one kind.
_PENALTIES = {"discriminator_penalty": MAJORITY, "generator_penalty": MINORITY}


def share(rows, replica, count):
    """Returns where a replica's part of some rows begins and ends.

    Args:
        rows: Rows of the whole batch, int or int tensor.
        replica: The replica, 0 .. count - 1.
        count: Number of replicas.
    """
    return replica * rows // count, (replica + 1) * rows // count


def share_or_all(rows, replica, count):
    """As `share`, but where there are fewer rows than replicas, each takes all."""
    enough = rows >= count
    begin, end = share(rows, replica, count)
    return tf.where(enough, begin, 0), tf.where(enough, end, rows)


class Part:
    """A replica's part of a batch, within a step.

    Args:
        sizes: Rows of the whole batch of majority, minority and known minority.
    """

    def __init__(self, sizes: list) -> None:
        self._sizes = sizes
        self._context = tf.distribute.get_replica_context()
        self.replica = tf.cast(self._context.replica_id_in_sync_group, tf.int32)
        self._count = self._context.num_replicas_in_sync

    def joined(self, passed: dict) -> dict:
        """Returns a forward pass of the whole batch, from that of the part.

        Its values are those of all replicas, their gradients the replica's own.

        Args:
            passed: What `forward` returned.
        """
        own = {
            name: self._placed(passed[name], kind)
            for name, kind in _SCORES.items()
            if passed[name] is not None
        }
        for name, kind in _PENALTIES.items():
            own[name] = self._weighed(passed[name], kind)
        return passed | self._summed(own)

    def _placed(self, scores, kind: int):
        """Returns the scores where they stand in the whole batch, among zeros."""
        size = self._sizes[kind]
        begin, end = share_or_all(size, self.replica, self._count)
        # Rows that all replicas take count once.
        times = tf.cast(tf.where(size >= self._count, 1, self._count), scores.dtype)
        return tf.pad(scores / times, [[begin, size - end], [0, 0]])

    def _weighed(self, mean, kind: int):
        """Returns what a mean over the replica's rows adds to that of all rows."""
        size = self._sizes[kind]
        begin, end = share_or_all(size, self.replica, self._count)
        total = tf.where(size >= self._count, size, size * self._count)
        mean = tf.convert_to_tensor(mean, keras.config.floatx())
        return mean * tf.cast((end - begin) / total, mean.dtype)

    def _summed(self, own: dict) -> dict:
        """Returns sums over the replicas, whose gradient is that of the own tensors."""
        flat = tf.concat([tf.reshape(each, (-1,)) for each in own.values()], axis=0)
        fixed = tf.stop_gradient(flat)
        total = self._context.all_reduce(tf.distribute.ReduceOp.SUM, fixed)
        # The difference is exactly 0.
        flat = total + (flat - fixed)
        sizes = [tf.size(each) for each in own.values()]
        return {
            name: tf.reshape(sum_, tf.shape(own[name]))
            for name, sum_ in zip(own, tf.split(flat, sizes, num=len(own)), strict=True)
        }
