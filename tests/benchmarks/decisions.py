"""Thresholds without held-out images, hidden minority, several minority classes.

    python tests/benchmarks/decisions.py --images IMAGES [--seeds N] [--tables A,B,C,D]

Prints four tables on sets below IMAGES/sets. A: in how many of 1,000 random halves of
held-out majority scores the other half falls short of the guaranteed specificity.
B: a fifth of 150 majority images held out for the threshold, against cross-fitting.
C: a part of the majority is minority in secret: AUROC, and how many of the first 20
suspects are right, by the lowest score and by cleanlab, if it is installed, from the
same cross-fitted scores. D: of the minority's test images, how many are most like their
own class, where training had 2 or 10 images of each of several.
"""

import argparse
import os
import platform
from pathlib import Path

import keras
import numpy as np
from scipy.special import expit
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

import egan_keras as ek
from egan_keras import baselines, networks, thresholds

_TASKS = {
    "pcb_deeppcb": (["good"], "mousebite"),
    "solar_elpv": (["functional"], "defective"),
    "bees_pollen": (["no_pollen"], "pollen"),
    "satellite_eurosat": (["country"], "highway"),
    "coffee_leaf": (["healthy", "miner", "phoma", "rust"], "cercospora"),
    "waste_trashnet": (["recyclable"], "trash"),
}
_SEVERAL = {
    "coffee_leaf": ("healthy", ["cercospora", "miner", "phoma", "rust"]),
    "satellite_eurosat": ("country", ["highway", "industrial", "river"]),
    "pcb_deeppcb": (
        "good",
        ["copper", "mousebite", "open", "pinhole", "short", "spur"],
    ),
}
_BACKBONE, _SIDE, _COUNT = "MobileNetV2:alpha=0.35", 224, 10
_LEVEL, _SPLITS, _MAJORITY, _HELD_OUT, _FOLDS = 0.9, 1_000, 150, 30, 5
_HIDDEN, _SUSPECTS = (0.0, 0.002, 0.01, 0.05), 20
_BASELINES = ("logistic regression", "nearest neighbours", "class means")


