"""Scores images with an exported model, without TensorFlow or egan_keras.

    python score.py egan.tflite photographs --csv --out scores.csv

Exit codes: 0 done, 1 a golden sample or the SHA-256 is wrong (--verify), 2 wrong input.
"""

import argparse
import csv
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from decoding import GrayRange
from depths import deep_among, warn_of_depths
from description import ChangedModelError, in_words, read_beside
from finding import ImageSearch
from finding import in_words as counts_in_words
from golden import read_samples, verify
from images import UnreadableImageError, decode_ahead
from model import Model, load, read
from text import printable

_DESCRIPTION = """\
Score images with an exported model: high for the majority, low for the minority.

Prints path, score and is_minority (1 where the score is below the model's threshold,
else 0) of each image, in the order of the arguments, those of a folder sorted by path.
"""
_EPILOG = """\
Examples:
  python score.py egan.tflite photographs --csv --out scores.csv
  python score.py egan.tflite --info
  python score.py egan.tflite --verify
"""
# What a shell gives for a program stopped by Ctrl-C.
_INTERRUPTED = 130
_NAMED_FILES = 5
_COLUMNS = ("path", "score", "is_minority")

Row = tuple[Path, float, int]


class Scoring:
    """Scores image files one after the other and counts.

    Args:
        model: that scores.
        search: what has found the image files.
        paths: the image files.
        gray_range: as for `decode_image`.
        skip_unreadable: leave out damaged files instead of stopping.
    """

    def __init__(
        self,
        model: Model,
        search: ImageSearch,
        paths: list[Path],
        gray_range: GrayRange | None,
        skip_unreadable: bool,
    ) -> None:
        self._model = model
        self._gray_range = gray_range
        self._skip_unreadable = skip_unreadable
        self.paths = paths
        self.passed_over = search.passed_over
        self.skipped: list[UnreadableImageError] = []
        self.constant: list[Path] = []
        self.clipped: list[Path] = []
        self.n_scored = 0
        self.n_minority = 0

    def rows(self) -> Iterator[Row]:
        """Yield path, score, and 1 for minority or 0.

        Raises:
            UnreadableImageError: if a file cannot be read.
        """
        for path, image in decode_ahead(self.paths, self._model.size, self._gray_range):
            if isinstance(image, UnreadableImageError):
                if not self._skip_unreadable:
                    raise image
                self.skipped.append(image)
                continue
            self.constant += [path] * image.is_constant
            self.clipped += [path] * image.is_clipped
            score, is_minority = self._model.score(image.pixels)
            self.n_scored += 1
            self.n_minority += is_minority
            yield path, score, is_minority


def main() -> int:
    """Run the command and return its exit code."""
    # Pillow warns of oddities in files that it reads all the same.
    warnings.filterwarnings("ignore", module="PIL")
    warnings.showwarning = _show_warning
    # Names of files need not be UTF-8.
    sys.stdout.reconfigure(errors="surrogateescape")
    sys.stderr.reconfigure(errors="backslashreplace")
    arguments = _parse()
    try:
        if arguments.verify:
            return _verify(arguments)
        model = load(arguments.model, threads=arguments.threads, trust=arguments.trust)
        if arguments.info:
            print(in_words(model.description))
            return 0
        return _score(model, arguments)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough; nothing more may be written to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, ValueError) as error:
        print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
        return 2


def _show_warning(message: Warning, *_: object) -> None:
    """Print a warning as a sentence."""
    print(f"{Path(sys.argv[0]).name}: warning: {message}", file=sys.stderr)


def _gray_range(text: str) -> GrayRange:
    """Read two numbers with a comma between them."""
    try:
        black, white = map(float, text.split(","))
        if black < white and math.isfinite(white - black):
            return black, white
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(
        "expected two numbers, the smaller one first, such as 0,4095, received "
        f"{text!r}"
    )


def _parse() -> argparse.Namespace:
    """Return the options, refusing those that do not go together."""
    parser = argparse.ArgumentParser(
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL.tflite", type=Path)
    parser.add_argument(
        "images",
        metavar="IMAGE_OR_FOLDER",
        nargs="*",
        help="image files, and folders to search with all folders below them",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="write CSV, not a table")
    form.add_argument("--json", action="store_true", help="write JSON, not a table")
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="write to a file, replaced once all images are scored",
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=int,
        default=1,
        help="threads that share the work on one image (default: 1); others decode "
        "the next images",
    )
    parser.add_argument(
        "--gray-range",
        metavar="BLACK,WHITE",
        type=_gray_range,
        help="values that are black and white in grayscale images of more than 8 bits; "
        "before a negative number write --gray-range= (default: the model's)",
    )
    parser.add_argument(
        "--skip-unreadable",
        action="store_true",
        help="leave out and count images that cannot be read, instead of stopping",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="load the model without trying it in another process first, which a "
        "damaged file can crash",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--info", action="store_true", help="tell what the model is, and stop"
    )
    instead.add_argument(
        "--verify",
        action="store_true",
        help="check the model's SHA-256 and its golden samples, which the JSON beside "
        "it names, and stop",
    )
    arguments = parser.parse_intermixed_args()
    alone = arguments.info or arguments.verify
    if alone == bool(arguments.images):
        parser.error("expected images, or one of --info and --verify")
    if alone and (arguments.csv or arguments.json or arguments.out):
        parser.error("--csv, --json and --out go with images only")
    if arguments.out is not None and not arguments.out.absolute().parent.is_dir():
        parser.error(f"--out: there is no such folder. Received: {arguments.out}")
    if arguments.threads < 1:
        parser.error(f"--threads: expected at least 1. Received: {arguments.threads}")
    return arguments


