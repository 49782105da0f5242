"""The folder of a training run: what it holds, how it is written and read."""

import contextlib
import dataclasses
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING
from itertools import count
from pathlib import Path
from typing import Any

from egan_keras import files, schemas
from egan_keras.cli import rooms, saving
from egan_keras.cli.options import TrainingOptions
from egan_keras.logs import start_keras
from egan_keras.schemas import COUNT, NAMES, SHARE, TEXT, listed, mapped, optional
from egan_keras.text import printable
from egan_keras.version import versions

MODEL = "model.keras"
CONFIG = "config.json"
HISTORY = "history.csv"
REPORT = "report.json"
SCORES = "scores.csv"
PLOTS = "plots"
PAGE = "report.html"

_OF_A_RUN = (CONFIG, HISTORY, REPORT, SCORES, PLOTS, PAGE)
_FILES = mapped(listed(schemas.PATH))
_SPLITS = dict.fromkeys(("train", "validation", "test"), _FILES)
_SHAPE = {**listed(schemas.SIDE, at_least=3), "maxItems": 3}
# Those options of `train` that are read again.
_OPTIONS = schemas.record(
    {
        "data": TEXT,
        "majority": NAMES,
        "minority": listed(NAMES["items"]),
        "minority_count": optional(COUNT),
        "ratio": optional(schemas.NOT_NEGATIVE),
        "validation_fraction": SHARE,
        "test_fraction": SHARE,
        "seed": COUNT,
        "prevalence": optional(SHARE),
    },
    # What earlier versions did not write.
    {
        "gray_range": optional(schemas.GRAY_RANGE),
        "duplicates": optional(TEXT),
        "cross_fit": optional(COUNT),
        "labels": optional(TEXT),
        "groups": optional(TEXT),
    },
)

Paths = dict[str, list[str]]  # by class


def _key(schema: dict[str, Any], make: Callable[[], Any] | None = None) -> Any:
    """Returns a key of config.json; `make` gives what stands for it where it lacks."""
    told = {"schema": schema}
    return dataclasses.field(default_factory=make or MISSING, metadata=told)


@dataclasses.dataclass
class RunConfig:
    """What is needed to run a training again, and what it ran on: `config.json`.

    All paths are below the folder of images. `files` are those of each split and class,
    and `hashes` of their contents in the same order, as `groups` are, if there are any;
    earlier versions wrote none.
    """

    command: str = _key(TEXT)
    options: dict[str, Any] = _key(_OPTIONS)
    recipe: dict[str, Any] = _key(schemas.ANYTHING)
    image_shape: Sequence[int] = _key(_SHAPE)
    versions: dict[str, str] = _key(mapped(TEXT))
    files: dict[str, Paths] = _key(schemas.record(_SPLITS))
    skipped: Sequence[str] = _key(listed(TEXT))  # unreadable, or of a single colour
    passed_over: Mapping[str, int] = _key(mapped(COUNT), dict)  # by reason
    hashes: dict[str, Paths] = _key(mapped(mapped(listed(optional(TEXT)))), dict)
    unused: Paths = _key(_FILES, dict)  # the minority that training was not to have
    duplicates: Sequence[str] = _key(listed(TEXT), list)  # in the splits all the same
    dropped_duplicates: Sequence[str] = _key(listed(TEXT), list)
    groups: dict[str, Paths] = _key(mapped(mapped(listed(TEXT))), dict)
    # Of files that are nearly the same picture, in two splits.
    near_duplicates: Sequence[Sequence[str]] = _key(listed(listed(TEXT, 2)), list)
    changed: Sequence[str] = _key(listed(TEXT), list)  # while the run was made
    epochs_completed: int = _key(COUNT, int)
    interrupted: bool = _key(schemas.BOOLEAN, bool)
    diverged_in_epoch: int | None = _key(optional(COUNT), lambda: None)
    lacking: Sequence[str] = _key(listed(TEXT), list)  # of the run, ended early

    def save(self, folder: Path) -> None:
        """Writes `config.json` into a run folder."""
        write_json(folder / CONFIG, dataclasses.asdict(self))

    @classmethod
    def load(cls, run: Path) -> "RunConfig":
        """Reads the `config.json` of a run folder."""
        path = _existing(run, CONFIG)
        keys = dataclasses.fields(cls)
        schema = schemas.record({key.name: key.metadata["schema"] for key in keys})
        schema["required"] = [x.name for x in keys if x.default_factory is MISSING]
        try:
            return cls(**schemas.read(path, schema))
        except (ValueError, TypeError) as error:
            raise ValueError(
                "The configuration of the run cannot be read; expected what "
                f"`egan-keras train` wrote. Received: {str(path)!r} ({error}). Train "
                "again, or name another run."
            ) from error

    @classmethod
    def of_model(cls, path: Path) -> "RunConfig | None":
        """Reads that of the folder of a run; `None` of the file of a model."""
        return cls.load(path) if (path / CONFIG).is_file() else None

    @property
    def gray_range(self) -> tuple[float, float] | None:
        """The values that are black and white in images of more than 8 bits."""
        found = self.options.get("gray_range")
        return found and tuple(found)

    def recorded(self, *splits: str) -> dict[str, tuple[str, str | None]]:
        """Returns class and hash of splits' files; None of earlier versions' hashes."""
        told = self._told(self.hashes, splits)
        return {path: (name, mark) for path, name, mark in told}

    def group_of(self, *splits: str) -> dict[str, str]:
        """Returns the groups of splits' files; none of earlier versions' runs."""
        told = self._told(self.groups, splits)
        return {path: group for path, _, group in told if group is not None}

    def _told(self, what: dict[str, Paths], splits: Sequence[str]) -> Iterator[tuple]:
        """Yields path, class and what is told of each file of splits, or None."""
        for split in splits:
            for name, paths in self.files[split].items():
                values = what.get(split, {}).get(name) or [None] * len(paths)
                for path, value in zip(paths, values, strict=True):
                    yield path, name, value

    def report_values(self, **others: Any) -> dict[str, Any]:
        """Returns what `report.json` tells of the training, and others."""
        values = {
            "seed": self.options["seed"],
            "n_skipped": len(self.skipped),
            "n_passed_over": sum(self.passed_over.values()),
            "n_duplicates": len(self.duplicates),
            "n_dropped_duplicates": len(self.dropped_duplicates),
            "n_near_duplicates": len(self.near_duplicates),
            "n_changed_in_training": len(self.changed),
            "diverged_in_epoch": self.diverged_in_epoch,
            **others,
        }
        always = ("seed", "n_skipped", "n_passed_over")
        return {name: x for name, x in values.items() if x or name in always}


