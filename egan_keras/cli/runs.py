"""The folder of a training run: what it holds, how it is written and read."""

import contextlib
import csv
import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egan_keras import files, schemas
from egan_keras.cli import ends
from egan_keras.logs import start_keras
from egan_keras.schemas import COUNT, NAMES, SHARE, TEXT, listed, mapped, optional
from egan_keras.text import first_few, printable

if TYPE_CHECKING:
    from egan_keras.data import Splits

MODEL = "model.keras"
CONFIG = "config.json"
HISTORY = "history.csv"
REPORT = "report.json"
PLOTS = "plots"
SKIPPED = "Skipped {} unreadable files or images of a single colour"

_OF_A_RUN = (CONFIG, HISTORY, REPORT, PLOTS)

_FILES = mapped(listed(schemas.PATH))
_OPTIONS = {
    "data": TEXT,
    "majority": NAMES,
    "minority": NAMES,
    "minority_count": optional(COUNT),
    "ratio": optional(schemas.NOT_NEGATIVE),
    "validation_fraction": SHARE,
    "test_fraction": SHARE,
    "seed": COUNT,
    "prevalence": optional(SHARE),
}
# What earlier versions did not write.
_LATER_OPTIONS = {
    "gray_range": optional(schemas.GRAY_RANGE),
    "duplicates": optional(TEXT),
}
_CONFIG = schemas.record(
    {
        "command": TEXT,
        "options": schemas.record(_OPTIONS, _LATER_OPTIONS),
        "recipe": schemas.ANYTHING,
        "image_shape": {**listed(schemas.SIDE, at_least=3), "maxItems": 3},
        "versions": mapped(TEXT),
        "files": schemas.record(
            {"train": _FILES, "validation": _FILES, "test": _FILES}
        ),
        "skipped": listed(TEXT),
    },
    {
        "passed_over": mapped(COUNT),
        "hashes": mapped(mapped(listed(optional(TEXT)))),
        "unused": mapped(listed(schemas.PATH)),
        "duplicates": listed(TEXT),
        "dropped_duplicates": listed(TEXT),
        "changed": listed(TEXT),
        "lacking": listed(TEXT),
        "epochs_completed": COUNT,
        "interrupted": schemas.BOOLEAN,
        "diverged_in_epoch": optional(COUNT),
    },
)


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
        skipped: paths below ROOT of the files left out because they cannot be read, or
            are of a single colour.
        passed_over: number of other files and folders below ROOT, by reason.
        hashes: of the files' contents, in the order of `files`; empty in runs that
            earlier versions wrote.
        unused: paths of the minority images that training was not to have, by class.
        duplicates: paths of the files in the splits that equal an earlier one.
        dropped_duplicates: paths of those left out because they equal another one.
        changed: paths of the files that were changed while the run was made.
        epochs_completed: number of epochs trained.
        interrupted: whether training was interrupted.
        diverged_in_epoch: the epoch, from 1, in which training diverged; None if not.
        lacking: names of what the run lacks, because its command ended early.
    """

    command: str
    options: dict[str, Any]
    recipe: dict[str, Any]
    image_shape: Sequence[int]
    versions: dict[str, str]
    files: dict[str, dict[str, list[str]]]
    skipped: Sequence[str]
    passed_over: Mapping[str, int] = dataclasses.field(default_factory=dict)
    hashes: dict[str, dict[str, list[str]]] = dataclasses.field(default_factory=dict)
    unused: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    duplicates: Sequence[str] = dataclasses.field(default_factory=list)
    dropped_duplicates: Sequence[str] = dataclasses.field(default_factory=list)
    changed: Sequence[str] = dataclasses.field(default_factory=list)
    epochs_completed: int = 0
    interrupted: bool = False
    diverged_in_epoch: int | None = None
    lacking: Sequence[str] = dataclasses.field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Writes `config.json` into a run folder."""
        text = json.dumps(dataclasses.asdict(self), indent=2, allow_nan=False)
        files.write_atomically(
            folder / CONFIG, lambda path: path.write_text(text + "\n", "utf-8")
        )

    @classmethod
    def load(cls, run: Path) -> "RunConfig":
        """Reads the `config.json` of a run folder.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is not what `save` wrote.
        """
        path = _existing(run, CONFIG)
        try:
            return cls(**schemas.read(path, _CONFIG))
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

    def recorded(self, split: str) -> dict[str, tuple[str, str | None]]:
        """Returns each file of a split, with its class and the hash of its contents.

        The hash is None in runs that earlier versions wrote.
        """
        hashes = self.hashes.get(split, {})
        return {
            path: (name, mark)
            for name, paths in self.files[split].items()
            for path, mark in zip(
                paths, hashes.get(name) or [None] * len(paths), strict=True
            )
        }

    def report_values(self) -> dict[str, Any]:
        """Returns what `report.json` tells of the training."""
        values = {
            "seed": self.options["seed"],
            "n_skipped": len(self.skipped),
            "n_passed_over": sum(self.passed_over.values()),
        }
        counted = {
            "n_duplicates": self.duplicates,
            "n_dropped_duplicates": self.dropped_duplicates,
            "n_changed_in_training": self.changed,
        }
        values |= {name: len(paths) for name, paths in counted.items() if paths}
        if self.diverged_in_epoch is not None:
            values["diverged_in_epoch"] = self.diverged_in_epoch
        return values


def tell_passed_over(passed_over: Mapping[str, int]) -> None:
    """Prints how many files and folders were passed over, by reason."""
    from egan_keras.data.finding import in_words  # slow to import

    if passed_over:
        print(f"Passed over: {in_words(passed_over)}")


def tell_files(what: str, paths: Sequence[Any], *, most: int | None = 5) -> None:
    """Prints what there is of some files, with their number at `{}`, and names some."""
    if paths:
        print(f"{what.format(len(paths))}: {first_few(paths, most)}")


def describe_files(splits: "Splits", root: Path) -> dict[str, Any]:
    """Returns what a `RunConfig` holds of the files of a run's splits.

    Args:
        splits: The images, whose paths are below the root.
        root: The folder of images.
    """
    from egan_keras.data.contents import content_hashes  # slow to import

    def below(path: str) -> str:
        return Path(path).relative_to(root).as_posix()

    files: dict[str, dict[str, list[str]]] = {}
    hashes: dict[str, dict[str, list[str]]] = {}
    for split, images in splits._asdict().items():
        files[split], hashes[split] = {}, {}
        marks = content_hashes(images.paths)
        for path, name, mark in zip(
            images.paths, images.class_names, marks, strict=True
        ):
            files[split].setdefault(name, []).append(below(path))
            hashes[split].setdefault(name, []).append(mark)
    others = {
        name: [below(path) for images in splits for path in getattr(images, name)]
        for name in ("skipped", "duplicates", "dropped_duplicates")
    }
    return {"files": files, "hashes": hashes, **others}


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
