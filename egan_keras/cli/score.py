"""Score images with a run's model or its export: high = majority, low = minority.

Prints path, score and is_minority (1 where the score is below the model's threshold,
else 0) of each image, in the order of the arguments, those of a folder sorted by path;
then a line that sums up.

With --out, for very many images, scores go there as shards of rows in Parquet (path,
content_hash, score, is_minority, and problem where an image could not be read), with
network.tflite, which gave them, and manifest.json, which counts. The same command goes
on where it was stopped; a shard that fails three times is set aside, and tried again by
the next command. Images are paths or addresses then, also .tar files of images and
.parquet files with a column of image files' bytes, and patterns of them in quotes.

Examples:
  egan-keras score runs/a new_images other/0001.png --csv scores.csv
  egan-keras score egan.tflite new_images
  egan-keras score runs/a new_images --heat-maps marked
  egan-keras score runs/a "s3://bucket/new-*.tar" --engine ray --out s3://bucket/scores
"""

import contextlib
import csv
import dataclasses
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from egan_keras import cli, files, logs
from egan_keras.cli import options, rooms, runs, shards
from egan_keras.cli.options import option
from egan_keras.text import printable

_COLUMNS = ("path", "score", "is_minority")
# Read and scored at once, so that a large folder does not fill the memory.
_BATCH = 128
# Places take memory.
_MAPS_AT_ONCE = 16
_LONGEST_STEM = 80
# Of a row of the CSV file, at most.
_NUMBERS_BYTES = 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(shards.ShardOptions, options.ReadingOptions):
    """All options of `score`.

    Attributes:
        model: folder written by `train`, or .tflite file written by `export`
        images: image files, and folders to search with all folders below them
        csv: also write path, score and is_minority to a file; replaces the file once
            all images are scored
        heat_maps: also write, for each image, a picture NUMBER_NAME.png of it beside
            itself with what speaks for minority coloured: strongest where that is
            enough to bring an else usual image to score 0. A .tflite file must have
            been exported with --heat-map
    Shards:
        out: folder or address to write shards to, in place of what is printed
    """

    model: Path = option(flag="", metavar="RUN_OR_TFLITE")
    images: list[str] = option(flag="", metavar="IMAGE_OR_FOLDER", nargs="+", type=str)
    csv: Path | None = option(None, metavar="FILE")
    heat_maps: Path | None = option(None, metavar="DIR")
    out: str | None = option(None, metavar="DIR", type=str)


def run(given: Options) -> int:
    """Scores images, a batch at a time: read, scored, printed and written."""
    if given.csv is not None:
        options.check_file("--csv", given.csv)
    runs.model_path(given.model)
    shards.check(given, given.out)
    if given.out is not None:
        return _to_shards(given)
    data = rooms.data
    search, odd = data.finding.ImageSearch(), data.images.Oddities()
    found = [path for named in given.images for path in search.add(named)]
    skip = {"skip_unreadable": given.skip_unreadable}
    headers = data.images.check_headers(found, image_size=1, **skip)
    paths, skipped = headers.readable, headers.unreadable
    if given.csv is not None:
        n_bytes = sum(len(os.fsencode(path)) + _NUMBERS_BYTES for path in paths)
        files.check_space(given.csv, n_bytes, "the scores")
    model = runs.load_model(given.model)
    if given.heat_maps is not None:
        _prepare_heat_maps(given.heat_maps, model, len(paths))
    gray_range = given.gray_range or _gray_range(given.model, model)
    if gray_range is None:
        data.decoding.warn_of_depths(headers.deep)
    # Beside the table, not in it.
    logs.tell(f"Scoring {len(paths):,} images", file=sys.stderr)

    def decode(batch: list[Path]) -> tuple:
        size = model.image_shape[:2]
        return data.images.decode_batch(batch, size, gray_range, odd=odd, **skip)

    started = time.perf_counter()
    n_scored = n_minority = 0
    # A model makes sure each time that its weights are those calibrated.
    threshold, calibration = model.threshold, model.calibration
    width = max((len(printable(path)) for path in paths), default=0)
    print(f"{_COLUMNS[0]:<{width}}  {_COLUMNS[1]:>12}  {_COLUMNS[2]}")
    batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
    # A .tflite file runs all passes alike.
    pass_over = getattr(model, "pass_over", contextlib.nullcontext)
    with pass_over(len(paths)), _csv_rows(given.csv) as write_row:
        # Decoded while the batch before is scored.
        for images, kept, damaged in data.lazy.work_ahead(decode, batches):
            skipped.extend(damaged)
            # Without a reader there is nothing to score for.
            if not (given.csv or given.heat_maps or logs.is_read()):
                break
            if not kept:
                continue
            if given.heat_maps is None:
                scores = _scores(model, images)
            else:
                scores, maps = _scores_and_heat_maps(model, images)
                _write_heat_maps(given.heat_maps, n_scored, kept, images, maps)
            called = (scores < threshold).astype(int)
            for path, score, is_minority in zip(kept, scores, called, strict=True):
                print(f"{printable(path):<{width}}  {score:>12.6g}  {is_minority}")
                # Nine digits name a float32 exactly.
                write_row([path, f"{score:.9g}", is_minority])
            n_scored, n_minority = n_scored + len(kept), n_minority + called.sum()
    speed = n_scored / (time.perf_counter() - started)
    print()
    cli.tell_passed_over(search.passed_over)
    cli.tell_files("Skipped {} unreadable files", skipped, most=None)
    # Threads have found these.
    constant, clipped = sorted(odd.constant), sorted(odd.clipped)
    cli.tell_files("Scored all the same: {} images of a single colour", constant)
    cli.tell_files("Clipped to black and white: {} images", clipped)
    for written in filter(None, (given.csv, given.heat_maps)):
        print(f"Written: {printable(written)}")
    images = "image" if n_scored == 1 else "images"
    state = f"threshold {threshold:.6g}{'' if calibration else ', not calibrated'}"
    called = f"{n_minority} called minority ({state})"
    print(f"{n_scored} {images}, {called}, {speed:.1f} images a second")
    return 0


