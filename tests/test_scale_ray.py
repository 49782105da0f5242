"""The same on a cluster of Ray: workers and drivers that are killed, addresses."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from conftest import TINY
from PIL import Image
from scale_workers import DyingWorker
from test_scale import export  # noqa: F401

from egan_keras import cli
from egan_keras.scale import engines

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not engines.is_installed(),
        reason="needs Ray, which no other test does: pip install -e '.[ray]'",
    ),
]
SHARDS = 24


@pytest.fixture(autouse=True)
def environment_of_its_own(monkeypatch):
    """Commands in this process tell Ray by its environment what a cluster is to do."""
    with monkeypatch.context() as context:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            context.delenv(name)
        yield
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            del os.environ[name]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of 120 images that take some time to decode."""
    folder = tmp_path_factory.mktemp("images")
    pixels = Image.effect_noise((900, 900), 90)
    for number in range(120):
        pixels.rotate(number).save(folder / f"{number:03}.png", compress_level=0)
    return folder


@pytest.fixture(scope="module")
def command(export, images):  # noqa: F811
    """The command that scores them, but for its folder."""
    start = [sys.executable, "-m", "egan_keras", "score", str(export), str(images)]
    return [*start, "--shard-size", "5", "--out"]


@pytest.fixture(scope="module")
def expected(command, tmp_path_factory):
    """The scores of one process."""
    out = tmp_path_factory.mktemp("alone") / "out"
    subprocess.run([*command, str(out)], check=True)
    return pq.read_table(out / "shards")


def on_ray(command, out):
    return [*command, str(out), "--engine", "ray", "--workers", "2"]


def wait_for_shards(out, count, process):
    while len(found := sorted(out.glob("shards/0*"))) < count:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    return found


def workers_of(driver):
    children = psutil.Process(driver.pid).children(recursive=True)
    return [each for each in children if each.name().startswith("ray::Worker")]


def test_a_worker_killed_in_the_middle_loses_and_doubles_nothing(
    command, expected, tmp_path
):
    out = tmp_path / "out"
    # Of another program's cluster, which is not to be taken.
    environment = {**os.environ, "RAY_ADDRESS": "127.0.0.1:1"}
    driver = subprocess.Popen(on_ray(command, out), env=environment)
    wait_for_shards(out, 2, driver)
    workers = workers_of(driver)
    assert len(workers) == 2
    workers[0].kill()
    assert driver.wait() == 0
    found = pq.read_table(out / "shards")
    assert found["path"].equals(expected["path"])
    difference = found["score"].to_numpy() - expected["score"].to_numpy()
    assert abs(difference).max() <= 1e-6
    assert len([*out.glob("shards/0*")]) == SHARDS


def test_a_driver_killed_in_the_middle_goes_on(command, expected, tmp_path):
    out = tmp_path / "out"
    driver = subprocess.Popen(on_ray(command, out))
    wait_for_shards(out, 2, driver)
    # Its agents, which compute nothing, notice a minute later.
    cluster = [
        each
        for each in psutil.Process(driver.pid).children(recursive=True)
        if not each.name().endswith("Agent")
    ]
    driver.send_signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL
    gone, alive = psutil.wait_procs(cluster, timeout=60)
    assert gone and not alive
    before = {path: path.stat().st_mtime_ns for path in out.glob("shards/0*")}
    assert len(before) < SHARDS
    subprocess.run(on_ray(command, out), check=True)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert pq.read_table(out / "shards").equals(expected)


def test_a_shard_that_workers_die_of_is_set_aside(
    command, expected, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(engines, "Worker", DyingWorker)
    # For Ray's processes, which import the worker by its name.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    given = on_ray(command, tmp_path / "out")[3:]
    assert cli.main(given) == cli.BLEMISHED
    told = capsys.readouterr().out
    assert "Set aside after three attempts: shards/00000001.parquet" in told
    found = pq.read_table(tmp_path / "out" / "shards")
    assert found["path"].to_pylist() == [
        *expected["path"].to_pylist()[:5],
        *expected["path"].to_pylist()[10:],
    ]


def test_the_cluster_takes_orders_from_its_own_command_alone(command, tmp_path):
    driver = subprocess.Popen(on_ray(command, tmp_path / "out"))
    wait_for_shards(tmp_path / "out", 1, driver)
    (server,) = [
        each
        for each in psutil.Process(driver.pid).children(recursive=True)
        if each.name() == "gcs_server"
    ]
    ports = [each.laddr.port for each in server.net_connections() if not each.raddr]
    # Else it would end its cluster before another program has started.
    driver.send_signal(signal.SIGSTOP)
    program = "import ray, sys; ray.init(address=sys.argv[1])"
    for port in ports:
        intruder = [sys.executable, "-c", program, f"127.0.0.1:{port}"]
        done = subprocess.run(intruder, capture_output=True, text=True, timeout=120)
        assert "Failed to connect" in done.stderr
    driver.send_signal(signal.SIGCONT)
    assert ports and driver.wait() == 0


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "no.such.host:6379"])
def test_an_address_where_nothing_answers_is_refused_soon(
    command, tmp_path, capsys, address
):
    started = time.monotonic()
    given = [*on_ray(command, tmp_path / "out"), "--address", address]
    assert cli.main(given[3:]) == 2
    assert "No cluster answers" in capsys.readouterr().err
    assert time.monotonic() - started < 30


