"""What a run shows of its model: the plots, and the page."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from egan_keras.cli import rooms, run_scores, runs
from egan_keras.text import first_few

_NAMED = 3
_OF_IMAGES = ("mistakes.png", "heat_maps.png")


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
    with rooms.evaluation.pages.without_failing(f"The page {runs.PAGE}"):
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
    found = [(root / p, score) for p, score in run_scores.read_suspects(folder)]
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
        f"Of the run's files {len(paths):,} {what}: {first_few(paths, _NAMED)}."
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
        names = first_few([Path(path).name for path in images.skipped], _NAMED)
        found.append(
            f"Of the files to judge {len(images.skipped):,} were skipped: {names}."
        )
    return found


def _passed_over(counts: Mapping[str, int], where: str) -> list[str]:
    told = rooms.data.finding.in_words(counts)
    return [f"Passed over {where}: {told}."] if counts else []
