"""One folder, one search: what it is of, and the refusal to mix it with another."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from egan_keras import data, schemas
from egan_keras.data.lazy import SelectedRows, fingerprint
from egan_keras.files import content_hash, write_atomically
from egan_keras.tuning.hypermodel import EGANHyperModel

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

FILE = "search.json"
_LOCK = ".lock"

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
        "weights": _describe_weights(hypermodel.weights),
        "tuner": tuner,
        "seed": hypermodel.seed,
    }


def enter(folder: Path, described: dict[str, Any]) -> None:
    """Makes the folder of a search, or takes up the one that is there.

    Raises:
        FileExistsError: If what is there is no search, or another one.
        ValueError: If the file that tells cannot be read.
    """
    described = json.loads(json.dumps(described))
    path = folder / FILE
    if path.is_file():
        try:
            kept = schemas.read(path, schemas.record(dict.fromkeys(_WORDS, {})))
        except ValueError as error:
            raise ValueError(
                "What a search is of cannot be read; expected what `egan-keras tune` "
                f"wrote. Received: {str(path)!r} ({error}). Delete the folder, or name "
                "another one."
            ) from error
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


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps other processes from running the same search; a kill leaves no lock.

    Raises:
        FileExistsError: If another process runs it.
    """
    with (folder / _LOCK).open("w") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FileExistsError(
                    "Another process runs this search; expected one at a time, or a "
                    f"chief and its workers. Received: {str(folder)!r}. Wait for it, "
                    "stop it, or see `egan-keras tune --help` on several processes."
                ) from None
        yield


def _describe_weights(weights: Any) -> Any:
    """Returns what weights are, of files a hash of their contents."""
    if isinstance(weights, Mapping):
        return {str(name): _describe_weights(each) for name, each in weights.items()}
    if weights is not None and Path(weights).is_file():
        return content_hash(weights)
    return str(weights)


def _mark(images: data.LabelledImages) -> str:
    """Returns a fingerprint of the contents of images and labels."""
    pixels = images.images
    if not isinstance(pixels, data.LazyRows):
        pixels = SelectedRows(pixels, np.arange(len(pixels)))
    labels = np.asarray(images.labels, np.int32)
    return fingerprint(pixels.identity(), iter([labels.tobytes()]))
