"""`search_pairings`: a search that one can watch, kill, resume and trust."""

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from egan_keras import data, networks, schemas
from egan_keras.data.lazy import SelectedRows, fingerprint
from egan_keras.files import content_hash, reading, telling_full_disk, write_json
from egan_keras.logs import tell
from egan_keras.model import EGAN
from egan_keras.tuning import choosing
from egan_keras.tuning.choosing import TrialRecord, load_records, make_folds
from egan_keras.tuning.hypermodel import EGANHyperModel, validation_majority
from egan_keras.tuning.leaderboard import CSV, live_table, write_leaderboard
from egan_keras.tuning.space import Configuration
from egan_keras.tuning.tuner import FEATURES, PairingTuner, make_oracle

if sys.platform != "win32":
    import fcntl

FILE = "search.json"

_LOCK = ".lock"
_WORDS = {
    "train": "training images",
    "validation": "validation images",
    "space": "encoders, discriminators, recipe or choices",
}


@dataclasses.dataclass(frozen=True)
class Search:
    """What a search has found.

    Attributes:
        folder: Where it is, with its leaderboard.
        records: The trials, in their order.
        best: The one chosen; `None` in a worker, whose chief chooses.
        hypermodel: The configurations it chose among.
        reason: Why this one was chosen, in a sentence.
    """

    folder: Path
    records: tuple[TrialRecord, ...]
    best: TrialRecord | None
    hypermodel: EGANHyperModel
    reason: str = ""

    @property
    def features(self) -> Path:
        """Where its features are, for `fit(..., cache_features=search.features)`."""
        return self.folder / FEATURES

    def build(self) -> EGAN:
        """Returns the best configuration, compiled, not trained yet."""
        if self.best is None:
            raise ValueError(
                "A worker of a search has no best configuration; expected the "
                "chief's. Received: best=None. Read the search where it was begun."
            )
        encoder, discriminator = self.best.encoder, self.best.discriminator
        recipe = networks.Recipe(**self.best.recipe)
        chosen = Configuration(encoder, discriminator, recipe)
        return self.hypermodel.build_chosen(chosen)


def search_pairings(
    train: data.LabelledImages,
    validation: data.LabelledImages,
    *,
    encoders: Sequence[str],
    folder: str | os.PathLike[str],
    discriminators: Sequence[str] | None = None,
    tuner: str = "random",
    trials: int = 20,
    seed: int = 0,
    recipe: "str | networks.Recipe" = "default",
    weights: "networks.Weights | Mapping[str, networks.Weights]" = "imagenet",
    max_int8_kb: float | None = None,
    max_latency_ms: float | None = None,
    verbose: bool = True,
    **choices: Any,
) -> Search:
    """Searches for the best pairing of backbones, and choices of a recipe.

    A trial is judged by minority images that its training did not see, see
    `EGANHyperModel.fit`. The first one is the first pairing with the recipe as it is;
    it is chosen unless another one is clearly better. Where the folder holds this
    search already, killed or not, it goes on.

    Args:
        train: Training images of both classes, two minority images or more.
        validation: Images not to train on; their majority images judge.
        encoders: Backbones to choose the encoder among.
        folder: Of the search: its trials, features and leaderboard.
        discriminators: The same for the discriminator; `None` takes the encoders.
        tuner: KerasTuner's `"random"`, `"hyperband"`, `"bayesian"` or `"grid"`.
        trials: Configurations to try at most.
        seed: Decides what is tried, held out and drawn.
        recipe: All that is not chosen, by name or as a `Recipe`.
        weights: As in `EGAN.from_backbones`.
        max_int8_kb: Do not choose what is larger as int8 TFLite, in 1000 bytes.
        max_latency_ms: Do not choose what takes longer for an image as that, on one
            thread of this machine.
        verbose: Whether to print a line for each trial.
        **choices: As in `EGANHyperModel`.

    Returns:
        The search, with the best configuration.

    Raises:
        ValueError: If there are too few images, an argument is unknown, no trial
            completes, or none is within the budget.
        FileExistsError: If the folder holds another search, or something else.
        KeyboardInterrupt: On Ctrl-C, after the leaderboard so far was written.
    """
    budget = {"max_int8_kb": max_int8_kb, "max_latency_ms": max_latency_ms}
    _check_measurable(budget)
    folder, worker = Path(folder), is_worker()
    groups = [train.groups[n] for n in np.flatnonzero(train.labels) if train.groups]
    folds = make_folds(train.minority_count, seed, groups)
    majority = validation_majority(validation)
    hypermodel = EGANHyperModel(
        train.images.shape[1:],
        encoders=encoders,
        discriminators=discriminators,
        recipe=recipe,
        weights=weights,
        seed=seed,
        **choices,
    )
    space = hypermodel.space
    oracle = make_oracle(tuner, hypermodel, folder, trials=trials)
    _enter(folder, hypermodel, (train, validation), tuner)
    with contextlib.nullcontext() if worker else alone(folder):
        if not worker:
            again = [each for each in load_records(folder) if each.is_run_again]
            oracle.go_on({record.number for record in again})
            for record in again:
                record.path(folder).unlink()
        on_trial = None
        if verbose:
            n_done = len(load_records(folder))
            done = f", {n_done} of them done before" if n_done else ""
            tell(
                f"Searching {space.size:,} configurations: up to {trials} trials of "
                f"{len(folds)} fits{done}."
            )
            backbones = [*space.encoders, *space.discriminators]
            on_trial = live_table(backbones, trials - n_done)
        judged_by = train, majority, folds
        running = PairingTuner(oracle, hypermodel, folder, judged_by, on_trial)
        try:
            with telling_full_disk(folder):
                running.search(verbose=0)
        except KeyboardInterrupt:
            records = load_records(folder)
            if records and not worker:
                with contextlib.suppress(ValueError):
                    _chosen(folder, records, budget)
                if verbose:
                    tell(
                        f"\nInterrupted after {len(records)} trials. The leaderboard "
                        f"so far: {folder / CSV}. The same call or command goes on."
                    )
            raise
        records = load_records(folder)
        best, reason = (None, "") if worker else _chosen(folder, records, budget)
        return Search(folder, tuple(records), best, hypermodel, reason)


