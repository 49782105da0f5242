"""How good is what `egan-keras tune` chooses? Searches CIFAR-10's birds and cats.

    python tests/benchmarks/search.py --data images --out DIR --seeds 3

IMAGES holds cifar10/{train,test}/CLASS. DIR keeps each search and each oracle number,
so that the same command goes on after a stop, and gets search.md.

For each seed it searches as the command does, and then, for the table alone, trains
every trial's configuration on all training images and scores the test images. These are
oracle numbers: no user has them, and nothing is chosen by them. So are those of spare
cats, images of the training folder that were dropped, against the validation birds.
"""

import argparse
import json
import platform
import resource
import time
from datetime import date
from pathlib import Path

import keras
import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

import egan_keras as ek
from egan_keras import features
from egan_keras.files import write_atomically
from egan_keras.tuning import choosing
from egan_keras.tuning.choosing import TrialRecord, load_records

BACKBONES = ["MobileNetV2:alpha=0.35", "MobileNet:alpha=0.25"]
CHOICES = {"network_size": [64, 96, 128], "depths": [1, 2, 3]}
N_SPARE = 1000
CLASSES = {"majority": "bird", "minority": "cat"}


def search(arguments: argparse.Namespace, seed: int) -> Path:
    """Searches, unless that was done, and notes how long it took."""
    folder = arguments.out / f"seed_{seed}"
    times = folder.with_suffix(".times.json")
    train, validation, _ = load(arguments, seed)
    if times.is_file():
        return folder
    started, used = time.perf_counter(), cpu_seconds()
    ek.search_pairings(
        train,
        validation,
        encoders=BACKBONES,
        folder=folder,
        trials=arguments.trials,
        seed=seed,
        **CHOICES,
    )
    taken = {"wall": time.perf_counter() - started, "cpu": cpu_seconds() - used}
    save(times, taken)
    return folder


def judge(arguments: argparse.Namespace, seed: int, folder: Path) -> dict[int, dict]:
    """Returns the AUROCs of each trial's configuration: oracle numbers."""
    file = folder.with_suffix(".oracle.json")
    known = json.loads(file.read_text()) if file.is_file() else {}
    splits = load(arguments, seed)
    extra = spare(arguments, splits, seed)
    for record in load_records(folder):
        number = str(record.number)
        if record.failure is None and number not in known:
            known[number] = oracle(record, splits, extra, folder, seed)
            print(f"trial {number}: {known[number]}", flush=True)
            save(file, known)
    return {int(number): aurocs for number, aurocs in known.items()}


def spare(arguments: argparse.Namespace, splits: ek.Splits, seed: int):
    """Returns cats of the training folder that no part of a search has seen."""
    root = arguments.data / "cifar10"
    every = ek.load_folder(root, **CLASSES, seed=seed, lazy=True).train
    used = set(splits.train.paths)
    unused = [path not in used for path in every.paths]
    return every.images.select(np.flatnonzero((every.labels == 1) & unused)[:N_SPARE])


