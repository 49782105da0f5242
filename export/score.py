"""Scores images with an exported model, without TensorFlow or egan_keras.

    python score.py egan.tflite photographs --csv scores.csv

Exit codes: 0 done, 1 a golden sample or the SHA-256 is wrong (--verify), 2 wrong input.
"""

import argparse
import math
import os
import signal
import sys
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import heat_maps
from decoding import GrayRange, deep_among, warn_of_depths
from description import ChangedModelError, in_words, read_beside
from finding import SUFFIXES, ImageSearch
from finding import in_words as counts_in_words
from golden import read_samples, verify
from images import UnreadableImageError, decode_ahead
from model import Model, load, read
from output import (
    Output,
    Row,
    printed,
    replace,
    without_messages,
    write_csv,
    write_json,
)
from text import first_few, printable

_DESCRIPTION = """\
Score images with an exported model: high for the majority, low for the minority.

Prints path, score and is_minority (1 where the score is below the model's threshold,
else 0) of each image, in the order of the arguments, those of a folder sorted by path.
"""
_EPILOG = """\
Examples:
  python score.py egan.tflite photographs --csv scores.csv
  python score.py egan.tflite --info
  python score.py egan.tflite --verify
"""
# What a shell gives for a program stopped by Ctrl-C.
_INTERRUPTED = 130


class Scoring:
    """Scores image files one after the other and counts.

    Args:
        model: that scores.
        search: what has found the image files.
        paths: the image files.
        gray_range: as for `decode_image`.
        skip_unreadable: leave out damaged files instead of stopping.
        heat_maps: folder to write pictures to, or None.
    """

    def __init__(
        self,
        model: Model,
        search: ImageSearch,
        paths: list[Path],
        gray_range: GrayRange | None,
        skip_unreadable: bool,
        heat_maps: Path | None = None,
    ) -> None:
        self._model = model
        self._gray_range = gray_range
        self._skip_unreadable = skip_unreadable
        self._heat_maps = heat_maps
        self.paths = paths
        self.passed_over = search.passed_over
        self.skipped: list[UnreadableImageError] = []
        self.constant: list[Path] = []
        self.clipped: list[Path] = []
        self.n_scored = 0
        self.n_minority = 0

    def counts(self) -> dict[str, Any]:
        """Return what became of files so far, for JSON."""
        return {
            "n_skipped": len(self.skipped),
            "passed_over": self.passed_over,
            "n_constant": len(self.constant),
            "n_clipped": len(self.clipped),
        }

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
            self.n_scored += 1
            if self._heat_maps is None:
                score, is_minority = self._model.score(image.pixels)
            else:
                found = self._model.score_and_heat_map(image.pixels)
                (score, is_minority), heat_map = found
                drawn = self.n_scored, path, image.pixels, heat_map
                heat_maps.write(self._heat_maps, *drawn)
            self.n_minority += is_minority
            yield path, score, is_minority