def test_an_address_of_something_else_is_refused_in_a_minute(command, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = "{}:{}".format(*server.getsockname())
        given = [*on_ray(command, tmp_path / "out"), "--address", address]
        done = subprocess.run(given, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "No cluster answers" in done.stderr


@contextlib.contextmanager
def running_cluster(port, *options):
    """A cluster of two processors; yields the environment of programs that use it."""
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": 32 * "a1"}
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **token}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    head = [f"--port={port}", "--num-cpus=2", "--include-dashboard=false", *options]
    memory = f"--object-store-memory={100 * 2**20}"
    cluster = subprocess.Popen([*ray, *head, memory], env=environment)
    try:
        time.sleep(15)
        yield environment
        assert cluster.poll() is None
    finally:
        started = psutil.Process(cluster.pid).children(recursive=True)
        cluster.terminate()
        cluster.wait()
        for each in psutil.wait_procs(started, timeout=20)[1]:
            each.kill()


def test_a_running_cluster_is_used_and_left_running(command, expected, tmp_path):
    with running_cluster(6391) as environment:
        given = [*on_ray(command, tmp_path / "out"), "--address", "127.0.0.1:6391"]
        other = {**environment, "RAY_AUTH_TOKEN": 32 * "b2"}
        refused = subprocess.run(given, env=other, capture_output=True, text=True)
        assert refused.returncode == 2 and "No cluster answers" in refused.stderr
        subprocess.run(given, check=True, env=environment)
    assert pq.read_table(tmp_path / "out" / "shards").equals(expected)


def test_workers_on_gpus_give_the_vectors_of_one_process(
    images, tiny_weights, tmp_path
):
    given = ["features", TINY, images, "--weights", tiny_weights, "--image-size", 32]
    given = [*map(str, given), "--shard-size", "5", "--dtype", "float32", "--out"]
    assert cli.main([*given, str(tmp_path / "alone")]) == 0
    # Ray keeps the token of the first cluster that a process meets.
    program = (
        "import sys; from egan_keras import cli; from egan_keras.scale import engines; "
        "from scale_workers import ProcessorForGPU; engines.Worker = ProcessorForGPU; "
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    given = [sys.executable, "-c", program, *given, str(tmp_path / "out")]
    given += ["--engine", "ray", "--address", "127.0.0.1:6393", "--gpus"]
    with running_cluster(6393, "--num-gpus=2") as environment:
        # Ray's processes import the worker by its name, too.
        shown = {"env": environment, "capture_output": True, "text": True}
        refused = subprocess.run([*given, "3"], **shown)
        assert refused.returncode == 2
        assert "expected 3, as Ray counts them" in refused.stderr
        subprocess.run([*given, "2"], check=True, env=environment)
    found, expected = (pq.read_table(tmp_path / x / "shards") for x in ("out", "alone"))
    assert found["path"].equals(expected["path"]) and len(found) == 120
    vectors, others = (np.array(x["vector"].to_pylist()) for x in (found, expected))
    np.testing.assert_allclose(vectors, others, rtol=1e-3, atol=1e-3)


def test_workers_that_see_no_gpu_say_so(images, tiny_weights, tmp_path):
    given = ["features", TINY, images, "--weights", tiny_weights, "--image-size", 32]
    given = [sys.executable, "-m", "egan_keras", *map(str, given)]
    with running_cluster(6395, "--num-gpus=1") as environment:
        given += ["--engine", "ray", "--address", "127.0.0.1:6395", "--gpus", "1"]
        given += ["--out", str(tmp_path / "out")]
        done = subprocess.run(given, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "Keras sees no GPU" in done.stderr
    assert "Traceback" not in done.stderr
