r"""Score images with a run's model or its export: high = majority, low = minority.

Prints path, score and is_minority (1 where the score is below the threshold) of
each image; a run of several minority classes also tells which one it is most
like. Last comes a line that sums up; and of a run, whether the images are like
those that its threshold was set on, as `check` does.

With --out, for very many images, scores go there as shards of rows in Parquet,
beside manifest.json, which counts. The same command goes on where it was
stopped; a shard that fails three times is set aside. Images are paths or
addresses then, also .tar files of images and .parquet files with a column of
image files' bytes, and patterns of them in quotes.

Examples:
  egan-keras score runs/a new_images other/0001.png --csv scores.csv
  egan-keras score egan.tflite new_images
  egan-keras score runs/a new_images --heat-maps marked
  egan-keras score runs/a "s3://bucket/new-*.tar" --engine ray \
      --out s3://bucket/scores
"""

import contextlib
import dataclasses
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from egan_keras import cli, files, logs
from egan_keras.cli import features, options, rooms, run_results, runs
from egan_keras.cli.options import option
from egan_keras.text import printable

_COLUMNS, _OF_SEVERAL = ["path", "score", "is_minority"], "most_like"
# Read and scored at once, so that a large folder does not fill the memory.
_BATCH = 128
# Places take memory.
_MAPS_AT_ONCE = 16
_LONGEST_STEM = 80
# Of a row of the CSV file, at most.
_NUMBERS_BYTES = 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(features.ShardOptions, options.ReadingOptions):
    """All options of `score`.

    Attributes:
        model: folder written by `train`, or .tflite file written by `export`
        images: image files, and folders to search with all below them
        csv: also write what is printed of each image to a file; replaces it at the end
        heat_maps: also write, for each image, a picture of it with what speaks for
            minority coloured; of a .tflite file exported with --heat-map
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
    features.check_shards(given, given.out)
    config = runs.RunConfig.of_model(given.model)
    if given.out is not None:
        return _score_shards(given, config)
    held_out = config and run_results.reference(given.model, config)
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
    gray_range = _gray_range(given, config, model)
    if gray_range is None:
        data.decoding.warn_of_depths(headers.deep)
    # Beside the table, not in it.
    logs.tell(f"Scoring {len(paths):,} images", file=sys.stderr)

    def decode(batch: list[Path]) -> tuple:
        size = model.image_shape[:2]
        return data.images.decode_batch(batch, size, gray_range, odd=odd, **skip)

    started = time.perf_counter()
    # A model makes sure each time that its weights are those calibrated.
    threshold, calibration = model.threshold, model.calibration
    several = getattr(model, "minority_classes", None)
    columns = _COLUMNS + [_OF_SEVERAL] * bool(several)
    width = max((len(printable(path)) for path in paths), default=0)
    print(f"{columns[0]:<{width}}  {columns[1]:>12}  {'  '.join(columns[2:])}")
    batches = [paths[start : start + _BATCH] for start in range(0, len(paths), _BATCH)]
    n_scored, n_minority, judged = 0, 0, []
    with contextlib.ExitStack() as stack:
        # A .tflite file runs all passes alike.
        if hasattr(model, "pass_over"):
            stack.enter_context(model.pass_over(len(paths)))
        if given.csv is not None:
            given.csv.parent.mkdir(parents=True, exist_ok=True)
            table = stack.enter_context(files.whole_table(given.csv, columns))
        # Decoded while the batch before is scored.
        decoded = data.lazy.work_ahead(decode, batches)
        for images, kept, damaged in logs.shown(decoded, len(paths), size=_n_read):
            skipped.extend(damaged)
            # Without a reader there is nothing to score for.
            if not (given.csv or given.heat_maps or logs.is_read()):
                break
            if not kept:
                continue
            scores, distances, most_like = _judged(model, images)
            if given.heat_maps is not None:
                _write_heat_maps(given.heat_maps, n_scored, kept, images, model)
            called = (scores < threshold).astype(int)
            others = [called] if most_like is None else [called, most_like]
            for path, score, *told in zip(kept, scores, *others, strict=True):
                shown = "  ".join(f"{each:<{len(_COLUMNS[2])}}" for each in told)
                row = f"{printable(path):<{width}}  {score:>12.6g}  {shown}".rstrip()
                if told[0]:
                    row = logs.coloured(row, "minority", sys.stdout)
                print(row)
                if given.csv is not None:
                    # Nine digits name a float32 exactly.
                    table.writerow([path, f"{score:.9g}", *told])
            n_scored, n_minority = n_scored + len(kept), n_minority + called.sum()
            judged.append((scores, distances))
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
    if held_out and n_scored >= rooms.evaluation.FEWEST:
        _tell_likeness(given.model, held_out, judged)
    return 0


def _n_read(decoded: tuple[np.ndarray, list[Path], list[Path]]) -> int:
    return len(decoded[1]) + len(decoded[2])


def _tell_likeness(run: Path, held_out: tuple, judged: list[tuple]) -> None:
    """Says whether the images are like those that a run's threshold was set on."""
    scores, distances = zip(*judged, strict=True)
    known = None if distances[0] is None else np.concatenate(distances)
    with contextlib.suppress(ValueError):
        found = rooms.evaluation.shift(np.concatenate(scores), known, *held_out)
        far = ""
        if found.distance_p is not None:
            far = f", as far off p = {found.distance_p:.3g}"
        print(
            f"Beside {found.n_reference:,} majority images held out: scores as low "
            f"p = {found.score_p:.3g}{far}; unlike anything seen: "
            f"{found.is_alien.sum():,}. More: egan-keras check "
            f"{shlex.quote(str(run))} IMAGES"
        )