def configure(model: Any, splits: Any, given: TrainingOptions) -> RunConfig:
    """Returns the run's configuration before training."""
    recipe, root = model.recipe, given.data
    chosen = dataclasses.asdict(given) | {"data": root.resolve()}
    chosen["labels"] = given.labels and given.labels.resolve()
    chosen |= {"epochs": recipe.epochs, "batch_size": recipe.batch_size}
    del chosen["command_line"], chosen["overwrite"]
    unused = {}
    if given.minority_count is not None or given.ratio is not None:
        named = ("paths", "skipped", "dropped_duplicates")
        used = {p for each in splits for name in named for p in getattr(each, name)}
        source = (root, given.minority)
        every = rooms.data.list_all_labelled(*source, labels=given.labels)
        for name, paths in every.pool.items():
            others = [path for path in paths if str(path) not in used]
            unused[name] = [path.relative_to(root).as_posix() for path in others]
    return RunConfig(
        command=given.command_line,
        options={n: str(x) if isinstance(x, Path) else x for n, x in chosen.items()},
        recipe=dataclasses.asdict(recipe),
        image_shape=model.image_shape,
        versions=versions(),
        unused=unused,
        passed_over=dict(passed_over(splits)),
        **describe_files(splits, root),
    )


def passed_over(splits: Any) -> Counter[str]:
    """Returns how many files were passed over in all splits, by reason."""
    return sum((Counter(images.passed_over) for images in splits), Counter())


def describe_files(splits: Any, root: Path) -> dict[str, Any]:
    """Returns what a `RunConfig` holds of the files of the splits of a folder."""

    def below(path: str) -> str:
        return Path(path).relative_to(root).as_posix()

    told: dict[str, Any] = {"files": {}, "hashes": {}, "groups": {}}
    for split, images in splits._asdict().items():
        marks = rooms.data.lazy.content_hashes(images.paths)
        each = {"files": map(below, images.paths), "hashes": marks}
        if images.groups:
            each["groups"] = images.groups
        for key, values in each.items():
            of_class = told[key][split] = {}
            for name, value in zip(images.class_names, values, strict=True):
                of_class.setdefault(name, []).append(value)
    for name in ("skipped", "duplicates", "dropped_duplicates"):
        told[name] = [below(x) for images in splits for x in getattr(images, name)]
    pairs = [pair for images in splits for pair in images.near_duplicates]
    told["near_duplicates"] = [list(map(below, pair)) for pair in pairs]
    return told


