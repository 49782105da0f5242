"""The folder of a training run: what it holds, how it is written and read."""

import contextlib
import csv
import dataclasses
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from egan_keras import files
from egan_keras.cli import ends
from egan_keras.cli.run_config import CONFIG, RunConfig, existing
from egan_keras.logs import start_keras
from egan_keras.text import first_few, printable

MODEL = "model.keras"
HISTORY = "history.csv"
REPORT = "report.json"
PLOTS = "plots"
SKIPPED = "Skipped {} unreadable files or images of a single colour"

_OF_A_RUN = (CONFIG, HISTORY, REPORT, PLOTS)


def tell_passed_over(passed_over: Mapping[str, int]) -> None:
    """Prints how many files and folders were passed over, by reason."""
    from egan_keras.data.finding import in_words  # slow to import

    if passed_over:
        print(f"Passed over: {in_words(passed_over)}")


def tell_files(what: str, paths: Sequence[Any], *, most: int | None = 5) -> None:
    """Prints what there is of some files, with their number at `{}`, and names some."""
    if paths:
        print(f"{what.format(len(paths))}: {first_few(paths, most)}")


def check_free(out: Path, *, overwrite: bool = False) -> None:
    """Refuses to write a run where something else is.

    Args:
        out: the run folder to be.
        overwrite: whether it may replace an earlier run.

    Raises:
        FileExistsError: if `out` is a file, or a folder that is not empty, unless it
            is a run and may be replaced.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if overwrite and (out / CONFIG).is_file():
        return
    if overwrite:
        raise FileExistsError(
            "What is there is not a run folder, so it is not overwritten; expected "
            f"a folder with {CONFIG} in it, an empty one or none. Received: "
            f"out={str(out)!r}. Name another folder."
        )
    raise FileExistsError(
        "The run folder exists already and is not empty; expected a new or an empty "
        f"one. Received: out={str(out)!r}. Name another folder, or replace it as a "
        "whole with --overwrite."
    )


@contextlib.contextmanager
def writing(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Gives a folder to write a run into, which becomes `out` when all is written.

    An earlier run at `out` stays until then. If an error or a signal comes after the
    model was written, the folder is kept beside `out`, so that the same command can be
    run again. What earlier commands left there that were killed is removed, or kept if
    there is a model in it.

    Args:
        out: the run folder to be; folders above it are made.
        overwrite: as for `check_free`.

    Raises:
        FileExistsError: as `check_free` does.
        FullDiskError: if there is no room.
    """
    check_free(out, overwrite=overwrite)
    target = out.resolve()
    with files.leftovers(target) as left:
        for folder in left:
            _tidy(folder, target)
    with files.telling_full_disk(out), files.workplace(target) as folder:
        try:
            yield folder
            with ends.saving("the run"):
                check_free(out, overwrite=overwrite)
                files.put_in_place(folder, target)
        finally:
            with ends.saving("the model"):
                if (folder / MODEL).is_file():
                    _keep(folder, target, "The model so far is kept")


def _tidy(folder: Path, target: Path) -> None:
    """Removes what a killed command left, or keeps its model."""
    size = files.in_units(files.size_of(folder))
    if (folder / MODEL).is_file() and not folder.name.endswith(files.REPLACED):
        _keep(
            folder, target, f"An earlier command was killed; its model ({size}) is kept"
        )
        return
    shutil.rmtree(folder, ignore_errors=True)
    print(
        f"Removed of an earlier command that was killed, {size}: {printable(folder)}",
        file=sys.stderr,
    )


def _keep(folder: Path, target: Path, what: str) -> None:
    """Gives a run that did not become its target a name that says so."""
    lacking = [name for name in _OF_A_RUN if not (folder / name).exists()]
    # On a full disk the name alone tells.
    with contextlib.suppress(ValueError, OSError):
        config = RunConfig.load(folder)
        dataclasses.replace(config, lacking=lacking).save(folder)
    name = f"{target.name}-{'unfinished' if lacking else 'complete'}"
    names = (f"{name}-{number}" if number > 1 else name for number in count(1))
    kept = next(each for each in map(target.with_name, names) if not each.exists())
    folder.rename(kept)
    without = f", without {', '.join(lacking)}" if lacking else ""
    print(f"{what}: {printable(kept / MODEL)}{without}", file=sys.stderr)


def save_model(model: Any, folder: Path) -> None:
    """Writes `model.keras` into a run folder, which a signal does not interrupt."""
    with ends.saving("the model"):
        files.write_atomically(folder / MODEL, model.save)


def save_history(history: Mapping[str, Sequence[float]], folder: Path) -> None:
    """Writes `history.csv`: a row for each epoch, numbered from 1."""

    def write(path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["epoch", *history])
            values = zip(*history.values(), strict=True)
            rows.writerows([epoch, *row] for epoch, row in enumerate(values, 1))

    files.write_atomically(folder / HISTORY, write)


def model_path(run: Path) -> Path:
    """Returns the file of the model of a run folder, or the file itself.

    Raises:
        FileNotFoundError: if it is not there.
    """
    if run.suffix.lower() in (".keras", ".tflite") and run.is_file():
        return run
    return existing(run, MODEL)


def load_model(run: Path) -> Any:
    """Loads the model of a run folder, of a .keras or of a .tflite file.

    Returns:
        An `EGAN`, or a `TFLiteModel`, which scores as one does.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is not a model of this package.
    """
    path = model_path(run)
    start_keras()
    if path.suffix.lower() == ".tflite":
        from egan_keras.exporting import load_tflite

        return load_tflite(path)

    import keras

    from egan_keras.model import EGAN  # registers the classes, too
    from egan_keras.model.archive import check_archive

    check_archive(path)
    try:
        model = keras.saving.load_model(path)
    # Keras answers damaged files with many types of exception.
    except Exception as error:
        # Keras tells the cause last, after the whole configuration.
        reason = str(error).rpartition("Exception encountered: ")[2][:300]
        raise ValueError(
            "The model cannot be loaded; expected a model saved by this package. "
            f"Received: {str(path)!r} ({type(error).__name__}: {reason}). Train again, "
            "or name another run."
        ) from error
    if not isinstance(model, EGAN):
        raise ValueError(
            "The file holds another kind of model; expected an EGAN. Received: "
            f"{str(path)!r}, a {type(model).__name__}. Name the folder of a run."
        )
    return model


def gray_range(run: Path, model: Any) -> tuple[float, float] | None:
    """Returns the values that are black and white in images of more than 8 bits.

    Args:
        run: as for `load_model`.
        model: what it returned.
    """
    if run.suffix.lower() == ".tflite":
        found = model.metadata["input"].get("gray_range")
        return None if found is None else tuple(found)
    return RunConfig.load(run).gray_range if (run / CONFIG).is_file() else None
