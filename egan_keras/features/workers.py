"""What the workers of a job on several machines tell each other."""

import contextlib
import logging
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

_BYTES_AT_ONCE = 2**25


def are_several(strategy: tf.distribute.Strategy | None) -> bool:
    """Whether a strategy has replicas in other processes than this one."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return False
    return strategy.num_replicas_in_sync > len(strategy.extended.worker_devices)


class Workers:
    """The processes of a `MultiWorkerMirroredStrategy`, of which this is one.

    All of them must call the same methods in the same order; each waits for the others.

    Args:
        strategy: The strategy.

    Attributes:
        index: Which one this is, 0 .. count - 1.
        count: How many there are.
        first_replica: The number of its first replica among all.
    """

    def __init__(self, strategy: tf.distribute.MultiWorkerMirroredStrategy) -> None:
        self._strategy = strategy
        replicas = []
        strategy.experimental_distribute_values_from_function(
            lambda context: replicas.append(context.replica_id_in_sync_group) or 0
        )
        self.first_replica = replicas[0]
        self.count = strategy.num_replicas_in_sync // len(replicas)
        self.index = replicas[0] // len(replicas)

    @classmethod
    def of(cls, strategy: tf.distribute.Strategy | None) -> "Workers | None":
        """Returns a strategy's workers, `None` where one process does all."""
        return cls(strategy) if are_several(strategy) else None

    @property
    def is_first(self) -> bool:
        """Whether this is the worker that prints and writes files."""
        return self.index == 0

    def gathered(self, rows: np.ndarray) -> np.ndarray:
        """Returns the rows of all workers, in the workers' order.

        Args:
            rows: This worker's, (n, ...); the number may differ between workers, shape
                and dtype of a row may not.
        """

        def of_replica(context):
            # The first replica of a worker speaks for it.
            mine = context.replica_id_in_sync_group == self.first_replica
            return tf.convert_to_tensor(rows if mine else rows[:0])

        values = self._strategy.experimental_distribute_values_from_function(of_replica)
        with _without_warnings():
            return self._strategy.gather(values, axis=0).numpy()

    def from_first(self, array: np.ndarray) -> np.ndarray:
        """Returns the first worker's array; all workers' must be of one shape."""
        flat = np.ascontiguousarray(array).reshape(-1)
        sent = self.gathered(flat if self.is_first else flat[:0])
        return sent.reshape(array.shape)

    def check_alike(self, images: np.ndarray, what: str) -> None:
        """Refuses to go on where workers do not see the same images.

        Args:
            images: This worker's, (n, ...).
            what: What they are, for the message.

        Raises:
            ValueError: If they differ.
        """
        mark = zlib.crc32(np.ascontiguousarray(images).data.cast("B"))
        marks = self.gathered(np.array([[len(images), mark]], np.int64))
        if len(np.unique(marks, axis=0)) > 1:
            raise ValueError(
                f"The workers do not see the same {what}; expected the same images in "
                f"the same order on all {self.count} of them. Received on this one: "
                f"{len(images)} images unlike those of another. Give all workers the "
                "same files and options, and a tf.data.Dataset without shuffling or "
                "with a seed."
            )

    def joined(
        self, shares: Sequence[np.ndarray], counts: Sequence[int], write
    ) -> None:
        """Sends all workers' rows to every worker, some at a time.

        Args:
            shares: This worker's rows, arrays or lazy, each of as many rows.
            counts: How many rows each worker has.
            write: Called with the number of an array, the place of a first row among
                all workers' rows, and rows.
        """
        begins = np.concatenate([[0], np.cumsum(counts)])
        for number, share in enumerate(shares):
            row_bytes = max(1, int(np.prod(share.shape[1:])) * share.dtype.itemsize)
            step = max(1, _BYTES_AT_ONCE // row_bytes)
            for start in range(0, max(counts), step):
                rows = self.gathered(np.asarray(share[start : start + step]))
                for begin, count in zip(begins, counts, strict=False):
                    length = min(max(count - start, 0), step)
                    write(number, begin + start, rows[:length])
                    rows = rows[length:]


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Keeps TensorFlow from complaining that each gathering is traced anew.

    It must be, in step on all workers, whose rows differ in number.
    """
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(max(level, logging.ERROR))
    try:
        yield
    finally:
        logger.setLevel(level)
