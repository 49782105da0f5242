"""Says what a GPU's time goes to in the frozen stem of one backbone.

    KERAS_BACKEND=jax python tests/benchmarks/gpu_profile.py DenseNet121

runs the stem in bfloat16 under JAX's profiler, and prints how long kernels of each kind
took. With `--trace FILE`, it reads a `perfetto_trace.json.gz` of an earlier run.
"""

import argparse
import collections
import gzip
import json
import tempfile
from pathlib import Path

import numpy as np

_RUNS = 3

# The first that a kernel's name contains; XLA and cuDNN choose the names.
_KINDS = {
    "concatenate": "concatenation",
    "fprop": "convolution",
    "cudnn": "convolution",
    "conv": "convolution",
    "nvjet": "matrix product",
    "gemm": "matrix product",
    "fusion": "normalisation, activation and other element-wise work",
}
_OTHERS = "others"


def main() -> None:
    """Profiles, or reads a profile, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("backbone", help="such as DenseNet121")
    parser.add_argument("--side", type=int, default=224, help="(default: 224)")
    parser.add_argument("--batch-size", type=int, default=256, help="(default: 256)")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="an earlier profile")
    arguments = parser.parse_args()
    if arguments.trace:
        taken = milliseconds(arguments.trace)
    else:
        with tempfile.TemporaryDirectory() as folder:
            taken = milliseconds(_profiled(arguments, Path(folder)))
    if not taken:
        parser.error("the profile holds no kernels: JAX found no GPU")
    total = sum(taken.values())
    print(f"{arguments.backbone}: {total:.1f} ms a batch in kernels\n")
    print("| kernels | ms | share |\n| --- | --- | --- |")
    for kind, each in taken.most_common():
        print(f"| {kind} | {each:.1f} | {each / total:.0%} |")


def milliseconds(trace: Path) -> collections.Counter:
    """Returns how long kernels of each kind took, a batch.

    Args:
        trace: `perfetto_trace.json.gz` of a profile of as many batches as are run.
    """
    with gzip.open(trace) as file:
        content = json.load(file)
    events = content["traceEvents"] if isinstance(content, dict) else content
    devices = {
        event["pid"]
        for event in events
        if event.get("name") == "process_name" and "GPU" in event["args"]["name"]
    }
    taken = collections.Counter()
    for event in events:
        if event.get("ph") == "X" and event["pid"] in devices:
            found = (kind for part, kind in _KINDS.items() if part in event["name"])
            taken[next(found, _OTHERS)] += event["dur"] / 1e3 / _RUNS
    return taken


def _profiled(arguments: argparse.Namespace, folder: Path) -> Path:
    import jax
    import keras

    import egan_keras as ek

    keras.config.set_dtype_policy("mixed_bfloat16")
    side, count = arguments.side, arguments.batch_size
    stem = ek.Backbone.parse(arguments.backbone).build(side, weights=None)
    run = jax.jit(lambda x: stem(x, training=False))
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3))
    images = jax.numpy.asarray(pixels.astype("float32"))
    for _ in range(2):
        jax.block_until_ready(run(images))
    with jax.profiler.trace(folder, create_perfetto_trace=True):
        for _ in range(_RUNS):
            jax.block_until_ready(run(images))
    return next(folder.rglob("perfetto_trace.json.gz"))


if __name__ == "__main__":
    main()
