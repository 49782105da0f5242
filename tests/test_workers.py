"""Several machines, here processes that are connected by the loopback device."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
STEADY = {"latent_noise": 0.0, "dropout": 0.0, "network_size": 32}
SGD = {"discriminator_optimizer": "sgd", "generator_optimizer": "sgd"}
DEFAULT = {
    "build": {**STEADY, "minimum_steps": 1},
    "compile": {},
    "fit": {"epochs": 3, "batch_size": 25, "shuffle": False},
}
# See test_strategies.py.
PUBLISHED = {
    "build": {**STEADY, "recipe": "published"},
    "compile": SGD,
    "fit": {"epochs": 1, "batch_size": 101, "shuffle": False},
}
SECONDS_TO_NOTICE = 60

pytestmark = pytest.mark.slow


def free_addresses(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    addresses = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


@pytest.fixture
def start(image_file, tiny_weights, tmp_path):
    """Starts the workers of one job, or one process that does all."""
    started = []

    def start_workers(name, *cases, images=(image_file, image_file)):
        addresses = free_addresses(len(cases))
        processes = []
        for index, case in enumerate(cases):
            task = {"type": "worker", "index": index}
            config = {"cluster": {"worker": addresses}, "task": task}
            environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
            if len(cases) > 1:
                environment["TF_CONFIG"] = json.dumps(config)
            script, out = HERE / "worker_run.py", tmp_path / f"{name}{index}.npz"
            arguments = [tiny_weights, images[index], out, json.dumps(case)]
            log = (tmp_path / f"{name}{index}.log").open("w+")
            processes.append(
                subprocess.Popen(
                    [sys.executable, script, *arguments],
                    env=environment,
                    stdout=log,
                    stderr=log,
                )
            )
        started.extend(processes)
        return processes

    yield start_workers
    for process in started:
        process.kill()


@pytest.fixture
def run(start, tmp_path):
    """Returns what each of several workers, or one process, has found."""

    def run_all(name, *cases, **options):
        for index, process in enumerate(start(name, *cases, **options)):
            log = tmp_path / f"{name}{index}.log"
            assert process.wait(300) == 0, log.read_text()[-3000:]
        found = range(len(cases))
        return [dict(np.load(tmp_path / f"{name}{index}.npz")) for index in found]

    return run_all


def assert_same(expected, found, but=()):
    for name in set(expected) - {"names", "order", "images_in_fit", *but}:
        np.testing.assert_allclose(
            expected[name], found[name], rtol=1e-3, atol=2e-4, err_msg=name
        )


@pytest.mark.parametrize("case", [DEFAULT, PUBLISHED], ids=["default", "published"])
def test_two_workers_do_what_one_process_does(run, tmp_path, case):
    (alone,) = run("alone", case)
    together = run("worker", case, case)
    for each in together:
        assert_same(alone, each)
    shares = [int(each["images_in_fit"]) for each in together]
    assert sum(shares) == alone["images_in_fit"], "each image passes the stem once"
    assert max(shares) - min(shares) < 10, "and the work is divided"
    assert (tmp_path / "worker0.keras").exists()
    assert not (tmp_path / "worker1.keras").exists()
    printed = [(tmp_path / f"worker{index}.log").read_text() for index in (0, 1)]
    assert "majority_logit" in printed[0] and "majority_logit" not in printed[1]


def test_workers_divide_a_dataset_and_shuffle_alike(run):
    case = {
        **DEFAULT,
        "build": {"network_size": 32, "minimum_steps": 1},
        "fit": {"epochs": 1, "batch_size": 25},
        "as_dataset": True,
    }
    first, second = run("worker", {**case, "seed": 1}, {**case, "seed": 2})
    assert_same(first, second)
    np.testing.assert_array_equal(first["order"], second["order"])
    # 101 of the majority and 10, mirrored ones counted, that both networks read;
    # 75 images are validation.
    shares = int(first["images_in_fit"]), int(second["images_in_fit"])
    assert sum(shares) == 101 + 2 * 10 + 75 and min(shares) > 80


def test_workers_that_see_other_images_stop(start, image_file, tmp_path):
    arrays = np.load(image_file)
    other = tmp_path / "other.npz"
    np.savez(other, images=arrays["images"][::-1], labels=arrays["labels"][::-1])
    for process in start("other", DEFAULT, DEFAULT, images=(image_file, other)):
        assert process.wait(300) == 1
    for index in (0, 1):
        printed = (tmp_path / f"other{index}.log").read_text()
        assert "ValueError: The workers do not see the same majority" in printed


@pytest.mark.parametrize("victim", [0, 1])
def test_a_dead_worker_ends_the_job_and_the_next_start_resumes(
    start, run, tmp_path, victim
):
    case = {**DEFAULT, "backup": str(tmp_path / "backup")}
    cases = [case, case]
    cases[victim] = {**case, "dies_after": 2}
    processes = start("broken", *cases)
    assert processes[victim].wait(300) == -signal.SIGKILL
    died = time.monotonic()
    assert processes[1 - victim].wait(SECONDS_TO_NOTICE) == 1
    print(f"noticed after {time.monotonic() - died:.1f} s")
    log = tmp_path / f"broken{1 - victim}.log"
    assert "RuntimeError: Another worker has ended or cannot" in log.read_text()
    resumed = run("resumed", case, case)
    (alone,) = run("alone", DEFAULT)
    for each in resumed:
        assert each["epochs"].tolist() == [2]
        assert_same(alone, each, but=("logs", "epochs"))
    assert not (tmp_path / "backup").exists()
