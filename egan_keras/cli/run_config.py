"""What `config.json` tells of a run: all options, and the files of each split."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egan_keras import files, schemas
from egan_keras.schemas import COUNT, NAMES, SHARE, TEXT, listed, mapped, optional

if TYPE_CHECKING:
    from egan_keras.data import Splits

CONFIG = "config.json"

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
        path = existing(run, CONFIG)
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


def describe_files(splits: "Splits", root: Path) -> dict[str, Any]:
    """Returns what a `RunConfig` holds of the files of a run's splits.

    Args:
        splits: The images, whose paths are below the root.
        root: The folder of images.
    """
    from egan_keras.data.contents import content_hashes  # slow to import

    def below(path: str) -> str:
        return Path(path).relative_to(root).as_posix()

    paths: dict[str, dict[str, list[str]]] = {}
    hashes: dict[str, dict[str, list[str]]] = {}
    for split, images in splits._asdict().items():
        paths[split], hashes[split] = {}, {}
        marks = content_hashes(images.paths)
        for path, name, mark in zip(
            images.paths, images.class_names, marks, strict=True
        ):
            paths[split].setdefault(name, []).append(below(path))
            hashes[split].setdefault(name, []).append(mark)
    others = {
        name: [below(path) for images in splits for path in getattr(images, name)]
        for name in ("skipped", "duplicates", "dropped_duplicates")
    }
    return {"files": paths, "hashes": hashes, **others}


def existing(run: Path, name: str) -> Path:
    """Returns the path of one of a run's files, or says that there is no run."""
    path = run / name
    if not path.is_file():
        state = "lacks it" if run.is_dir() else "is no folder"
        raise FileNotFoundError(
            f"There is no run; expected a folder with {name}, as `egan-keras train` "
            f"writes it. Received: {str(run)!r}, which {state}. Check the path."
        )
    return path