def check_free(out: Path, *, overwrite: bool = False) -> None:
    """Refuses to write a run where something else is, but for a run to be replaced."""
    is_free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    if is_free or (overwrite and (out / CONFIG).is_file()):
        return
    what = "The run folder exists already and is not empty"
    else_do = ", or replace it as a whole with --overwrite"
    if overwrite:
        what, else_do = f"What is there is not a run folder: it lacks {CONFIG}", ""
    raise FileExistsError(
        f"{what}; expected a new folder or an empty one. Received: out={str(out)!r}. "
        f"Name another folder{else_do}."
    )


@contextlib.contextmanager
def writing(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Gives a folder to write a run into, which becomes `out` when all is written.

    An earlier run at `out` stays until then. If an error or a signal comes after the
    model was written, the folder is kept beside `out`, so that the same command can be
    run again. What earlier commands left there that were killed is removed, or kept if
    there is a model in it.
    """
    check_free(out, overwrite=overwrite)
    target = out.resolve()
    with files.leftovers(target) as left:
        for folder in left:
            _tidy(folder, target)
    with files.telling_full_disk(out), files.workplace(target) as folder:
        try:
            yield folder
            with saving("the run"):
                check_free(out, overwrite=overwrite)
                files.put_in_place(folder, target)
        finally:
            with saving("the model"):
                if (folder / MODEL).is_file():
                    _keep(folder, target, "The model so far is kept")


def _tidy(folder: Path, target: Path) -> None:
    """Removes what a killed command left, or keeps its model."""
    size = files.in_units(files.size_of(folder))
    if (folder / MODEL).is_file() and not folder.name.endswith(files.REPLACED):
        what = f"An earlier command was killed; its model ({size}) is kept"
        _keep(folder, target, what)
        return
    shutil.rmtree(folder, ignore_errors=True)
    what = "Removed of an earlier command that was killed"
    print(f"{what}, {size}: {printable(folder)}", file=sys.stderr)


def _keep(folder: Path, target: Path, what: str) -> None:
    """Gives a run that did not become its target a name that says so."""
    lacking = [name for name in _OF_A_RUN if not (folder / name).exists()]
    # On a full disk the name alone tells.
    with contextlib.suppress(ValueError, OSError):
        config = RunConfig.load(folder)
        config.lacking = lacking
        config.save(folder)
    name = f"{target.name}-{'unfinished' if lacking else 'complete'}"
    names = (f"{name}-{number}" if number > 1 else name for number in count(1))
    kept = next(each for each in map(target.with_name, names) if not each.exists())
    folder.rename(kept)
    without = f", without {', '.join(lacking)}" if lacking else ""
    print(f"{what}: {printable(kept / MODEL)}{without}", file=sys.stderr)


def write_json(path: Path, values: Any) -> None:
    """Writes a JSON file as a whole."""
    text = json.dumps(values, indent=2, allow_nan=False) + "\n"
    files.write_atomically(path, lambda target: target.write_text(text, "utf-8"))


def save_model(model: Any, folder: Path) -> None:
    """Writes `model.keras` into a run folder, which a signal does not interrupt."""
    with saving("the model"):
        files.write_atomically(folder / MODEL, model.save)


def save_history(history: Mapping[str, Sequence[float]], folder: Path) -> None:
    """Writes `history.csv`: a row for each epoch, numbered from 1."""
    with files.whole_table(folder / HISTORY, ["epoch", *history]) as table:
        epochs = zip(*history.values(), strict=True)
        table.writerows([number, *row] for number, row in enumerate(epochs, 1))


def model_path(run: Path) -> Path:
    """Returns the file of the model of a run folder, or the file itself."""
    is_model = run.suffix.lower() in (".keras", ".tflite") and run.is_file()
    return run if is_model else _existing(run, MODEL)


def load_model(run: Path) -> Any:
    """Loads the `EGAN` of a run or a .keras file, or a `TFLiteModel` of a .tflite."""
    path = model_path(run)
    if path.suffix.lower() == ".tflite":
        from egan_keras.exporting.tflite_model import load_tflite

        return load_tflite(path)
    start_keras()
    return rooms.model.load(path)


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
