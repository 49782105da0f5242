"""Tell whether a run's guarantee still holds: are these images like those before?

A threshold guarantees something on images drawn like those that it was set on.
This compares new ones, which need no labels, with the majority images held out
from training: do they score lower, or lie further off, than chance explains?

Minority images look like a change, too: leave out those that are known, if they
are more than a few in a hundred.

Exit codes: 0 nothing found; 1 the images differ; others as `egan-keras --help`
lists them.

Examples:
  egan-keras check runs/a images_of_today
  egan-keras check runs/a images_of_today --csv checked.csv
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from egan_keras import cli, files, logs
from egan_keras.cli import options, rooms, run_results, runs
from egan_keras.cli.options import option, share
from egan_keras.text import printable

_COLUMNS = ("path", "score", "is_minority", "distance", "is_unlike_anything")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.ReadingOptions):
    """All options of `check`.

    Attributes:
        folder: folder written by `train`
        images: image files, and folders to search with all below them
        csv: also write each image's score, decision and distance, and whether it is
            unlike anything seen in training; replaces the file
        level: how often to warn, by chance, of images that are drawn alike
    """

    folder: Path = option(flag="", metavar="RUN")
    images: list[Path] = option(
        flag="", metavar="IMAGE_OR_FOLDER", nargs="+", type=Path
    )
    csv: Path | None = option(None, metavar="FILE")
    level: float = option(0.01, type=share)


def run(given: Options) -> int:
    """Scores the images, compares them, and says what was found."""
    if given.csv is not None:
        options.check_file("--csv", given.csv)
    config, data = runs.RunConfig.load(given.folder), rooms.data
    held_out = run_results.reference(given.folder, config)
    if held_out is None:
        raise ValueError(
            "The run holds no scores of held-out majority images to compare with; "
            f"expected them in {runs.SCORES}. Received: {str(given.folder)!r}. "
            "Make them: egan-keras calibrate RUN --data ROOT, or train again."
        )
    search = data.finding.ImageSearch()
    paths = [path for named in given.images for path in search.add(named)]
    model = runs.load_model(given.folder)
    gray_range, skipped = given.gray_range or config.gray_range, []
    if given.skip_unreadable:
        paths, skipped = data.images.decodable(paths, gray_range)
    cli.tell_files(cli.SKIPPED, skipped)
    images = data.ImageFiles(paths, tuple(config.image_shape[:2]), gray_range)
    logs.tell(f"Scoring {len(paths):,} images")
    judged = model.judge(images)
    cli.tell_passed_over(search.passed_over)
    found = rooms.evaluation.shift(judged.scores, judged.distances, *held_out)
    called = judged.scores < model.threshold
    print(f"{len(paths):,} images, {np.sum(called):,} called minority")
    _tell(given, found, paths)
    if given.csv is not None:
        unknown = [""] * len(paths)
        distances = unknown if judged.distances is None else judged.distances
        told = paths, judged.scores, called.astype(int), distances
        given.csv.parent.mkdir(parents=True, exist_ok=True)
        with files.whole_table(given.csv, _COLUMNS) as table:
            table.writerows(zip(*told, found.is_alien.astype(int), strict=True))
        cli.tell_written([given.csv])
    differs = found.lowers_scores(given.level) or found.looks_different(given.level)
    differs = differs or found.is_alien.any()
    folder = next(filter(Path.is_dir, given.images), None)
    if folder is not None:
        cli.tell_next("review" if differs else "score", given.folder, folder)
    return cli.BLEMISHED if differs else 0


def _tell(given: Options, found: Any, paths: list[Path]) -> None:
    print(f"Compared with {found.n_reference:,} majority images held out:")
    print(f"  scores as low     p = {found.score_p:.3g}")
    if found.distance_p is not None:
        print(f"  as far off        p = {found.distance_p:.3g}")
    aliens = [path for path, alien in zip(paths, found.is_alien, strict=True) if alien]
    cli.tell_files("Unlike anything seen in training: {} images", aliens)
    if found.lowers_scores(given.level):
        print(
            "The images score lower than those that the threshold was set on: it calls "
            "more of them minority, and its guarantee does not hold for them. Look at "
            "them, and set it again on labelled images of today:\n"
            f"  egan-keras calibrate {printable(given.folder)} --data ROOT"
        )
    elif found.looks_different(given.level):
        print(
            "The images look different from those that the threshold was set on, but "
            "do not score lower. Look at some, and label a few."
        )
    else:
        print("Nothing speaks against the threshold's guarantee on these images.")