def is_worker() -> bool:
    """Whether this process runs trials for a chief elsewhere."""
    is_chief = "chief" in os.environ.get("KERASTUNER_TUNER_ID", "")
    return "KERASTUNER_ORACLE_IP" in os.environ and not is_chief


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps other processes from running the same search; a kill leaves no lock."""
    with (folder / _LOCK).open("w") as file:
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FileExistsError(
                    "Another process runs this search; expected one at a time, or a "
                    f"chief and its workers. Received: {str(folder)!r}. Wait for it, "
                    "stop it, or see `egan-keras tune --help` on several processes."
                ) from None
        yield


def _chosen(
    folder: Path, records: Sequence[TrialRecord], budget: dict[str, float | None]
) -> tuple[TrialRecord, str]:
    """Writes the leaderboard; returns the winner, if there is one, and why it is."""
    best, reason = None, ""
    try:
        eligible = choosing.within(choosing.completed(records), **budget)
        best, reason = choosing.choose(eligible, choosing.default_of(records))
    finally:
        write_leaderboard(folder, records, best, reason)
    return best, reason


def _check_measurable(budget: dict[str, float | None]) -> None:
    """Refuses a budget where nothing tells what a configuration costs."""
    asked = [f"{name}={limit!r}" for name, limit in budget.items() if limit is not None]
    backend = keras.backend.backend()
    if asked and backend != "tensorflow":
        raise ValueError(
            "A budget is measured on exported models; expected "
            "KERAS_BACKEND=tensorflow, the default, or no budget. Received: "
            f"KERAS_BACKEND={backend}, {', '.join(asked)}. Search on TensorFlow, or "
            "leave the budget out."
        )


def _enter(
    folder: Path,
    hypermodel: EGANHyperModel,
    images: Sequence[data.LabelledImages],
    tuner: str,
) -> None:
    """Makes the folder of a search, or takes up that of the same one."""
    train, validation = map(_mark, images)
    described = {
        "train": train,
        "validation": validation,
        "space": hypermodel.space.describe(),
        "weights": _describe_weights(hypermodel.weights),
        "tuner": tuner,
        "seed": hypermodel.seed,
    }
    path = folder / FILE
    if path.is_file():
        advice = "Delete the folder, or name another one."
        with reading("What a search is of", "tune", path, advice):
            kept = schemas.read(path, schemas.record(dict.fromkeys(described, {})))
        now = json.loads(json.dumps(described))
        other = [name for name in now if kept[name] != now[name]]
        other = [_WORDS.get(name, name) for name in other]
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
    write_json(path, described, indent=2)


def _describe_weights(weights: Any) -> Any:
    """Returns what weights are, of files a hash of their contents."""
    if isinstance(weights, Mapping):
        return {str(name): _describe_weights(each) for name, each in weights.items()}
    if weights is not None and Path(weights).is_file():
        return content_hash(weights)
    return str(weights)


def _mark(images: data.LabelledImages) -> str:
    """Returns a fingerprint of the contents of images and labels, and of groups."""
    pixels = images.images
    if not isinstance(pixels, data.LazyRows):
        pixels = SelectedRows(pixels, np.arange(len(pixels)))
    labels = np.asarray(images.labels, np.int32)
    # A group may be part of a name whose bytes are no text.
    told = [labels.tobytes(), *map(os.fsencode, images.groups)]
    return fingerprint(pixels.identity(), iter(told))
