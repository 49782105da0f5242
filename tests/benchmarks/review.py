"""How many images must a person look at to find a hidden minority?

    python tests/benchmarks/review.py --images IMAGES --out DIR --seeds 3

IMAGES holds sets/ and cifar10/. A few minority images are hidden among majority images,
all of training folders; a user starts with two other minority images and some majority
images, looks at ten images, trains again, and so on. The labels are simulated from the
names of folders. Ways to choose what to look at next:

    review: the order of `egan-keras review`, by the model that its page trains again
    lowest score: that model, and the lowest score alone
    uncertainty: that model, and what is nearest to its threshold alone
    logistic regression: scikit-learn's on the same pooled features, the lowest score
    random

DIR keeps what was found in results.jsonl, so that the same command goes on after a
stop, and gets review.md.
"""

import argparse
import json
import math
import time
from datetime import date
from pathlib import Path

import keras
import numpy as np
import pandas

import egan_keras as ek
from egan_keras import baselines, data, features, review
from egan_keras.evaluation.shift import limit
from egan_keras.model import on_features
from egan_keras.review.learner import EPOCHS, compact

BACKBONE = "MobileNetV2:alpha=0.35"
STEP, FIRST_MINORITY = 10, 2
# name: folder, majority, minority, image size, majority to start with, in the pool,
# and minority hidden in it.
SETS = {
    "cifar10": ("cifar10", "automobile", "airplane", 32, 100, 990, 10),
    "eurosat": ("sets/satellite_eurosat", "country", "highway", 64, 100, 490, 10),
    "deeppcb": ("sets/pcb_deeppcb", "good", "short", 160, 100, 400, 8),
    "trashnet": ("sets/waste_trashnet", "recyclable", "trash", 224, 60, 340, 6),
}
WAYS = {
    "random": None,
    "logistic regression": (review.LOWEST,),
    "review": review.TURNS,
    "uncertainty": (review.NEAREST,),
    "lowest score": (review.LOWEST,),
}
MOST = 100