def oracle(
    record: TrialRecord, splits: ek.Splits, extra, folder: Path, seed: int
) -> dict[str, float]:
    """Trains a configuration on all training images, and scores unseen ones."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = ek.EGAN.from_backbones(
        record.encoder,
        record.discriminator,
        image_shape=(32, 32, 3),
        recipe=ek.Recipe(**record.recipe),
    )
    model.compile()
    cache = features.FeatureStore(folder / "features", verbose=0)
    train, validation, test = splits
    model.fit(train.images, train.labels, verbose=0, cache_features=cache)
    stem = features.compiled(model.discriminator.stem)

    def score(images, what):
        (rows,) = stem.standardized(cache.features(images, stem.raw, what))
        return model.discriminator.tail.predict(np.asarray(rows), verbose=0)[:, 0]

    majority, minority = score(validation.images, "validation"), score(extra, "spare")
    labels = np.repeat([0, 1], [len(majority), len(minority)])
    return {
        "test": roc_auc_score(test.labels, -score(test.images, "test")),
        "spare": roc_auc_score(labels, -np.concatenate([majority, minority])),
    }


def summarise(folder: Path, aurocs: dict[int, dict]) -> dict:
    """Returns what one seed shows."""
    records = choosing.completed(load_records(folder))
    chosen = choosing.choose(records, choosing.default_of(records))[0].number
    highest = choosing.choose(records)[0].number
    objectives = [record.held_out.mean for record in records]
    judged = [aurocs[record.number]["test"] for record in records]
    return {
        "trials": len(records),
        "default": aurocs[1]["test"],
        "chosen": aurocs[chosen]["test"],
        "highest": aurocs[highest]["test"],
        "best": max(judged),
        "mean": float(np.mean(judged)),
        "spare_chosen": aurocs[chosen]["spare"],
        "spare_highest": aurocs[highest]["spare"],
        "correlation": float(spearmanr(objectives, judged)[0]),
        **json.loads(folder.with_suffix(".times.json").read_text()),
    }


def report(rows: dict[int, dict], folders: dict[int, Path], judged: dict) -> str:
    """Returns the table in Markdown."""
    mean = {name: np.mean([row[name] for row in rows.values()]) for name in rows[0]}
    lines = [
        "# What `egan-keras tune` chooses",
        "",
        "CIFAR-10, birds the majority, cats the minority: 10 cats, 4,010 training and",
        "1,000 validation images; 1,000 + 1,000 test images that only these tables",
        "see. Encoders and discriminators",
        f"{' and '.join(BACKBONES)}, sizes 64, 96 and 128, 1 to 3",
        f"depths: 36 configurations, of which a random search tries "
        f"{rows[0]['trials']}. Trial 1 is the",
        "untuned default:",
        f"{BACKBONES[0]} twice, 128 pixels, 2 depths.",
        "",
        "All AUROCs are of the test split, after training on all 10 cats; that of the",
        "best trial is an oracle number, the highest of the search's. The rank",
        "correlation (Spearman's) is that of the objective with the test AUROC over",
        "the trials of a search. Beside what is chosen stands the trial of the highest",
        "objective, which is not chosen unless it is clearly better than the default:",
        "with ten minority images its objective may be luck.",
        "",
        "| seed | default | chosen | highest objective | best trial (oracle) "
        "| mean of trials | rank correlation | minutes | CPU minutes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in [*rows.items(), ("mean", mean)]:
        cells = [row[key] for key in ("default", "chosen", "highest", "best", "mean")]
        lines.append(
            f"| {name} | "
            + " | ".join(f"{cell:.4f}" for cell in cells)
            + f" | {row['correlation']:.2f} | {row['wall'] / 60:.1f} "
            f"| {row['cpu'] / 60:.1f} |"
        )
    lines += [
        "",
        "Without the test images, on 1,000 spare cats of the training folder and the",
        f"validation birds, what is chosen has AUROC {mean['spare_chosen']:.4f}, the "
        "highest objective",
        f"{mean['spare_highest']:.4f} (means of the seeds).",
    ]
    for seed, folder in folders.items():
        lines += ["", f"## Seed {seed}", "", *trial_table(folder, judged[seed])]
    lines += [
        "",
        f"{platform.machine()}, one thread of 2 shared cores, {date.today()}, by",
        "`python tests/benchmarks/search.py --data images --out DIR`.",
    ]
    return "\n".join(lines) + "\n"


def trial_table(folder: Path, aurocs: dict[int, dict]) -> list[str]:
    """Returns the trials of one seed, in the order of the objective."""
    records = [each for each in load_records(folder) if each.failure is None]
    records.sort(key=lambda record: -record.held_out.mean)
    lines = [
        "| trial | pairing | size | cut | held-out AUROC | test AUROC (oracle) |",
        "|---|---|---|---|---|---|",
    ]
    return lines + [
        f"| {record.number} | {record.pairing} | {record.network_size} | {record.cut} "
        f"| {record.held_out.mean:.3f} ± {record.held_out.standard_error:.3f} "
        f"| {aurocs[record.number]['test']:.4f} |"
        for record in records
    ]


def load(arguments: argparse.Namespace, seed: int) -> ek.Splits:
    """Returns the images, of which ten are cats to train on."""
    root = arguments.data / "cifar10"
    return ek.load_folder(root, **CLASSES, minority_count=10, seed=seed, lazy=True)


def cpu_seconds() -> float:
    """Returns the seconds that this process has computed."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def save(path: Path, values: dict) -> None:
    """Writes values as JSON."""
    write_atomically(path, lambda target: target.write_text(json.dumps(values)))


def main() -> None:
    """Searches with each seed, judges the trials, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=20)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows, folders, judged = {}, {}, {}
    for seed in range(arguments.seeds):
        folders[seed] = search(arguments, seed)
        judged[seed] = judge(arguments, seed, folders[seed])
        rows[seed] = summarise(folders[seed], judged[seed])
        print(seed, rows[seed], flush=True)
        text = report(rows, folders, judged)
        write_atomically(arguments.out / "search.md", lambda p, t=text: p.write_text(t))


if __name__ == "__main__":
    main()
