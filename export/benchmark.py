"""Measures how fast an exported model scores on this machine, and what it takes.

python benchmark.py egan.tflite --threads 1,4
"""

import argparse
import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
from model import check, load, read, try_in_child
from output import without_messages
from text import printable

_DESCRIPTION = """\
Measure latency, images a second, memory and loading time of an exported model.

Each number of threads is measured in a process of its own, after 10 images that do not
count, on one image of random pixels; decoding files is not in it.
"""
_WARM_UP = 10
_LEGEND = """\
median, p90 ms: half and nine tenths of the images were scored in this time or less.
load ms: reading, checking and preparing the model, its trial in another process not
counted. peak MB: the most memory of a process with Python, the runtime and the model.
"""


def main() -> int:
    """Run the command and return its exit code."""
    arguments = _parse()
    path = arguments.model
    try:
        data = read(path)
        check(path, data)
        started = time.perf_counter()
        if not arguments.trust:
            try_in_child(path, data)
        trial_ms = (time.perf_counter() - started) * 1000
        rows = [
            _in_new_process(path, threads, arguments.runs)
            for threads in arguments.threads
        ]
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError, BrokenProcessPool) as error:
        print(f"{Path(sys.argv[0]).name}: error: {printable(error)}", file=sys.stderr)
        return 2
    if arguments.json:
        trial = None if arguments.trust else round(trial_ms, 1)
        told = {"model": str(path), "model_bytes": len(data), "trial_ms": trial}
        print(json.dumps({**told, "runs": arguments.runs, "measured": rows}, indent=2))
        return 0
    columns = list(rows[0])
    print("  ".join(f"{name.replace('_', ' '):>17}" for name in columns))
    for row in rows:
        print("  ".join(f"{_shown(row[name]):>17}" for name in columns))
    print(f"\n{_LEGEND}", end="")
    if not arguments.trust:
        print(f"The trial took {trial_ms:.0f} ms; --trust leaves it out.")
    return 0


def measure(path: Path, threads: int, runs: int) -> dict[str, float | None]:
    """Measure in this process.

    Args:
        path: the model, which must have been tried already.
        threads: that share the work on one image.
        runs: how many times to score.

    Returns:
        A row of the table; the memory is None where the system does not tell it.
    """
    started = time.perf_counter()
    with without_messages():
        model = load(path, threads=threads, trust=True)
    load_ms = (time.perf_counter() - started) * 1000
    shape = (*model.size, 3)
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for _ in range(_WARM_UP):
        model.score(image)
    taken = np.empty(runs)
    for run in range(runs):
        started = time.perf_counter()
        model.score(image)
        taken[run] = (time.perf_counter() - started) * 1000
    peak = _peak_bytes()
    return {
        "threads": threads,
        "median_ms": round(float(np.median(taken)), 3),
        "p90_ms": round(float(np.percentile(taken, 90)), 3),
        "images_per_second": round(float(1000 / taken.mean()), 1),
        "load_ms": round(load_ms, 1),
        "peak_MB": None if peak is None else round(peak / 1e6, 1),
    }


def _in_new_process(path: Path, threads: int, runs: int) -> dict[str, float | None]:
    """Measure in a process that has used no memory for anything else."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(measure, path, threads, runs).result()


def _peak_bytes() -> int | None:
    """Return the most memory this process has had, None where it is not told."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _shown(value: float | None) -> str:
    """Return a number as the table shows it."""
    return "not told" if value is None else f"{value:g}"


def _numbers(text: str) -> list[int]:
    """Parse numbers of threads."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(
            f"expected whole numbers from 1, with commas between. Received: {text!r}"
        )
    return [int(part) for part in parts]


def _parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL.tflite", type=Path)
    parser.add_argument(
        "--threads",
        metavar="N[,N..]",
        type=_numbers,
        default=[1, 4],
        help="numbers of threads to measure with (default: 1,4)",
    )
    parser.add_argument(
        "--runs",
        metavar="N",
        type=int,
        default=200,
        help="images to score for each (default: 200)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="load the model without trying it in another process first",
    )
    arguments = parser.parse_args()
    if arguments.runs < 1:
        parser.error(f"--runs: expected at least 1. Received: {arguments.runs}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
