"""`egan-keras score`: which of these images are minority."""

import argparse
import csv
import itertools
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egan_keras import files, logs
from egan_keras.cli import options, runs
from egan_keras.text import printable

if TYPE_CHECKING:
    from egan_keras.data.images import Headers, Oddities

_DESCRIPTION = """\
Score images with a run's model or its export: high = majority, low = minority.

Prints path, score and is_minority (1 where the score is below the model's threshold,
else 0) of each image, in the order of the arguments, those of a folder sorted by path;
then a line that sums up.
"""
_EPILOG = """\
Examples:
  egan-keras score runs/a new_images other/0001.png --csv scores.csv
  egan-keras score egan.tflite new_images
"""
_COLUMNS = ("path", "score", "is_minority")
# Read and scored at once, so that a large folder does not fill the memory.
_BATCH = 128
# Of a row of the CSV file, at most.
_NUMBERS_BYTES = 24

Row = tuple[Path, float, int]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "score",
        help="score images with a run's model or a .tflite file",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=options.HelpFormatter,
    )
    parser.add_argument(
        "model",
        metavar="RUN_OR_TFLITE",
        type=Path,
        help="folder written by `train`, or .tflite file written by `export`",
    )
    parser.add_argument(
        "images",
        metavar="IMAGE_OR_FOLDER",
        nargs="+",
        help="image files, and folders to search with all folders below them",
    )
    parser.add_argument(
        "--csv",
        metavar="FILE",
        type=Path,
        help="also write path, score and is_minority to a file; replaces the file once "
        "all images are scored",
    )
    options.add_gray_range_option(parser, "the model's")
    options.add_skip_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Scores as the options say.

    Returns:
        The exit code 0.

    Raises:
        ValueError: if the model cannot be loaded or an image not be read.
        FileNotFoundError: if the run or an image does not exist.
        OSError: if there is no room for the CSV file.
    """
    if arguments.csv is not None:
        options.check_file("--csv", arguments.csv)
    runs.model_path(arguments.model)
    logs.start_keras()
    found, passed_over = _find(arguments.images, arguments.skip_unreadable)
    paths, skipped = found.readable, found.unreadable
    if arguments.csv is not None:
        n_bytes = sum(len(os.fsencode(path)) + _NUMBERS_BYTES for path in paths)
        files.check_space(arguments.csv, n_bytes, "the scores")
    model = runs.load_model(arguments.model)

    from egan_keras.data.decoding import warn_of_depths  # slow to import
    from egan_keras.data.images import Oddities

    gray_range = arguments.gray_range or runs.gray_range(arguments.model, model)
    if gray_range is None:
        warn_of_depths(found.deep)
    odd = Oddities()
    # Beside the table, not in it.
    logs.tell(f"Scoring {len(paths):,} images", file=sys.stderr)
    started = time.perf_counter()
    rows = _printed(
        score_files(
            model,
            paths,
            skipped,
            gray_range=gray_range,
            skip_unreadable=arguments.skip_unreadable,
            odd=odd,
        ),
        width=max((len(printable(path)) for path in paths), default=0),
    )
    if arguments.csv is None:
        # Without a reader there is nothing to score for.
        rows = itertools.takewhile(lambda _: logs.is_read(), rows)
        called = [is_minority for _, _, is_minority in rows]
    else:
        called = _write_csv(rows, arguments.csv)
    seconds = time.perf_counter() - started
    print()
    runs.tell_passed_over(passed_over)
    runs.tell_files("Skipped {} unreadable files", skipped, most=None)
    for what, paths in (
        ("Scored all the same: {} images of a single colour", odd.constant),
        ("Clipped to black and white: {} images", odd.clipped),
    ):
        # Threads have found them.
        runs.tell_files(what, sorted(paths))
    if arguments.csv is not None:
        print(f"Written: {printable(arguments.csv)}")
    calibrated = "" if model.calibration else ", not calibrated"
    images = "image" if len(called) == 1 else "images"
    print(
        f"{len(called)} {images}, {sum(called)} called minority (threshold "
        f"{model.threshold:.6g}{calibrated}), {len(called) / seconds:.1f} images a "
        "second"
    )
    return 0


def score_files(
    model: Any,
    paths: list[Path],
    skipped: list[Path],
    *,
    gray_range: tuple[float, float] | None = None,
    skip_unreadable: bool = False,
    odd: "Oddities | None" = None,
) -> Iterator[Row]:
    """Yields path, score, and 1 for minority or 0, for one image after the other.

    Args:
        model: an `EGAN` or a `TFLiteModel`.
        paths: of the images.
        skipped: gets the paths of images that turn out damaged.
        gray_range: as for `egan_keras.read_images`.
        skip_unreadable: leave those out instead of stopping.
        odd: gets the paths of images that are scored, though something is odd about
            them; without it, those of a single colour count as damaged.

    Raises:
        ValueError: if an image is damaged.
    """
    from egan_keras.data.images import decode_batch
    from egan_keras.data.lazy import work_ahead  # slow to import

    def decode(start: int) -> tuple:
        chunk = paths[start : start + _BATCH]
        size = model.image_shape[:2]
        return decode_batch(
            chunk, size, gray_range, skip_unreadable=skip_unreadable, odd=odd
        )

    # A model makes sure each time that its weights are those calibrated.
    threshold = model.threshold
    # Decoded while the batch before is scored.
    for images, kept, damaged in work_ahead(decode, range(0, len(paths), _BATCH)):
        skipped.extend(damaged)
        if not kept:
            continue
        scores = model.predict_on_batch(images)[:, 0]
        called = scores < threshold
        for path, score, is_minority in zip(kept, scores, called, strict=True):
            yield path, float(score), int(is_minority)


def _find(
    arguments: list[str], skip_unreadable: bool
) -> tuple["Headers", Mapping[str, int]]:
    """Returns what the images' headers tell, and what was passed over, by reason."""
    from egan_keras.data.finding import ImageSearch  # slow to import
    from egan_keras.data.images import check_headers

    search = ImageSearch()
    found = [path for given in arguments for path in search.add(given)]
    any_size = 1
    headers = check_headers(found, image_size=any_size, skip_unreadable=skip_unreadable)
    return headers, search.passed_over


def _printed(rows: Iterable[Row], width: int) -> Iterator[Row]:
    """Yields the rows, printing each in columns."""
    print(f"{_COLUMNS[0]:<{width}}  {_COLUMNS[1]:>12}  {_COLUMNS[2]}")
    for path, score, is_minority in rows:
        print(f"{printable(path):<{width}}  {score:>12.6g}  {is_minority}")
        yield path, score, is_minority


def _write_csv(rows: Iterable[Row], path: Path) -> list[int]:
    """Writes the rows and returns their last column."""
    called = []

    def write(target: Path) -> None:
        # Names whose bytes are no text keep their bytes.
        options = {"encoding": "utf-8", "errors": "surrogateescape"}
        with target.open("w", newline="", **options) as file:
            table = csv.writer(file)
            table.writerow(_COLUMNS)
            for name, score, is_minority in rows:
                # Nine digits name a float32 exactly.
                table.writerow([name, f"{score:.9g}", is_minority])
                called.append(is_minority)

    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomically(path, write)
    return called