def main() -> int:
    """Run the command and return its exit code."""
    # Pillow warns of oddities in files that it reads all the same.
    warnings.filterwarnings("ignore", module="PIL")
    warnings.showwarning = _show_warning
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed
            setattr(sys, name, open(os.devnull, "w"))
        getattr(sys, name).reconfigure(errors="backslashreplace")
    arguments = _parse()
    program, output = Path(sys.argv[0]).name, Output()
    try:
        code = _run(arguments, output)
        output.flush()
        output.is_needed = True
        output.tell_failure()
        return code
    except KeyboardInterrupt:
        print(f"\n{program}: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        return 0  # whoever read the output has seen enough
    except (OSError, ValueError) as error:
        print(f"{program}: error: {printable(error)}", file=sys.stderr)
        return 2


def _show_warning(message: Warning, *_: object) -> None:
    """Print a warning as a sentence."""
    print(f"{Path(sys.argv[0]).name}: warning: {printable(message)}", file=sys.stderr)


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
    for name in ("csv", "json"):
        form.add_argument(
            f"--{name}",
            metavar="FILE",
            nargs="?",
            type=Path,
            const=True,
            help=f"also write {name.upper()} to a file, replaced once all images are "
            f"scored; without FILE, print {name.upper()}, not a table",
        )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="write there what would be printed, and print nothing",
    )
    parser.add_argument(
        "--heat-maps",
        metavar="DIR",
        type=Path,
        help="also write, for each image, a picture NUMBER_NAME.png of it beside "
        "itself with what speaks for minority coloured: strongest where that is enough "
        "to bring an else usual image to score 0. The model must have been exported "
        "with --heat-map",
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
    named = arguments.csv or arguments.json
    files = [path for path in (named, arguments.out) if isinstance(path, Path)]
    for path in files:
        if path.is_dir() or path.suffix.lower() in SUFFIXES:
            parser.error(
                "--csv, --json and --out take a file to write; expected images before "
                f"them. Received: {str(path)!r}"
            )
    alone = arguments.info or arguments.verify
    if alone == bool(arguments.images):
        parser.error("expected images, or one of --info and --verify")
    if alone and (named or arguments.out or arguments.heat_maps):
        parser.error("--csv, --json, --out and --heat-maps go with images only")
    if len(files) > 1:
        parser.error("--out: expected one file to write. Received: two")
    if arguments.threads < 1:
        parser.error(f"--threads: expected at least 1. Received: {arguments.threads}")
    return arguments


def _run(arguments: argparse.Namespace, output: Output) -> int:
    """Do as the options say and return the exit code."""
    if arguments.verify:
        return _verify(arguments, output)
    model = _load(arguments)
    if arguments.info:
        output.write(f"{in_words(model.description)}\n")
        return 0
    return _score(model, arguments, output)


def _load(arguments: argparse.Namespace) -> Model:
    with without_messages():
        return load(arguments.model, threads=arguments.threads, trust=arguments.trust)


def _verify(arguments: argparse.Namespace, output: Output) -> int:
    """Check the golden samples and return 1 if one fails."""
    path = arguments.model
    try:
        beside = read_beside(path, read(path))
        if beside is None:
            raise ValueError(
                "There is no JSON beside the model that names its SHA-256 and golden "
                f"samples. Received: model={str(path)!r}. Copy the files that "
                "`egan-keras export` wrote beside the model, too."
            )
        model = _load(arguments)
    except ChangedModelError as error:
        output.write(f"FAILED  {printable(error)}\n")
        return 1
    samples = read_samples(beside, path.parent)
    output.write("ok      SHA-256, and the JSON tells what the model does\n")
    n_passed = 0
    for passed, line in verify(model, samples):
        output.write(f"{line}\n")
        n_passed += passed
    output.write(
        f"{n_passed} of {len(samples)} golden samples are scored as when the model was "
        f"exported (tolerance {samples[0].tolerance:g})\n"
    )
    return 0 if n_passed == len(samples) else 1


def _score(model: Model, arguments: argparse.Namespace, output: Output) -> int:
    """Score images and return 0."""
    search = ImageSearch()
    paths = [path for given in arguments.images for path in search.add(given)]
    gray_range = arguments.gray_range or model.description.gray_range
    if gray_range is None:
        warn_of_depths(deep_among(paths))
    if arguments.heat_maps is not None:
        if not model.has_heat_maps:
            raise ValueError(
                "The model gives scores alone; expected one that `egan-keras export "
                f"--heat-map` wrote. Received: --heat-maps {arguments.heat_maps}. "
                "Leave it out, or export the model again."
            )
        heat_maps.prepare(arguments.heat_maps)
    options = arguments.skip_unreadable, arguments.heat_maps
    scoring = Scoring(model, search, paths, gray_range, *options)

    def write(file: Any, rows: Iterable[Row]) -> None:
        if arguments.csv:
            write_csv(file, rows)
        elif arguments.json:
            write_json(file, rows, scoring.counts)
        else:
            deque(printed(file, rows, paths), maxlen=0)

    named = arguments.csv or arguments.json
    started = time.perf_counter()
    # What stands in the way of printing must not end files.
    output.is_needed = not (isinstance(named, Path) or arguments.heat_maps)
    if isinstance(named, Path):
        rows = printed(output, scoring.rows(), paths)
        replace(named, lambda file: write(file, rows))
    elif arguments.out is not None:
        replace(arguments.out, lambda file: write(file, scoring.rows()))
    else:
        if arguments.csv:
            # Its names are those of the files, whatever the terminal shows.
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
        write(output, scoring.rows())
    output.flush()
    seconds = time.perf_counter() - started
    for error in scoring.skipped:
        print(f"Skipped: {printable(error)}", file=sys.stderr)
    if scoring.passed_over:
        print(f"Passed over: {counts_in_words(scoring.passed_over)}", file=sys.stderr)
    for what, files in (
        ("Scored all the same, of a single colour", scoring.constant),
        ("Clipped to black and white", scoring.clipped),
    ):
        if files:
            named = first_few(files)
            print(f"{what}: {len(files)} images: {named}", file=sys.stderr)
    print(
        f"{scoring.n_scored} images, {scoring.n_minority} called minority, "
        f"{len(scoring.skipped)} skipped, {scoring.n_scored / seconds:.1f} images a "
        "second",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
