"""What a run tells of its model: scores of held-out images, the threshold, the page.

Suspects are those training images of the majority whose cross-fitted scores are lowest.
"""

import csv
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from egan_keras import files, logs
from egan_keras.cli import rooms, runs
from egan_keras.cli.options import TrainingOptions
from egan_keras.text import first_few

SUSPECTS = "suspects.csv"
CROSS_FITTED = "cross-fitted"
_FEWEST_SUSPECTS, _SHARE_OF_SUSPECTS = 20, 0.02
_COLUMNS = ["split", "path", "class", "score", "distance", "most_like"]
# Earlier versions wrote no more.
_FEWEST_COLUMNS = 5
_MOST_NAMED = 3
_OF_IMAGES = ("mistakes.png", "heat_maps.png")


class SplitScores(NamedTuple):
    """Images of a split with their scores; labels are 0 majority and 1 minority.

    Distances and classes are those of `model.Judged`, `None` where there are none.
    """

    paths: list[str]
    labels: np.ndarray
    scores: np.ndarray
    distances: np.ndarray | None
    most_like: np.ndarray | None = None


def set_threshold(
    model: Any,
    splits: Any,
    given: TrainingOptions,
    folder: Path,
    fitting: dict[str, Any],
    again: Callable[[], Any] | None,
) -> dict[str, tuple]:
    """Scores held-out images, or the majority cross-fitted, and sets the threshold.

    Returns paths, classes and what was judged of each split, for `write_scores`.
    """
    train, validation, _ = splits
    level = {"specificity": given.specificity, "confidence": given.confidence}
    scored = {}
    if train.minority_count:
        # Whose distances, unlike their scores, training has no part in.
        rows = np.flatnonzero(train.labels == 1)
        images, (paths, classes) = train.images.select(rows), _named(train, rows)
        model.learn_minority_classes(images, classes)
        if model.minority_classes:
            runs.save_model(model, folder)
        scored["train"] = paths, classes, model.judge(images)
    if len(validation):
        logs.tell(f"Scoring {len(validation):,} validation images")
        held_out = model.score_labelled(validation.images, validation.labels)
        # Copies of training images, where they are kept, would flatter.
        rows = np.flatnonzero(~held_out.trained_on)
        scored["validation"] = *_named(validation, rows), _judged(held_out, rows)
    if given.cross_fit:
        folds = given.cross_fit
        logs.tell(f"Training {folds} models, each without a part of the majority")
        fitting = fitting | {"verbose": 0, "validation_data": None}
        fitting |= {"folds": folds, "seed": given.seed, "groups": train.groups or None}
        held_out = rooms.model.cross_fitted_scores(
            again, train.images, train.labels, **fitting
        )
        paths, classes = _named(train, np.flatnonzero(train.labels == 0))
        scored[CROSS_FITTED] = paths, classes, _judged(held_out)
        _write_suspects(folder, given.data, paths, classes, held_out.scores)
    if given.specificity is not None:
        count = int(np.sum(held_out.labels == 0))
        what = CROSS_FITTED if given.cross_fit else "validation"
        logs.tell(f"Setting the threshold on {count:,} {what} majority images")
        calibrate(model, held_out, given.cross_fit, **level)
        runs.save_model(model, folder)
    return scored


def calibrate(model: Any, scored: Any, folds: int | None, **level: Any) -> None:
    """Sets the threshold of a model on scores, perhaps cross-fitted ones."""
    if folds:
        rooms.model.calibrate_cross_fitted(model, scored, folds, **level)
    else:
        model.calibrate_scored(scored, **level)


