"""Which images of a folder a run's model is judged on: by contents, not by names."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from egan_keras import data
from egan_keras.cli.runs import RunConfig

ALL = "all"
SPLITS = ("test", "validation", "train", ALL)

_NAMED = 3


@dataclasses.dataclass(frozen=True)
class RunImages:
    """Images to judge a run's model on.

    Attributes:
        split: what they are of the folder.
        images: with their labels.
        counts: for the report, how many files there are of each kind.
        notes: sentences that say so.
    """

    split: str
    images: data.LabelledImages
    counts: dict[str, int]
    notes: Sequence[str]


def choose(
    config: RunConfig,
    root: Path,
    split: str | None = None,
    *,
    skip_unreadable: bool = False,
    duplicates: str | None = None,
) -> RunImages:
    """Loads the images of a folder to judge a run's model on.

    The run's own folder, under whatever name, is one at the run's path, or that holds
    half of the files of the split or more unchanged.

    Args:
        config: of the run.
        root: the folder.
        split: `train`, `validation` or `test`: of the run's own folder the files that
            the run had, as far as their contents are unchanged; of another one a
            split by the run's seed, without what the run was trained on. `all`: all
            images of the run's classes, without those that it was trained or
            calibrated on. None takes `test` of the run's own folder, `all` of another.
        skip_unreadable: leave out files that cannot be read instead of stopping.
        duplicates: as for `load_folder`, in a folder that the run has not seen.

    Raises:
        ValueError: if no image is left, or a file cannot be read.
        FileNotFoundError: if there is no such folder, or no class in it.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            "There is no such folder; expected a folder of images. Received: "
            f"{str(root)!r}. Check the path."
        )
    ...
