"""The folder of a training run: what it holds, how it is written and read."""

import contextlib
import csv
import dataclasses
import json
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from egan_keras.cli.starting import start_keras
from egan_keras.text import printable

MODEL = "model.keras"
CONFIG = "config.json"
HISTORY = "history.csv"
REPORT = "report.json"
PLOTS = "plots"
SKIPPED = "Skipped {} unreadable files or images of a single colour"

_NAMED_FILES = 5


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What is needed to run a training again, and what it ran on.

    Attributes:
        command: the command line.
        options: every option of `train` by its name with underscores, as resolved;
            beside them the splits' fractions.
        recipe: every choice of the recipe.
        image_shape: height, width and channels of the images.
        versions: of Python and of the packages that the result depends on.
        files: the paths below ROOT, by split (`train`, `validation`, `test`) and class.
        skipped: paths of the files left out because they cannot be read, or are of a
            single colour.
        passed_over: number of other files and folders below ROOT, by reason.
        epochs_completed: number of epochs trained.
        interrupted: whether training was interrupted.
        diverged_in_epoch: the epoch, from 1, in which training diverged; None if not.
    """

    command: str
    options: dict[str, Any]
    recipe: dict[str, Any]
    image_shape: Sequence[int]
    versions: dict[str, str]
    files: dict[str, dict[str, list[str]]]
    skipped: Sequence[str]
    passed_over: Mapping[str, int] = dataclasses.field(default_factory=dict)
    epochs_completed: int = 0
    interrupted: bool = False
    diverged_in_epoch: int | None = None

    def save(self, folder: Path) -> None:
        """Writes `config.json` into a run folder."""
        text = json.dumps(dataclasses.asdict(self), indent=2, allow_nan=False)
        _write(folder / CONFIG, lambda path: path.write_text(text + "\n", "utf-8"))

    @classmethod
    def load(cls, run: Path) -> "RunConfig":
        """Reads the `config.json` of a run folder.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is not what `save` wrote.
        """
        path = _existing(run, CONFIG)
        try:
            values = json.loads(path.read_text("utf-8"))
            return cls(**values)
        except (ValueError, TypeError) as error:
            raise ValueError(
                "The configuration of the run cannot be read; expected what "
                f"`egan-keras train` wrote. Received: {str(path)!r} ({error}). Train "
                "again, or name another run."
            ) from error

    @property
    def gray_range(self) -> tuple[float, float] | None:
        """The values that are black and white in images of more than 8 bits."""
        found = self.options.get("gray_range")
        return None if found is None else tuple(found)

    def report_values(self) -> dict[str, Any]:
        """Returns what `report.json` tells of the training."""
        values = {
            "seed": self.options["seed"],
            "n_skipped": len(self.skipped),
            "n_passed_over": sum(self.passed_over.values()),
        }
        if self.diverged_in_epoch is not None:
            values["diverged_in_epoch"] = self.diverged_in_epoch
        return values


def tell_passed_over(passed_over: Mapping[str, int]) -> None:
    """Prints how many files and folders were passed over, by reason."""
    from egan_keras.data.finding import in_words  # slow to import

    if passed_over:
        print(f"Passed over: {in_words(passed_over)}")


def tell_files(
    what: str, paths: Sequence[Any], *, most: int | None = _NAMED_FILES
) -> None:
    """Prints what there is of some files, with their number at `{}`, and names some."""
    if paths:
        named = ", ".join(map(printable, paths[:most]))
        more = ", ..." if len(paths) > len(paths[:most]) else ""
        print(f"{what.format(len(paths))}: {named}{more}")


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

    An earlier run at `out` stays until then. If an error or Ctrl-C comes after the
    model was written, the folder is kept: as `out` where that is free, else beside it.

    Args:
        out: the run folder to be; folders above it are made.
        overwrite: as for `check_free`.

    Raises:
        FileExistsError: as `check_free` does.
    """
    check_free(out, overwrite=overwrite)
    mark = uuid.uuid4().hex[:8]
    target = out.resolve()
    folder = target.with_name(f".{target.name}.{mark}.unfinished")
    folder.mkdir(parents=True)
    try:
        yield folder
        check_free(out, overwrite=overwrite)
    except BaseException:
        if (folder / MODEL).is_file():
            kept = _keep_unfinished(folder, out)
            print(f"The model so far is kept: {kept / MODEL}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    _put_in_place(folder, target, target.with_name(f".{target.name}.{mark}.replaced"))


def _keep_unfinished(folder: Path, out: Path) -> Path:
    """Renames an unfinished run to `out`, or to a name like it if that is taken."""
    kept, number = out, 1
    while kept.exists() and (not kept.is_dir() or any(kept.iterdir())):
        kept = out.with_name(f"{out.resolve().name}-unfinished-{number}")
        number += 1
    folder.replace(kept.resolve())
    return kept


def _put_in_place(folder: Path, target: Path, aside: Path) -> None:
    """Renames a finished run to its place, and removes what was there."""
    if target.exists():
        target.rename(aside)
    try:
        folder.rename(target)
    except OSError:
        if aside.exists():
            aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def save_model(model: Any, folder: Path) -> None:
    """Writes `model.keras` into a run folder."""
    _write(folder / MODEL, model.save)


def save_history(history: Mapping[str, Sequence[float]], folder: Path) -> None:
    """Writes `history.csv`: a row for each epoch, numbered from 1."""

    def write(path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["epoch", *history])
            values = zip(*history.values(), strict=True)
            rows.writerows([epoch, *row] for epoch, row in enumerate(values, 1))

    _write(folder / HISTORY, write)


def model_path(run: Path) -> Path:
    """Returns the file of the model of a run folder, or the file itself.

    Raises:
        FileNotFoundError: if it is not there.
    """
    if run.suffix.lower() in (".keras", ".tflite") and run.is_file():
        return run
    return _existing(run, MODEL)


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


def _existing(run: Path, name: str) -> Path:
    """Returns the path of one of a run's files, or says that there is no run."""
    path = run / name
    if not path.is_file():
        state = "lacks it" if run.is_dir() else "is no folder"
        raise FileNotFoundError(
            f"There is no run; expected a folder with {name}, as `egan-keras train` "
            f"writes it. Received: {str(run)!r}, which {state}. Check the path."
        )
    return path


def _write(path: Path, write: Any) -> None:
    from egan_keras.files import write_atomically  # slow to import

    write_atomically(path, write)
