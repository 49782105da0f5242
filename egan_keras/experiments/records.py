"""Results of runs on disk: one file for each, so that none is run twice."""

import dataclasses
import datetime
import json
import os
import platform
from pathlib import Path
from typing import Any

from egan_keras import schemas
from egan_keras.evaluation import versions
from egan_keras.experiments.grid import Run, Task
from egan_keras.files import write_atomically

FOLDER = "runs"
_SCHEMA = schemas.record(
    {
        "run": schemas.ANYTHING,
        "results": schemas.ANYTHING,
        "versions": schemas.mapped(schemas.TEXT),
        "machine": schemas.TEXT,
        "finished": schemas.TEXT,
    }
)


@dataclasses.dataclass(frozen=True)
class Record:
    """What a run measured, and where.

    Attributes:
        results: values by name, see `train_and_judge`.
        versions: of Python and packages.
        machine: its processor and cores.
        finished: date and time.
    """

    results: dict[str, Any]
    versions: dict[str, str]
    machine: str
    finished: str


class Records:
    """The results in a folder, each in a file named by its run.

    A run's name ends with a fingerprint of all that decides its result, so a run whose
    definition has changed is another run. Code counts by the version of the package.

    Args:
        folder: where they are kept; it is made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def path(self, run: Run) -> Path:
        """Returns the file of a run."""
        return self._folder / f"{run.id}.json"

    def read(self, run: Run) -> Record | None:
        """Returns the record of a run, or None if it has not been run.

        Raises:
            ValueError: if the file cannot be read or is another run's.
        """
        path = self.path(run)
        try:
            values = schemas.read(path, _SCHEMA)
            if values.pop("run") != json.loads(json.dumps(run.definition())):
                raise ValueError("it is the result of another run")
            return Record(**values)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                "A result cannot be read; expected what `egan-keras compare` wrote. "
                f"Received: {str(path)!r} ({error}). Remove it to run it again."
            ) from error

    def n_of_other_images(self, task: Task, files: str) -> int:
        """Returns how many results of a task are of images with other fingerprints."""
        count = 0
        for path in self._folder.glob("[!.]*.json"):
            try:
                of = json.loads(path.read_text("utf-8"))["run"]
                # Earlier versions knew no duplicates.
                is_of_task = {"duplicates": None, **of["task"]} == task.definition()
                count += is_of_task and of["files"] != files
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return count

    def write(self, run: Run, results: dict[str, Any]) -> Record:
        """Writes what a run measured, with what it was and where it ran."""
        record = Record(
            results,
            versions(),
            f"{platform.machine()}, {os.cpu_count()} cores",
            datetime.datetime.now().astimezone().isoformat("T", "seconds"),
        )
        values = {"run": run.definition(), **dataclasses.asdict(record)}
        text = json.dumps(values, indent=1, allow_nan=False)
        write_atomically(
            self.path(run), lambda target: target.write_text(text + "\n", "utf-8")
        )
        return record