def _to_shards(given: Options) -> int:
    """Scores as a job of shards."""
    from egan_keras import scale

    if given.csv or given.heat_maps:
        raise ValueError(
            "Shards take the place of a CSV file and of heat maps; expected --out "
            f"alone. Received: --out {given.out} with another. Leave one out."
        )
    model = runs.load_model(given.model)
    path = runs.model_path(given.model)
    is_export = path.suffix.lower() == ".tflite"

    def network() -> tuple[bytes, list[int]]:
        if is_export:
            return path.read_bytes(), []
        logs.tell("Making the network that workers run")
        return importlib.import_module("egan_keras.scale.networks").score_network(model)

    job = scale.Job(
        kind=scale.SCORES,
        model=shards.recognised(path),
        is_export=is_export,
        images=tuple(map(shards.absolute, given.images)),
        shard_size=given.shard_size,
        threshold=float(model.threshold),
        gray_range=given.gray_range or _gray_range(given.model, model),
    )
    return shards.compute(given, job, shards.absolute(given.out), network)


def _gray_range(run: Path, model: Any) -> options.GrayRange | None:
    """Returns the values that were black and white where the model was trained."""
    if run.suffix.lower() == ".tflite":
        found = model.metadata["input"].get("gray_range")
        return found and tuple(found)
    is_run = (run / runs.CONFIG).is_file()
    return runs.RunConfig.load(run).gray_range if is_run else None


def _prepare_heat_maps(folder: Path, model: Any, count: int) -> None:
    """Makes the folder, and refuses what would stand in the way of the pictures."""
    if not model.judges_places:
        raise ValueError(
            "This model gives scores alone, without places to point at; expected a run "
            "of recipe default, or its .tflite file exported with --heat-map. Received:"
            " --heat-maps. Leave it out, or train or export again."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            "There is something already where the heat maps would go; expected a new "
            f"or empty folder. Received: --heat-maps {str(folder)!r}. Name another one."
        )
    folder.mkdir(parents=True, exist_ok=True)
    height, width = model.image_shape[:2]
    files.check_space(folder / "0.png", 4 * height * width * count, "the heat maps")


def _scores(model: Any, images: np.ndarray) -> np.ndarray:
    if hasattr(model, "judge_batch"):
        return model.judge_batch(images)[0]
    return model.predict_on_batch(images)[:, 0]


def _scores_and_heat_maps(model: Any, images: np.ndarray) -> tuple:
    """Returns scores (n,) and heat maps (n, h, w), a few images at a time."""
    parts = [
        model.scores_and_heat_maps(images[start : start + _MAPS_AT_ONCE])
        for start in range(0, len(images), _MAPS_AT_ONCE)
    ]
    scores, maps = map(np.concatenate, zip(*parts, strict=True))
    return scores[:, 0], maps


def _write_heat_maps(
    folder: Path, first: int, paths: Sequence[Path], images: np.ndarray, maps
) -> None:
    """Writes pictures of images beside themselves under their heat maps."""
    rows = zip(paths, images, maps, strict=True)
    for number, (path, image, heat) in enumerate(rows, first + 1):
        both = np.hstack([image, rooms.evaluation.overlaid(image, heat)])
        name = f"{number:05}_{path.stem[:_LONGEST_STEM]}.png"
        files.write_atomically(
            folder / name, lambda place, both=both: Image.fromarray(both).save(place)
        )


@contextlib.contextmanager
def _csv_rows(path: Path | None) -> Iterator[Callable[[Sequence[Any]], Any]]:
    """Gives what writes a row of the file, which is there once all are written."""
    if path is None:
        yield lambda row: None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Names whose bytes are no text keep their bytes.
    encoding = {"encoding": "utf-8", "errors": "surrogateescape"}
    with (
        files.whole_file(path) as temporary,
        temporary.open("w", newline="", **encoding) as file,
    ):
        rows = csv.writer(file)
        rows.writerow(_COLUMNS)
        yield rows.writerow