def main() -> None:
    """Prints the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tables", default="A,B,C,D")
    given = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores; {_BACKBONE}")
    tables = {"A": _certified, "B": _cross_fitted, "C": _suspects, "D": _most_like}
    for name in given.tables.split(","):
        print(flush=True)
        tables[name](given)


def _load(given: argparse.Namespace, task: str, seed: int, count: int | None = _COUNT):
    majority, minority = _TASKS[task]
    return ek.load_folder(
        given.images / "sets" / task,
        majority=majority,
        minority=minority,
        minority_count=count,
        seed=seed,
        validation_fraction=0.0,
        image_size=_SIDE,
        lazy=True,
    )


def _new_model() -> ek.EGAN:
    shape = (_SIDE, _SIDE, 3)
    model = ek.EGAN.from_backbones(_BACKBONE, _BACKBONE, image_shape=shape)
    model.compile()
    return model


def _fitted(images, labels: np.ndarray, seed: int) -> ek.EGAN:
    keras.utils.set_random_seed(seed)
    model = _new_model()
    model.fit(images, labels, verbose=0)
    return model


def _row(*cells: object) -> None:
    told = [f"{x:.3f}" if isinstance(x, float) else str(x) for x in cells]
    print(f"| {' | '.join(told)} |", flush=True)


def _certified(given: argparse.Namespace) -> None:
    _row("task", "images", "splits short of 90 %", "by more than chance (5 %)")
    _row(*["---"] * 4)
    for task in _TASKS:
        train, _, test = _load(given, task, 0)
        model = _fitted(train.images, train.labels, 0)
        scores = model.judge(test.images.select(np.flatnonzero(test.labels == 0)))[0]
        random, short, clearly = np.random.default_rng(0), 0, 0
        for _ in range(_SPLITS):
            known, new = np.split(random.permutation(scores), [len(scores) // 2])
            found = thresholds.calibrate(
                known, np.zeros(len(known)), specificity=_LEVEL
            )
            called = int(np.sum(new < found.threshold))
            short += called > (1 - _LEVEL) * len(new)
            test_of = binomtest(called, len(new), 1 - _LEVEL, alternative="greater")
            clearly += test_of.pvalue < 0.05
        _row(task, len(scores), short / _SPLITS, clearly / _SPLITS)


def _cross_fitted(given: argparse.Namespace) -> None:
    head = ["AUROC", "specificity", "sensitivity"]
    _row(
        "task",
        "seed",
        *[f"{x}, held out" for x in head],
        *[f"{x}, cross-fitted" for x in head],
    )
    _row(*["---"] * 8)
    for task in [*_TASKS][:4]:
        for seed in range(given.seeds):
            train, _, test = _load(given, task, seed)
            majority = np.flatnonzero(train.labels == 0)
            majority = np.random.default_rng(seed).permutation(majority)[:_MAJORITY]
            minority = np.flatnonzero(train.labels == 1)
            cells: list[float] = []
            for n_held_out in (_HELD_OUT, 0):
                rows = np.concatenate([majority[n_held_out:], minority])
                images, labels = train.images.select(rows), train.labels[rows]
                model = _fitted(images, labels, seed)
                if n_held_out:
                    held_out = train.images.select(majority[:n_held_out])
                    model.calibrate(held_out, np.zeros(n_held_out), specificity=_LEVEL)
                else:
                    scored = ek.cross_fitted_scores(
                        _new_model, images, labels, folds=_FOLDS, seed=seed, verbose=0
                    )
                    ek.calibrate_cross_fitted(model, scored, _FOLDS, specificity=_LEVEL)
                scores = model.judge(test.images)[0]
                called = scores < model.threshold
                cells.append(float(roc_auc_score(test.labels, -scores)))
                cells.append(float(1 - called[test.labels == 0].mean()))
                cells.append(float(called[test.labels == 1].mean()))
            _row(task, seed, *cells)


def _suspects(given: argparse.Namespace) -> None:
    head = ["task", "hidden", "default", *_BASELINES]
    head += [f"right of {_SUSPECTS}", "by cleanlab", "of hidden"]
    _row(*head)
    _row(*["---"] * len(head))
    recipe, shape = networks.get_recipe("default"), (_SIDE, _SIDE, 3)
    for task in _TASKS:
        train, _, test = _load(given, task, 0, None)
        majority, minority = (np.flatnonzero(train.labels == x) for x in (0, 1))
        minority = np.random.default_rng(0).permutation(minority)
        known, others = minority[:_COUNT], minority[_COUNT:]
        for share in _HIDDEN:
            n_hidden = min(round(share * len(majority)), len(others))
            rows = np.concatenate([majority, others[:n_hidden], known])
            labels = np.repeat([0, 1], [len(majority) + n_hidden, _COUNT])
            images = train.images.select(rows)
            model = _fitted(images, labels, 0)
            aurocs = [roc_auc_score(test.labels, -model.judge(test.images).scores)]
            stem, _ = networks.pooled_features(
                ek.Backbone.parse(_BACKBONE), recipe, shape
            )
            (fitted,), (judged,) = (
                ek.features.stem_features(stem, each) for each in (images, test.images)
            )
            for name in _BASELINES:
                theirs = baselines.FEATURE_BASELINES[name](fitted, labels, judged)
                aurocs.append(roc_auc_score(test.labels, -np.ravel(theirs)))
            scores = ek.cross_fitted_scores(
                _new_model, images, labels, folds=_FOLDS, verbose=0
            ).scores
            orders = [np.argsort(scores, kind="stable"), _order_of_cleanlab(scores)]
            right = [
                "" if order is None else int(np.sum(order[:_SUSPECTS] >= len(majority)))
                for order in orders
            ]
            hidden = f"{n_hidden} ({share:.1%})"
            _row(task, hidden, *map(float, aurocs), *right, n_hidden)


def _most_like(given: argparse.Namespace) -> None:
    _row("task", "classes", "of each", "largest class", "most like their own")
    _row(*["---"] * 5)
    for task, (majority, minority) in _SEVERAL.items():
        for each in (2, 10):
            shares, largest = [], 0.0
            for seed in range(given.seeds):
                train, _, test = ek.load_folder(
                    given.images / "sets" / task,
                    majority=majority,
                    minority=minority,
                    seed=seed,
                    validation_fraction=0.0,
                    image_size=_SIDE,
                    lazy=True,
                )
                names, random = np.array(train.class_names), np.random.default_rng(seed)
                drawn = [
                    random.permutation(np.flatnonzero(names == name))[:each]
                    for name in minority
                ]
                few = np.concatenate(drawn)
                rows = np.concatenate([np.flatnonzero(train.labels == 0), few])
                images = train.images.select(rows)
                model = _fitted(images, train.labels[rows], seed)
                model.learn_minority_classes(train.images.select(few), names[few])
                judged = np.flatnonzero(test.labels == 1)
                own = np.array(test.class_names)[judged]
                found = model.judge(test.images.select(judged)).most_like
                shares.append(float(np.mean(found == own)))
                largest = float(np.unique(own, return_counts=True)[1].max() / len(own))
            told = f"{np.mean(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})"
            _row(task, len(minority), each, f"{largest:.2f}", told)


def _order_of_cleanlab(scores: np.ndarray) -> np.ndarray | None:
    """Returns the majority's images, the worst label first, if there is cleanlab."""
    try:
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        return None
    probabilities = expit(np.float64(scores))
    probabilities = np.column_stack([probabilities, 1 - probabilities])
    labels = np.zeros(len(scores), int)
    return np.argsort(get_label_quality_scores(labels, probabilities), kind="stable")


if __name__ == "__main__":
    main()
