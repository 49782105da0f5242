"""`scores.csv`: what a run's model gave the images held out from its training."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from egan_keras import files
from egan_keras.cli import rooms, runs

NAME, SUSPECTS = runs.SCORES, "suspects.csv"
CROSS_FITTED = "cross-fitted"
_FEWEST_SUSPECTS, _SHARE_OF_SUSPECTS = 20, 0.02
_COLUMNS = ["split", "path", "class", "score", "distance", "most_like"]
# Earlier versions wrote no more.
_FEWEST_COLUMNS = 5
# Names whose bytes are no text keep their bytes.
FORM = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}


class SplitScores(NamedTuple):
    """Images of a split with their scores.

    Attributes:
        paths: Below the folder of images.
        labels: int32 (n,), 0 majority and 1 minority.
        scores: float32 (n,).
        distances: float32 (n,), see `model.Judged`; `None` where there are none.
        most_like: str (n,), see `model.Judged`; `None` where there are none.
    """

    paths: list[str]
    labels: np.ndarray
    scores: np.ndarray
    distances: np.ndarray | None
    most_like: np.ndarray | None = None

    def select(self, rows: np.ndarray) -> "SplitScores":
        """Returns some of the images."""
        paths = [self.paths[row] for row in rows]
        return SplitScores(paths, *(x if x is None else x[rows] for x in self[1:]))


def judged_of(scored: Any, rows: np.ndarray | slice = slice(None)) -> Any:
    """Returns what was judged of some of the images of a `model.Scored`."""
    found = (scored.scores, scored.distances, scored.most_like)
    return rooms.model.Judged(*(x if x is None else x[rows] for x in found))


def write(folder: Path, root: Path, scored: Mapping[str, tuple]) -> None:
    """Writes paths, classes and what was judged, `model.Judged`, of splits."""

    def rows(path: Path) -> None:
        with path.open("w", **FORM) as file:
            table = csv.writer(file)
            table.writerow(_COLUMNS)
            for split, (paths, classes, judged) in scored.items():
                unknown = [""] * len(paths)
                distances, most_like = judged.distances, judged.most_like
                told = (
                    map(_digits, judged.scores),
                    unknown if distances is None else map(_digits, distances),
                    unknown if most_like is None else most_like,
                )
                for place, name, *found in zip(paths, classes, *told, strict=True):
                    below = Path(place).relative_to(root).as_posix()
                    table.writerow([split, below, name, *found])

    files.write_atomically(folder / NAME, rows)


def write_suspects(
    folder: Path,
    root: Path,
    paths: Sequence[str],
    classes: Sequence[str],
    scores: np.ndarray,
) -> None:
    """Writes `suspects.csv`: those training images that score lowest, lowest first.

    The scores (n,) are cross-fitted ones of the majority.
    """
    count = max(_FEWEST_SUSPECTS, int(_SHARE_OF_SUSPECTS * len(scores)))

    def rows(path: Path) -> None:
        with path.open("w", **FORM) as file:
            table = csv.writer(file)
            table.writerow(["path", "class", "score"])
            for row in np.argsort(scores, kind="stable")[:count]:
                below = Path(paths[row]).relative_to(root).as_posix()
                table.writerow([below, classes[row], _digits(scores[row])])

    files.write_atomically(folder / SUSPECTS, rows)


def read_suspects(folder: Path) -> list[tuple[str, float]]:
    """Returns the paths below the folder of images and the scores, lowest first."""
    path = folder / SUSPECTS
    if not path.is_file():
        return []
    with path.open(**FORM) as file:
        return [(row["path"], float(row["score"])) for row in csv.DictReader(file)]


def read(folder: Path, config: runs.RunConfig) -> dict[str, SplitScores]:
    """Reads the scores of each split; none of a run that was never completed.

    Raises:
        ValueError: If the file is not as `write` wrote it.
    """
    path = folder / NAME
    if not path.is_file():
        return {}
    minority, found = {*config.options["minority"]}, {}
    try:
        with path.open(**FORM) as file:
            table = csv.reader(file, strict=True)
            if next(table, None) not in (_COLUMNS, _COLUMNS[:_FEWEST_COLUMNS]):
                raise ValueError(f"its first row is not {','.join(_COLUMNS)}")
            for split, place, name, *told in table:
                score, distance = (float(x) if x else None for x in told[:2])
                if not math.isfinite(score):
                    raise ValueError(f"the score of {place!r} is {score}")
                row = place, name in minority, score, distance, "".join(told[2:])
                found.setdefault(split, []).append(row)
    except (ValueError, TypeError, csv.Error) as error:
        raise ValueError(
            "The scores of the run cannot be read; expected what `egan-keras train` "
            f"wrote. Received: {str(path)!r} ({error}). Delete the file, and name the "
            "folder of images with --data."
        ) from error
    return {split: _columns(rows) for split, rows in found.items()}


def held_out_majority(kept: Mapping[str, SplitScores]) -> SplitScores | None:
    """Returns the majority images held out from training, or cross-fitted, if any."""
    found = kept.get("validation") or kept.get(CROSS_FITTED)
    if found is None:
        return None
    return found.select(np.flatnonzero(found.labels == 0))


def minority_distances(kept: Mapping[str, SplitScores]) -> Sequence[float]:
    """Returns how far the minority to train on lies from the majority, if known."""
    train = kept.get("train")
    return () if train is None or train.distances is None else train.distances


def _columns(rows: Sequence[tuple]) -> SplitScores:
    paths, labels, scores, distances, most_like = zip(*rows, strict=True)
    return SplitScores(
        list(paths),
        np.int32(labels),
        np.float32(scores),
        None if None in distances else np.float32(distances),
        np.array(most_like) if all(most_like) else None,
    )


def _digits(number: float) -> str:
    # Nine of them name a float32 exactly.
    return f"{number:.9g}"
