"""Who computes the shards: this process, or the workers of a Ray cluster."""

import contextlib
import importlib.util
import os
import signal
import socket
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from egan_keras import logs
from egan_keras.files import FullDiskError
from egan_keras.scale.rows import Task, Worker

_ATTEMPTS = 3
_SECONDS_TO_ANSWER, _SECONDS_TO_TELL = 5, 60
# Nothing but names of shards goes through it, and the network once.
_STORE_BYTES = 100 * 2**20


class Outcome(NamedTuple):
    """A shard, and why it is set aside; None if it is written."""

    shard: int
    problem: str | None


def in_this_process(task: Task, shards: Iterable[int]) -> Iterator[Outcome]:
    """Computes shards one after the other; one that fails three times is set aside."""
    worker, failures = Worker(task), _Failures()
    waiting = deque(shards)
    while waiting:
        shard, problem = waiting.popleft(), None
        try:
            worker.compute(shard)
        # LiteRT and file systems raise errors of many types.
        except Exception as error:
            problem = failures.of(shard, error)
            if not problem:
                waiting.appendleft(shard)
                continue
        yield Outcome(shard, problem)


def on_ray(
    task: Task,
    shards: Iterable[int],
    *,
    address: str | None = None,
    workers: int | None = None,
) -> Iterator[Outcome]:
    """Computes shards by workers on a cluster of Ray's, in any order.

    A worker that is killed is replaced, and its shard computed again. A shard that
    fails three times, or with which a worker died three times, is set aside.

    Args:
        task: What is computed.
        shards: Their numbers.
        address: Of a running cluster, such as `10.0.0.1:6379`; None starts one on this
            machine, which ends with the last shard.
        workers: How many, of one processor each; None is as many as there are.

    Raises:
        ConnectionError: If there is no cluster at the address.
        ValueError: If Ray is not installed, or no worker can start.
    """
    ray = _ray()
    with _connected(ray, address, workers):
        waiting, failures = deque(shards), _Failures()
        sent, kind = ray.put(task), ray.remote(num_cpus=1)(Worker)
        count = workers or int(ray.cluster_resources().get("CPU", 1))
        idle, has_begun = [], False
        # What is waited for: workers that start, without a shard, or compute one.
        busy: dict[Any, tuple[Any, int | None]] = {}

        def start() -> None:
            worker = kind.remote(sent)
            busy[worker.__ray_ready__.remote()] = worker, None

        for _ in range(min(max(1, count), len(waiting))):
            start()
        while waiting or any(shard is not None for _, shard in busy.values()):
            while waiting and idle:
                worker, shard = idle.pop(), waiting.popleft()
                busy[worker.compute.remote(shard)] = worker, shard
            found, _ = ray.wait(
                [*busy], timeout=None if has_begun else _SECONDS_TO_TELL
            )
            if not found:
                logs.tell("Waiting for a processor of the cluster that is free")
                continue
            has_begun, (worker, shard), problem = True, busy.pop(found[0]), None
            try:
                ray.get(found[0])
                idle.append(worker)
            except ray.exceptions.RayActorError as error:
                if shard is None:
                    raise _cannot_start(error) from error
                start()
                problem = failures.of(shard, error)
            except ray.exceptions.RayTaskError as error:
                idle.append(worker)
                problem = failures.of(shard, error.cause)
            else:
                if shard is not None:
                    yield Outcome(shard, None)
                continue
            if problem:
                yield Outcome(shard, problem)
            else:
                waiting.append(shard)


def is_installed() -> bool:
    """Tells whether Ray is."""
    return importlib.util.find_spec("ray") is not None


class _Failures:
    """Counts how often shards failed."""

    def __init__(self) -> None:
        self._counts = Counter()

    def of(self, shard: int, error: Exception) -> str | None:
        """Returns why a shard is to be set aside; None if it is to be tried again."""
        if isinstance(error, FullDiskError):
            raise error
        self._counts[shard] += 1
        said = (" ".join(str(error).split()) or type(error).__name__)[:500]
        return said if self._counts[shard] == _ATTEMPTS else None


def _ray() -> Any:
    # Nothing of what is computed is told to anybody.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ValueError(
            "Ray is not installed; expected it here and on every machine of the "
            "cluster. Received: --engine ray. Install it: pip install egan-keras[ray]"
        ) from error
    return ray


@contextlib.contextmanager
def _connected(ray: Any, address: str | None, workers: int | None) -> Iterator[None]:
    """Connects to a cluster, or starts one that ends with this process."""
    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    if address is None:
        quiet |= {"num_cpus": workers or os.cpu_count(), "include_dashboard": False}
        quiet["object_store_memory"] = _STORE_BYTES
    else:
        _check_answers(address)
        quiet["address"] = address
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**quiet)
        # Ray takes it, and would end without a word.
        with contextlib.suppress(ValueError):  # in the main thread alone
            signal.signal(signal.SIGTERM, handler)
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Refuses an address where nothing listens, which Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if address != "auto":
            socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(
            "No cluster answers; expected the host and port that `ray start --head` "
            f"printed, such as 10.0.0.1:6379. Received: --address {address} ({error}). "
            "Start one, or leave --address out for this machine alone."
        ) from error


def _cannot_start(error: Exception) -> ValueError:
    said = str(error).strip().splitlines()[-1]
    return ValueError(
        "A worker cannot start; expected this version of egan-keras on every machine "
        "of the cluster, and a folder to write to that each of them sees under the "
        f"same name. Received: {said}"
    )
