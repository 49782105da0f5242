"""Cases of the benchmark of very many images, each in a process of its own."""

import collections
import io
import json
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

# Of one image through everything, on the slowest backbone.
_SECONDS = 6.0
_MINORITY_EVERY = 1000


def jpeg(random: np.random.Generator, side: int, spot: bool = False) -> bytes:
    """Returns a photo-like image: smooth shades, some noise, and perhaps a spot."""
    coarse = random.integers(0, 256, (6, 6, 3), np.uint8)
    shades = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    pixels = np.asarray(shades) + random.normal(0, 6, (side, side, 1))
    if spot:
        pixels[side // 4 : side // 2, side // 4 : side // 2] = (255, 0, 255)
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def make_network(backbone: str, side: int, path: Path) -> None:
    """Writes the feature network of a backbone with random weights."""
    import egan_keras as ek
    from egan_keras.scale import networks

    shape = (side, side, 3)
    options = {"weights": None, "place_depths": 0}
    model = ek.EGAN.from_backbones(backbone, backbone, image_shape=shape, **options)
    path.write_bytes(networks.feature_network(model).litert)


def rate(network: str, folder: str) -> dict:
    """Measures a worker on one processor, on images already in the page cache."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
    os.environ["OMP_NUM_THREADS"] = "1"
    from egan_keras.scale import FEATURES, Network, Task, Worker

    content = Network(Path(network).read_bytes())
    task = Task(folder, FEATURES, content, False, dtype="float16")
    worker = Worker(task)
    files = sorted(map(str, Path(folder).glob("*.jpg")))
    n_bytes = sum(os.path.getsize(path) for path in files[:64]) / 64
    worker.table(files[:64])
    # Of the processor's time, not of a machine's on which others work, too.
    started, count = time.process_time(), 0
    while time.process_time() - started < _SECONDS:
        count += len(worker.table(files[count % 512 : count % 512 + 128]))
    seconds = time.process_time() - started
    worker._run = lambda x: np.zeros((len(x), worker._width), np.float32)
    started = time.process_time()
    worker.table(files[:256])
    decoding = 256 / (time.process_time() - started)
    return {
        "images_s": count / seconds,
        "decoded_s": decoding,
        "bytes_read": n_bytes,
        "bytes_of_vector": 2 * worker._width,
        "peak_mb": _peak_mb(),
    }


def pair(network: str, folder: str, workers: str) -> dict:
    """Measures so many of Ray's workers from when all have written a shard."""
    from egan_keras import scale
    from egan_keras.scale import listing
    from egan_keras.scale.folders import Folder

    count, out = int(workers), Path(folder) / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    files = sorted(map(str, Path(folder).glob("*.jpg"))) * 3
    n_shards, _ = listing.write(Folder(str(out)), iter(files), 64)
    content = scale.Network(Path(network).read_bytes())
    task = scale.Task(str(out), scale.FEATURES, content, False, dtype="float16")
    times, used = [], []
    for outcome in scale.on_ray(task, range(n_shards), workers=count):
        assert outcome.problem is None, outcome
        times.append(time.perf_counter())
        if len(times) == 2 * count:
            team = _pinned(count)
            begun = len(times), time.perf_counter()
        if len(times) in (2 * count, n_shards):
            each = [worker.cpu_times() for worker in team]
            used.append(sum(x.user + x.system for x in each))
    n_images = 64 * (n_shards - begun[0])
    return {
        "images_s": n_images / (times[-1] - begun[1]),
        "images_processor_s": n_images / (used[1] - used[0]),
    }


def _pinned(count: int) -> list[psutil.Process]:
    """Gives each worker a processor of its own, so that one takes no other's."""
    processors = sorted(os.sched_getaffinity(0))
    children = psutil.Process().children(recursive=True)
    workers = [each for each in children if each.name().startswith("ray::Worker")]
    assert len(workers) == count, workers
    for worker, processor in zip(workers, processors, strict=False):
        for thread in worker.threads():
            os.sched_setaffinity(thread.id, {processor})
    return workers


def names(count: str, folder: str) -> dict:
    """Lists so many generated names, as an object store would give them, in order."""
    from egan_keras.scale import listing
    from egan_keras.scale.folders import Folder

    place = f"s3://bucket/images/{'{:04}'}/camera-03_{'{:010}'}.jpg"
    paths = (place.format(n // 100_000, n) for n in range(int(count)))
    started = time.perf_counter()
    n_shards, n_files = listing.write(Folder(folder), paths, 4096)
    seconds = time.perf_counter() - started
    path = Path(folder) / listing.LISTING
    started = time.perf_counter()
    last = listing.Listing(Folder(folder))[n_shards - 1]
    opened = time.perf_counter() - started
    assert n_files == int(count) and f"{n_files - 1:010}" in last[-1]
    found = {"seconds": seconds, "open_s": opened, "n_shards": n_shards}
    found |= {"bytes": path.stat().st_size, "peak_mb": _peak_mb()}
    path.unlink()
    return found


def local(count: str, folder: str) -> dict:
    """Lists so many empty files of this machine, a thousand in a folder."""
    from egan_keras.scale import listing
    from egan_keras.scale.folders import Folder

    root = Path(folder) / "files"
    for number in range(int(count)):
        place = root / f"{number // 1000:05}"
        if number % 1000 == 0:
            place.mkdir(parents=True)
        (place / f"camera-03_{number:010}.jpg").touch()
    before, started = _peak_mb(), time.perf_counter()
    found = listing.find([str(root)], collections.Counter())
    _, n_files = listing.write(Folder(folder), found, 4096)
    seconds = time.perf_counter() - started
    assert n_files == int(count)
    shutil.rmtree(root)
    (Path(folder) / listing.LISTING).unlink()
    return {"seconds": seconds, "before_mb": before, "peak_mb": _peak_mb()}


def generate(folder: str) -> dict:
    """Writes 1,000,000 images of 32 pixels into 100 Parquet files, a spot on some."""
    started, n_bytes = time.perf_counter(), 0
    for part in range(100):
        random, rows = np.random.default_rng(part), {"path": [], "image": []}
        for number in range(10_000):
            spot = number % _MINORITY_EVERY == 0
            name = f"{'spot' if spot else 'plain'}/{part:03}_{number:05}.jpg"
            rows["path"].append(name)
            rows["image"].append(jpeg(random, 32, spot))
        path = Path(folder) / f"{part:03}.parquet"
        pq.write_table(pa.table(rows), path, compression="none")
        n_bytes += path.stat().st_size
    return {"seconds": time.perf_counter() - started, "bytes": n_bytes}


def fit(place: str, copy: str) -> dict:
    """Trains an epoch on the features of the million, and judges each fifth image."""
    import keras

    import egan_keras as ek

    keras.utils.set_random_seed(0)
    started = time.perf_counter()
    table = ek.FeatureTable(place)
    vectors, labels = table.vectors(copy), table.labels(["plain"], ["spot"])
    copied = time.perf_counter() - started
    train = np.flatnonzero(np.arange(len(labels)) % 5 != 0)
    train = np.union1d(train[labels[train] == 0], np.flatnonzero(labels)[:10])
    model = ek.EGAN.from_features(None, table.vector_sizes, place_depths=0)
    model.compile()
    before = _peak_mb()
    started = time.perf_counter()
    model.fit(vectors.select(train), labels[train], epochs=1, verbose=0)
    fitted = time.perf_counter() - started
    other = np.setdiff1d(np.arange(0, len(labels), 5), train)
    started = time.perf_counter()
    held_out = vectors.select(other), labels[other]
    model.calibrate(*held_out, specificity=0.99)
    calibrated = time.perf_counter() - started
    report = ek.evaluate(model, *held_out)
    return {
        "rows": len(labels),
        "bytes": vectors.nbytes // 2,
        "copied_s": copied,
        "fit_s": fitted,
        "calibrate_s": calibrated,
        "n_calibrated": len(other),
        "auroc": report["auroc"],
        "before_mb": before,
        "peak_mb": _peak_mb(),
    }


def _peak_mb() -> float:
    # What `getrusage` tells begins with the process that started this one.
    text = Path("/proc/self/status").read_text("ascii")
    return int(text.split("VmHWM:")[1].split()[0]) / 1024


CASES = {each.__name__: each for each in (rate, pair, names, local, generate, fit)}

if __name__ == "__main__":
    print(json.dumps(CASES[sys.argv[1]](*sys.argv[2:])))