class Task:
    """The images of a set, as rows of features, each image and its mirror image."""

    def __init__(self, images: Path, name: str) -> None:
        root, majority, minority, size, *self.counts = SETS[name]
        folders = [images / root / "train" / each for each in (majority, minority)]
        n_majority = self.counts[0] + self.counts[1]
        listed = [sorted(folder.iterdir()) for folder in folders]
        # Of CIFAR-10 not all are needed.
        listed = [listed[0][: n_majority + 100], listed[1][:60]]
        self.labels = np.repeat([0, 1], list(map(len, listed))).astype(np.int32)
        files = data.ImageFiles(listed[0] + listed[1], size)
        shape = {"image_shape": files.shape[1:]}
        self.model = ek.EGAN.from_backbones(BACKBONE, BACKBONE, **shape)
        self.model.compile()
        store = features.FeatureStore("memory", verbose=0)
        self.rows = on_features.feature_rows(self.model, files, store, name)
        few = files.select(np.flatnonzero(self.labels))
        self.mirrored = on_features.mirrored_rows(self.model, few, store)
        self.compact = compact(self.rows.vectors)

    def deal(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the rows to start with, and those of the pool."""
        random = np.random.default_rng(seed)
        first, pooled, hidden = self.counts
        ours, theirs = (
            random.permutation(np.flatnonzero(self.labels == label)) for label in (0, 1)
        )
        start = np.concatenate([ours[:first], theirs[:FIRST_MINORITY]])
        few = theirs[FIRST_MINORITY : FIRST_MINORITY + hidden]
        pool = np.concatenate([ours[first : first + pooled], few])
        return start, random.permutation(pool)

    def model_of(self, known: np.ndarray, seed: int) -> ek.EGAN:
        """Trains on some rows."""
        of_minority = known[self.labels[known] == 1] - np.sum(self.labels == 0)
        mirrored = self.mirrored.select(of_minority)
        labels = self.labels[known]
        rows = self.rows.select(known)
        keras.utils.set_random_seed(seed)
        told = self.model, rows, mirrored, labels
        return on_features.trained_on(*told, epochs=EPOCHS)


def look(task: Task, way: str, seed: int) -> list[int]:
    """Returns of how many images looked at each minority image was the last."""
    known, pool = task.deal(seed)
    if way == "random":
        return (1 + np.flatnonzero(task.labels[pool])).tolist()
    found, looked = [], 0
    wanted = math.ceil(0.9 * task.counts[2])
    while len(found) < wanted and looked < MOST:
        for row in _next(task, way, known, pool, seed):
            looked += 1
            found += [looked] * int(task.labels[row])
            known = np.append(known, row)
        pool = np.setdiff1d(pool, known)
    return found


def _next(task: Task, way: str, known, pool, seed: int) -> np.ndarray:
    is_alien = None
    if way == "logistic regression":
        vectors = task.rows.vectors
        scores = baselines.logistic_regression_scores(
            vectors[known], task.labels[known], vectors[pool]
        )
    else:
        model = task.model_of(known, seed)
        scores, distances, _ = model.judge(task.rows.select(pool))
        if way == "review":
            usual = model.judge(task.rows.select(known)).distances
            labels = task.labels[known]
            is_alien = distances > limit(usual[labels == 0], usual[labels == 1])
    shown = task.compact[pool], task.compact[known]
    options = {"is_alien": is_alien, "count": STEP, "turns": WAYS[way]}
    return pool[review.order(scores, 0.0, *shown, **options)]


def measure(arguments: argparse.Namespace, kept: Path) -> None:
    """Runs what was not run."""
    lines = kept.read_text().splitlines() if kept.exists() else []
    before = map(json.loads, lines)
    done = {(row["set"], row["way"], row["seed"]) for row in before}
    for name in arguments.sets:
        wanted = [(way, s) for way in arguments.ways for s in range(arguments.seeds)]
        wanted = [each for each in wanted if (name, *each) not in done]
        if not wanted:
            continue
        started = time.perf_counter()
        task = Task(arguments.images, name)
        print(f"{name}: features in {time.perf_counter() - started:.0f} s", flush=True)
        for way, seed in wanted:
            started, used = time.perf_counter(), time.process_time()
            found = look(task, way, seed)
            row = {"set": name, "way": way, "seed": seed, "found": found}
            row |= {"seconds": round(time.perf_counter() - started, 1)}
            row |= {"cpu_seconds": round(time.process_time() - used, 1)}
            with kept.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)


def table(kept: Path, out: Path, command: str) -> None:
    """Writes review.md."""
    rows = []
    for line in kept.read_text().splitlines():
        row = json.loads(line)
        hidden = SETS[row["set"]][-1]
        for share, what in ((0.5, "half"), (0.9, "90 %")):
            needed = math.ceil(share * hidden)
            looked = (row["found"][needed - 1 : needed] or [np.inf])[0]
            # At random all are looked at, which costs nothing here.
            if row["way"] != "random" and looked > MOST:
                looked = np.inf
            rows.append({**row, "what": what, "looked": looked})
    frame = pandas.DataFrame(rows)
    groups = frame.groupby(["set", "what", "way"])["looked"]
    lines = ["# Images to look at until the hidden minority is found", ""]
    lines += [f"`{command}`, {date.today()}; median over seeds, and their range.", ""]
    ways = [way for way in WAYS if way in set(frame["way"])]
    lines += ["| set | hidden | found | " + " | ".join(ways) + " |"]
    lines += ["|---|---|---" + "|---" * len(ways) + "|"]
    for name, (*_, pooled, hidden) in SETS.items():
        for what in ("half", "90 %"):
            cells = []
            for way in ways:
                key = (name, what, way)
                is_known = key in groups.groups
                cells.append(_cell(groups.get_group(key)) if is_known else "")
            told = f"{hidden} in {hidden + pooled}"
            lines.append(f"| {name} | {told} | {what} | " + " | ".join(cells) + " |")
    out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _cell(looked: pandas.Series) -> str:
    def shown(number: float) -> str:
        return f"> {MOST}" if math.isinf(number) else f"{number:.0f}"

    numbers = sorted(looked)
    if len(numbers) == 1:
        return f"{shown(numbers[0])} (1 seed)"
    middle = numbers[len(numbers) // 2]
    return f"{shown(middle)} ({shown(numbers[0])} to {shown(numbers[-1])})"


def main() -> None:
    """Measures, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    kept = given.out / "results.jsonl"
    measure(given, kept)
    shown = f"--images {given.images} --out DIR --seeds {given.seeds}"
    command = f"python tests/benchmarks/review.py {shown}"
    table(kept, given.out / "review.md", command)


if __name__ == "__main__":
    main()
