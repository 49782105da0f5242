"""One folder, one search: what it is of, and the refusal to mix it with another."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from egan_keras import data
from egan_keras.data.lazy import SelectedRows, fingerprint
from egan_keras.evaluation.report import write_atomically
from egan_keras.tuning.hypermodel import EGANHyperModel

FILE = "search.json"

_WORDS = {
    "train": "training images",
    "validation": "validation images",
    "space": "encoders, discriminators, recipe or choices",
    "weights": "weights",
    "tuner": "tuner",
    "seed": "seed",
}


def describe(
    hypermodel: EGANHyperModel,
    train: data.LabelledImages,
    validation: data.LabelledImages,
    tuner: str,
) -> dict[str, Any]:
    """Returns what decides the results of trials, as values that JSON can hold."""
    return {
        "train": _mark(train),
        "validation": _mark(validation),
        "space": hypermodel.space.describe(),
        "weights": str(hypermodel.weights),
        "tuner": tuner,
        "seed": hypermodel.seed,
    }


def enter(folder: Path, described: dict[str, Any]) -> None:
    """Makes the folder of a search, or takes up the one that is there.

    Raises:
        FileExistsError: If what is there is no search, or another one.
    """
    described = json.loads(json.dumps(described))
    path = folder / FILE
    if path.is_file():
        kept = json.loads(path.read_text("utf-8"))
        other = [_WORDS[name] for name in _WORDS if kept[name] != described[name]]
        if other:
            raise FileExistsError(
                "The folder holds another search, which is not mixed with this one; "
                f"expected the same images and options. Received: {str(folder)!r} with "
                f"other {', '.join(other)}. Name another folder, delete this one, or "
                "run the command that began it."
            )
        return
    # Another process of a distributed search may be writing the file just now.
    if folder.exists() and (not folder.is_dir() or any(folder.glob("[!.]*"))):
        raise FileExistsError(
            "The folder of the search holds something else; expected a new or an "
            f"empty one. Received: {str(folder)!r}. Name another folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(described, indent=2)
    write_atomically(path, lambda target: target.write_text(text + "\n", "utf-8"))


def _mark(images: data.LabelledImages) -> str:
    """Returns a fingerprint: of files their names, sizes and times of change."""
    pixels = images.images
    if not isinstance(pixels, data.LazyRows):
        pixels = SelectedRows(pixels, np.arange(len(pixels)))
    labels = np.asarray(images.labels, np.int32)
    return fingerprint(pixels.identity(), iter([labels.tobytes()]))