def _named(images: Any, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns paths and classes of some of the images."""
    return np.array(images.paths)[rows], np.array(images.class_names)[rows]


def _judged(scored: Any, rows: np.ndarray | slice = slice(None)) -> Any:
    found = (scored.scores, scored.distances, scored.most_like)
    return rooms.model.Judged(*(x if x is None else x[rows] for x in found))


def write_scores(folder: Path, root: Path, scored: Mapping[str, tuple]) -> None:
    """Writes paths, classes and what was judged, `model.Judged`, of splits."""
    with files.whole_table(folder / runs.SCORES, _COLUMNS) as table:
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


def _write_suspects(
    folder: Path,
    root: Path,
    paths: Sequence[str],
    classes: Sequence[str],
    scores: np.ndarray,
) -> None:
    """Writes `suspects.csv`, lowest scores first."""
    count = max(_FEWEST_SUSPECTS, int(_SHARE_OF_SUSPECTS * len(scores)))
    with files.whole_table(folder / SUSPECTS, ["path", "class", "score"]) as table:
        for row in np.argsort(scores, kind="stable")[:count]:
            below = Path(paths[row]).relative_to(root).as_posix()
            table.writerow([below, classes[row], _digits(scores[row])])


def read_suspects(folder: Path) -> list[tuple[str, float]]:
    """Returns the paths below the folder of images and the scores, lowest first."""
    path = folder / SUSPECTS
    if not path.is_file():
        return []
    with path.open(**files.CSV_FORM) as file:
        return [(row["path"], float(row["score"])) for row in csv.DictReader(file)]


def read_scores(folder: Path, config: runs.RunConfig) -> dict[str, SplitScores]:
    """Reads the scores of each split; none of a run that was never completed."""
    path = folder / runs.SCORES
    if not path.is_file():
        return {}
    minority, found = {*config.options["minority"]}, {}
    try:
        with path.open(**files.CSV_FORM) as file:
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


def _columns(rows: Sequence[tuple]) -> SplitScores:
    paths, labels, scores, distances, most_like = zip(*rows, strict=True)
    return SplitScores(
        list(paths),
        np.int32(labels),
        np.float32(scores),
        None if None in distances else np.float32(distances),
        np.array(most_like) if all(most_like) else None,
    )


def reference(folder: Path, config: runs.RunConfig) -> tuple | None:
    """Returns what a run knows of majority images held out, or cross-fitted, if any.

    That is their scores and distances, and the distances of the minority images trained
    on, as `evaluation.shift` takes them.
    """
    kept = read_scores(folder, config)
    found, train = kept.get("validation") or kept.get(CROSS_FITTED), kept.get("train")
    if found is None:
        return None
    rows = found.labels == 0
    distances = None if found.distances is None else found.distances[rows]
    known = () if train is None or train.distances is None else train.distances
    return found.scores[rows], distances, known


def _digits(number: float) -> str:
    # Nine of them name a float32 exactly.
    return f"{number:.9g}"


def save_plots_and_page(
    folder: Path,
    run: Path,
    report: Any,
    images: Any,
    *,
    config: runs.RunConfig,
    model: Any,
    history: Mapping[str, Sequence[float]] | None = None,
) -> None:
    """Writes plots and page of a report into the folder of a run.

    A page that cannot be made is warned of. Pictures of images are none without them.
    Further arguments are as for `save_page`.
    """
    plots, page = folder / runs.PLOTS, folder / runs.PAGE
    for stale in [page, *(plots / name for name in _OF_IMAGES)]:
        stale.unlink(missing_ok=True)
    shown = images and images.images
    names = images and [Path(path).name for path in images.paths]
    rooms.evaluation.save_plots(plots, report, shown, history, names, model)
    with rooms.evaluation.style.without_failing(f"The page {runs.PAGE}"):
        judged = {"config": config, "model": model, "history": history}
        save_page(page, run, report, images, **judged)


def save_page(
    path: Path,
    run: Path,
    report: Any,
    images: Any,
    *,
    config: runs.RunConfig,
    model: Any,
    history: Mapping[str, Sequence[float]] | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Writes the page of a report on a run's model; notes are further sentences.

    `run` is the folder as the reader will name it.
    """
    origin = rooms.evaluation.Origin(
        title=f"Report of {run.resolve().name}",
        run=shlex.quote(str(run)),
        command=config.command,
        troubles=[*notes, *_troubles(config)],
        settings=config.options,
        versions=config.versions,
    )
    shown = {"history": history, "origin": origin}
    if images is not None:
        # Of the run's own page, beside which they are.
        shown["suspects"] = _suspects(path.parent, config)
    report.save_html(path, images, model=model, **shown)


def _suspects(folder: Path, config: runs.RunConfig) -> Any:
    """Returns the run's suspects whose files are still there, if any."""
    root, size = Path(config.options["data"]), tuple(config.image_shape[:2])
    found = [(root / p, score) for p, score in read_suspects(folder)]
    found = [each for each in found if each[0].is_file()]
    if not found:
        return None
    paths, scores = zip(*found, strict=True)
    images = rooms.data.ImageFiles(paths, size, config.gray_range)
    return rooms.evaluation.Suspects(images=images, names=paths, scores=scores)


def _troubles(config: runs.RunConfig) -> list[str]:
    """Returns sentences on what was odd about a run's images and its training."""
    said = {
        "are in the splits though they equal another one": config.duplicates,
        "were left out, since they equal another one": config.dropped_duplicates,
        "were skipped, unreadable or of a single colour": config.skipped,
        "were changed while the run was made": config.changed,
    }
    found = [
        f"Of the run's files {len(paths):,} {what}: {first_few(paths, _MOST_NAMED)}."
        for what, paths in said.items()
        if paths
    ]
    found += _passed_over(config.passed_over, "beside the run's images")
    if config.interrupted or config.diverged_in_epoch is not None:
        how = "was interrupted" if config.interrupted else "diverged"
        found.append(f"Training {how} after {config.epochs_completed} epochs.")
    return found


def left_out(images: Any) -> list[str]:
    """Returns sentences on what was left out of images other than the run's."""
    found = _passed_over(images.passed_over, "beside the images judged")
    if images.skipped:
        names = first_few([Path(path).name for path in images.skipped], _MOST_NAMED)
        found.append(
            f"Of the files to judge {len(images.skipped):,} were skipped: {names}."
        )
    return found


def _passed_over(counts: Mapping[str, int], where: str) -> list[str]:
    told = rooms.data.finding.in_words(counts)
    return [f"Passed over {where}: {told}."] if counts else []
