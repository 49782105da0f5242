"""Set the threshold of a run's model again: nothing is trained anew.

It is set on the scores that the run's validation images had in training, or on
the images of another folder that the run was not trained on. The report, plots
and page of the run follow. A run that was interrupted becomes usable.

Examples:
  egan-keras calibrate runs/a --specificity 0.99
  egan-keras calibrate runs/a --miss-cost 50 --prevalence 0.01 --data new_images
  egan-keras calibrate runs/a --threshold -1.5
"""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np

from egan_keras import cli, logs
from egan_keras.cli import options, rooms, run_results, runs
from egan_keras.cli.options import option, positive, share_or_none
from egan_keras.cli.run_images import load_images


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.LabelledOptions):
    """All options of `calibrate`.

    Attributes:
        folder: folder written by `train`
        data: folder of held-out images to set the threshold on: the run's own, whose
            validation split is taken, or another one, all of which is taken that the
            run has not seen (default: the validation scores that the run holds)
    Threshold:
        specificity: at least P of majority images are not called minority (default:
            0.95, if nothing else is wished)
        sensitivity: at least P of minority images are called minority
        criterion: the best threshold by it on these images
        miss_cost: the least expected cost, where a minority image that is missed costs
            C times as much as a false alarm; needs --prevalence
        prevalence: share of minority images where the model will be used
        threshold: this number
        confidence: confidence of specificity or sensitivity; none guarantees nothing,
            and needs fewer images
    """

    folder: Path = option(flag="", metavar="RUN")
    data: Path | None = option(None, metavar="ROOT")
    specificity: float | None = option(None, exclusive=True)
    sensitivity: float | None = option(None, exclusive=True)
    criterion: Literal["f1", "youden"] | None = option(None, exclusive=True)
    miss_cost: float | None = option(None, metavar="C", type=positive, exclusive=True)
    threshold: float | None = option(None, metavar="X", type=float, exclusive=True)
    confidence: float | None = option(0.95, type=share_or_none)


def run(given: Options) -> int:
    """Sets the threshold, and writes the model and what follows from it."""
    config = runs.RunConfig.load(given.folder)
    model = runs.load_model(given.folder)
    kept = run_results.read_scores(given.folder, config)
    before = model.threshold
    if given.threshold is None:
        scored, folds = _held_out(given, config, model, kept)
        run_results.calibrate(model, scored, folds, **_wish(given))
    else:
        model.threshold = given.threshold
    runs.save_model(model, given.folder)
    print(f"Threshold {model.threshold:.6g}, before {before:.6g}.")
    print(model.calibration.guarantee)
    _report_again(given, config, model, kept.get("test"))
    # What was exported before has the threshold of then.
    words = cli.export_words(given.folder)
    cli.tell_next(*words, page=given.folder / runs.PAGE)
    return 0


def _wish(given: Options) -> dict[str, Any]:
    wish = options.some(given, "specificity sensitivity criterion miss_cost")
    if all(value is None for value in wish.values()):
        wish["specificity"] = 0.95
    if given.miss_cost is not None:
        wish["prevalence"] = given.prevalence
    return wish | {"confidence": given.confidence}


def _held_out(
    given: Options, config: runs.RunConfig, model: Any, kept: dict[str, Any]
) -> tuple[Any, int | None]:
    """Returns scores to set the threshold on, and of how many folds they are."""
    split, folds = "validation", None
    if split not in kept:
        split, folds = run_results.CROSS_FITTED, config.options.get("cross_fit")
    if given.data is None and split in kept:
        found, count = kept[split], len(kept[split].paths)
        logs.tell(f"Setting the threshold on the scores of {count:,} {split} images")
        unseen = np.zeros(count, bool)
        return rooms.model.Scored(found.scores, found.labels, unseen), folds
    root = given.data or Path(config.options["data"])
    reading = options.some(given, options.READING)
    chosen = load_images(config, root, own_split="validation", **reading)
    for note in chosen.notes:
        print(note)
    logs.tell(f"Scoring {len(chosen.images):,} images to set the threshold on")
    return model.score_labelled(chosen.images.images, chosen.images.labels), None


def _report_again(
    given: Options, config: runs.RunConfig, model: Any, test: Any
) -> None:
    """Writes report, plots and page of the run's test images anew.

    `test` are the scores that they had in training, if the run holds them.
    """
    images = _test_images(config, given.data)
    if test and images is not None and len(images) != len(test.paths):
        images = None
    plots, page = given.folder / runs.PLOTS, given.folder / runs.PAGE
    how = {"prevalence": given.prevalence or config.options["prevalence"]}
    how["groups"] = (images and images.groups) or None
    how["extra"] = config.report_values(split="test")
    if test:
        report = rooms.evaluation.report_on_scores(
            model, test.scores, test.labels, most_like=test.most_like, **how
        )
    elif images:
        logs.tell(f"Scoring {len(images):,} test images")
        report = rooms.evaluation.evaluate(model, images.images, images.labels, **how)
    else:
        for path in [given.folder / runs.REPORT, page, *plots.glob("*.png")]:
            path.unlink(missing_ok=True)
        print("There are no test images to report on anew, so the run has no report.")
        return
    told = {"config": config, "model": model}
    report.save(given.folder / runs.REPORT)
    run_results.save_plots_and_page(given.folder, given.folder, report, images, **told)
    print(f"\n{report}")
    written = [given.folder / name for name in (runs.MODEL, runs.REPORT)]
    cli.tell_written([*written, page, plots])


def _test_images(config: runs.RunConfig, root: Path | None) -> Any:
    """Returns the run's test images where all are there as they were, else None."""
    for place in filter(None, (root, Path(config.options["data"]))):
        with contextlib.suppress(ValueError, OSError):
            found = load_images(config, place, "test")
            if not (found.counts.get("n_gone") or found.counts.get("n_changed")):
                return found.images
    return None