def _verify(arguments: argparse.Namespace) -> int:
    """Check the golden samples and return 1 if one fails."""
    path = arguments.model
    try:
        beside = read_beside(path, read(path))
    except ChangedModelError as error:
        print(f"FAILED  SHA-256  {error}")
        return 1
    if beside is None:
        raise ValueError(
            "There is no JSON beside the model that names its SHA-256 and golden "
            f"samples. Received: model={str(path)!r}. Copy the files that "
            "`egan-keras export` wrote beside the model, too."
        )
    samples = read_samples(beside, path.parent)
    model = load(path, threads=arguments.threads, trust=arguments.trust)
    print("ok      SHA-256")
    n_passed = 0
    for passed, line in verify(model, samples):
        print(line)
        n_passed += passed
    print(
        f"{n_passed} of {len(samples)} golden samples are scored as when the model was "
        f"exported (tolerance {samples[0].tolerance:g})"
    )
    return 0 if n_passed == len(samples) else 1


def _score(model: Model, arguments: argparse.Namespace) -> int:
    """Score images and return 0."""
    search = ImageSearch()
    paths = [path for given in arguments.images for path in search.add(given)]
    gray_range = arguments.gray_range or model.description.gray_range
    if gray_range is None:
        warn_of_depths(deep_among(paths))
    scoring = Scoring(model, search, paths, gray_range, arguments.skip_unreadable)
    write = _write_table
    if arguments.csv:
        write = _write_csv
    elif arguments.json:
        write = _write_json
    started = time.perf_counter()
    if arguments.out is None:
        write(sys.stdout, scoring)
        sys.stdout.flush()
    else:
        _replace(arguments.out, write, scoring)
    seconds = time.perf_counter() - started
    for error in scoring.skipped:
        print(f"Skipped: {error}", file=sys.stderr)
    if scoring.passed_over:
        print(f"Passed over: {counts_in_words(scoring.passed_over)}", file=sys.stderr)
    for what, files in (
        ("Scored all the same, of a single colour", scoring.constant),
        ("Clipped to black and white", scoring.clipped),
    ):
        if files:
            named = ", ".join(map(printable, files[:_NAMED_FILES]))
            more = ", ..." if len(files) > _NAMED_FILES else ""
            print(f"{what}: {len(files)} images: {named}{more}", file=sys.stderr)
    print(
        f"{scoring.n_scored} images, {scoring.n_minority} called minority, "
        f"{len(scoring.skipped)} skipped, {scoring.n_scored / seconds:.1f} images a "
        "second",
        file=sys.stderr,
    )
    return 0


def _write_table(file: TextIO, scoring: Scoring) -> None:
    """Write columns for a person."""
    width = max(len(str(path)) for path in scoring.paths)
    file.write(f"{_COLUMNS[0]:<{width}}  {_COLUMNS[1]:>12}  {_COLUMNS[2]}\n")
    for path, score, is_minority in scoring.rows():
        file.write(f"{str(path):<{width}}  {score:>12.6g}  {is_minority}\n")


def _write_csv(file: TextIO, scoring: Scoring) -> None:
    """Write comma-separated values."""
    table = csv.writer(file, lineterminator="\n")
    table.writerow(_COLUMNS)
    for path, score, is_minority in scoring.rows():
        # Nine digits name a float32 exactly.
        table.writerow([path, f"{score:.9g}", is_minority])


def _write_json(file: TextIO, scoring: Scoring) -> None:
    """Write one object: the images' rows, and the files skipped."""
    rows = [
        dict(zip(_COLUMNS, (str(path), score, is_minority), strict=True))
        for path, score, is_minority in scoring.rows()
    ]
    counts = {
        "n_skipped": len(scoring.skipped),
        "passed_over": scoring.passed_over,
        "n_constant": len(scoring.constant),
        "n_clipped": len(scoring.clipped),
    }
    json.dump({"images": rows, **counts}, file, indent=2)
    file.write("\n")


def _replace(
    path: Path, write: Callable[[TextIO, Scoring], None], scoring: Scoring
) -> None:
    """Write a file under another name and rename it, so that none is half-written."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open(
            "w", encoding="utf-8", newline="", errors="surrogateescape"
        ) as file:
            write(file, scoring)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