def _gray_range(
    given: Options, config: runs.RunConfig | None, model: Any
) -> options.GrayRange | None:
    """Returns the values that are black and white, as in training if none are told."""
    if given.gray_range or config:
        return given.gray_range or config.gray_range
    is_export = given.model.suffix.lower() == ".tflite"
    found = is_export and model.metadata["input"].get("gray_range")
    return tuple(found) if found else None


def _judged(model: Any, images: np.ndarray) -> tuple:
    """Returns what a run's model says of images; an exported one has scores alone."""
    if hasattr(model, "judge_batch"):
        return model.judge_batch(images)
    return model.predict_on_batch(images)[:, 0], None, None


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


def _write_heat_maps(
    folder: Path, first: int, paths: Sequence[Path], images: np.ndarray, model: Any
) -> None:
    """Writes pictures of images beside themselves under their heat maps."""
    maps = [
        heat
        for start in range(0, len(images), _MAPS_AT_ONCE)
        for heat in model.scores_and_heat_maps(images[start : start + _MAPS_AT_ONCE])[1]
    ]
    rows = zip(paths, images, maps, strict=True)
    for number, (path, image, heat) in enumerate(rows, first + 1):
        both = Image.fromarray(
            np.hstack([image, rooms.evaluation.overlaid(image, heat)])
        )
        name = f"{number:05}_{path.stem[:_LONGEST_STEM]}.png"
        files.write_atomically(folder / name, both.save)


def _score_shards(given: Options, config: runs.RunConfig | None) -> int:
    """Scores as a job of shards."""
    if given.csv or given.heat_maps:
        raise ValueError(
            "Shards take the place of a CSV file and of heat maps; expected --out "
            f"alone. Received: --out {given.out} with another. Leave one out."
        )
    model = runs.load_model(given.model)
    path = runs.model_path(given.model)
    is_export = path.suffix.lower() == ".tflite"
    if getattr(model, "minority_classes", None):
        logs.tell(f"Shards have no column {_OF_SEVERAL}: score without --out for it")

    if is_export and given.gpus:
        raise ValueError(
            "LiteRT computes on processors; expected a run, which Keras computes on "
            f"GPUs. Received: --gpus {given.gpus} with {str(path)!r}. Name the run, or "
            "leave --gpus out."
        )

    def network() -> Any:
        if is_export:
            return rooms.scale.Network(path.read_bytes())
        from egan_keras.scale.networks import score_network

        logs.tell("Making the network that workers run")
        return score_network(model)

    return features.compute_shards(
        given,
        network,
        kind=rooms.scale.SCORES,
        model=features.recognised(path),
        is_export=is_export,
        threshold=float(model.threshold),
        gray_range=_gray_range(given, config, model),
    )
