"""Who computes the shards: this process, or the workers of a Ray cluster."""

import contextlib
import importlib.util
import os
import secrets
import signal
import socket
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from egan_keras import logs
from egan_keras.files import FullDiskError
from egan_keras.scale.folders import Folder
from egan_keras.scale.rows import KERAS_NETWORK, Network, Task, Worker

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
    gpus: int | None = None,
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
        gpus: How many workers have a GPU and its share of the processors each, on which
            Keras computes; None computes on processors alone.

    Raises:
        ConnectionError: If there is no cluster at the address.
        ValueError: If Ray is not installed, no worker can start, or there are not so
            many GPUs.
    """
    ray = _ray(is_own=address is None)
    with _connected(ray, address, workers):
        waiting, failures = deque(shards), _Failures()
        there = ray.cluster_resources()
        processors, needs = int(there.get("CPU", 1)), {"num_cpus": 1}
        count = workers or processors
        if gpus:
            _check_gpus(gpus, int(there.get("GPU", 0)))
            count, needs = gpus, {"num_cpus": _share_of_gpu(ray), "num_gpus": 1}
            task = task._replace(network=_keras_network(task, gpus), on_gpu=True)
        team = _Team(ray, task, min(max(1, count), len(waiting)), needs)
        while waiting or team.computes:
            while waiting and team.idle:
                team.give(waiting.popleft())
            for shard, error in team.ended():
                problem = failures.of(shard, error) if error else None
                if error and not problem:
                    waiting.append(shard)
                else:
                    yield Outcome(shard, problem)


class _Team:
    """Workers on a cluster, each with one shard at most.

    Args:
        ray: The module.
        task: What they compute.
        count: How many there are.
        needs: What each has of the cluster.
    """

    def __init__(self, ray: Any, task: Task, count: int, needs: dict[str, int]) -> None:
        self._ray, self._task = ray, ray.put(task)
        self._kind = ray.remote(**needs)(Worker)
        self._waits_for = "a GPU" if "num_gpus" in needs else "a processor"
        self.idle: list[Any] = []
        # What is waited for: workers that start, without a shard, or compute one.
        self._busy: dict[Any, tuple[Any, int | None]] = {}
        self._has_begun = False
        for _ in range(count):
            self._start()

    @property
    def computes(self) -> bool:
        """Whether one of them computes a shard."""
        return any(shard is not None for _, shard in self._busy.values())

    def give(self, shard: int) -> None:
        """Has an idle worker compute a shard."""
        worker = self.idle.pop()
        self._busy[worker.compute.remote(shard)] = worker, shard

    def ended(self) -> Iterator[tuple[int, Exception | None]]:
        """Waits for a worker; yields its shard, if it had one, and what went wrong."""
        ray, timeout = self._ray, None if self._has_begun else _SECONDS_TO_TELL
        found, _ = ray.wait([*self._busy], timeout=timeout)
        if not found:
            logs.tell(f"Waiting for {self._waits_for} of the cluster that is free")
            return
        self._has_begun, (worker, shard), problem = True, self._busy.pop(found[0]), None
        try:
            ray.get(found[0])
        except ray.exceptions.RayActorError as error:
            if shard is None:
                raise _cannot_start(error) from error
            problem = error
        except ray.exceptions.RayTaskError as error:
            problem = error.cause
        if isinstance(problem, ray.exceptions.RayActorError):
            self._start()
        else:
            self.idle.append(worker)
        if shard is not None:
            yield shard, problem

    def _start(self) -> None:
        worker = self._kind.remote(self._task)
        self._busy[worker.__ray_ready__.remote()] = worker, None


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


def _ray(is_own: bool) -> Any:
    # Nothing of what is computed is told to anybody.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if is_own:
        # It listens on all of the machine's addresses, and does what it is told.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    else:
        # Of 40 seconds each, where something else listens at the address.
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
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
        # Else Ray takes what another program started here, or RAY_ADDRESS names.
        quiet["address"] = "local"
        quiet |= {"num_cpus": workers or os.cpu_count(), "include_dashboard": False}
        quiet["object_store_memory"] = _STORE_BYTES
    else:
        _check_answers(address)
        quiet["address"] = address
    handler = signal.getsignal(signal.SIGTERM)
    try:
        try:
            ray.init(**quiet)
        except ConnectionError as error:
            raise _no_answer(address, error) from error
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
        raise _no_answer(address, error) from error


def _no_answer(address: str | None, error: Exception) -> ConnectionError:
    return ConnectionError(
        "No cluster answers; expected the host and port that `ray start --head` "
        "printed, such as 10.0.0.1:6379, and RAY_AUTH_MODE and RAY_AUTH_TOKEN as there "
        f"if it asks for a token. Received: --address {address} ({error}). Start one, "
        "or leave --address out for this machine alone."
    )


def _share_of_gpu(ray: Any) -> int:
    """Returns how many processors each GPU's worker gets, wherever it starts.

    All of them are to be on its machine, and machines may have more of them or fewer.
    """
    has = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    shares = [x.get("CPU", 0) // x["GPU"] for x in has if x.get("GPU", 0)]
    return max(1, int(min(shares)))


def _keras_network(task: Task, gpus: int) -> Network:
    try:
        return Network(b"", Folder(task.place).read(KERAS_NETWORK))
    except FileNotFoundError as error:
        raise ValueError(
            "The job has no network for Keras; expected one that a run or a pairing "
            f"began. Received: --gpus {gpus} for a .tflite file's. Leave it out."
        ) from error


def _check_gpus(wanted: int, there: int) -> None:
    if wanted > there:
        raise ValueError(
            f"The cluster has fewer GPUs; expected {wanted}, as Ray counts them. "
            f"Received: --gpus {wanted} where there are {there}. Ask for fewer, or "
            "leave --gpus out for processors alone."
        )


def _cannot_start(error: Exception) -> ValueError:
    said = str(error).strip().splitlines()[-1]
    return ValueError(
        "A worker cannot start; expected this version of egan-keras on every machine "
        "of the cluster, and a folder to write to that each of them sees under the "
        f"same name. Received: {said}"
    )
