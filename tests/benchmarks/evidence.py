"""What each kind of evidence, and how they are weighed, is worth.

Run `python tests/benchmarks/evidence.py IMAGES`. On the tasks of `places.toml` but for
CIFAR-10, `default` is trained once for each number of minority images and seed. Then
its test images are scored anew with one kind of evidence left out, and with the weights
of whole images or of places whatever the images say. The training is the same, so that
differences are those of the evidence alone. The table holds AUROC and its differences,
means over seeds and, in the end, over tasks.
"""

import argparse
import tomllib
from pathlib import Path

import keras
import numpy as np
import pandas
from sklearn.metrics import roc_auc_score

import egan_keras as ek
from egan_keras import features
from egan_keras.networks import evidence

_GRID = Path(__file__).with_name("places.toml")
_SMALL = "pcb", "blowhole"
_BATCH = 64
_LEARNED, _DISTANCE, _LIKE = 0, 1, -1


def main() -> None:
    """Runs all tasks and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="folder of tiles, sets and cifar10")
    parser.add_argument("--backbone", default="MobileNetV2:alpha=0.35")
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    rows = []
    for task in tomllib.loads(_GRID.read_text())["task"]:
        if len(task["minority"]) > 1 or task["data"] == "cifar10":
            continue
        name = f"{Path(task['data']).name} {task['minority'][0]}"
        for count in task["counts"]:
            for seed in range(given.seeds):
                own = _run(given.images / task["data"], task, count, seed, given)
                rows.append({"task": name, "minority": count, **own})
        done = pandas.DataFrame([row for row in rows if row["task"] == name])
        print(done.groupby(["task", "minority"]).mean().round(3).to_string())
    table = pandas.DataFrame(rows).groupby(["task", "minority"]).mean()
    whole = table.pop("all")
    table = table.sub(whole, axis=0)
    table.insert(0, "all", whole)
    print(table.round(3).to_string())
    # Of some sets there are five in place of ten.
    few = ["2" if count == 2 else "5 or 10" for _, count in table.index]
    small = [any(x in task for x in _SMALL) for task, _ in table.index]
    kinds = ["small defects" if each else "others" for each in small]
    means = table.groupby([kinds, few]).mean()
    print(f"\nMeans over tasks:\n{means.round(3).to_string()}")


def _run(
    root: Path, task: dict, count: int, seed: int, given: argparse.Namespace
) -> dict[str, float]:
    keras.utils.set_random_seed(seed)
    train, _, test = ek.load_folder(
        root,
        majority=task["majority"],
        minority=task["minority"],
        minority_count=count,
        seed=seed,
        image_size=224 if task["data"] == "tiles" else None,
    )
    model = ek.EGAN.from_backbones(
        given.backbone, given.backbone, image_shape=train.images.shape[1:]
    )
    model.compile()
    model.fit(train.images, train.labels, verbose=0)
    stem = features.compiled(model.discriminator.stem)
    batches = range(0, len(test), _BATCH)
    rows = np.concatenate([stem(test.images[k : k + _BATCH])[0] for k in batches])
    layer = model.discriminator.tail.get_layer("score")
    weights = keras.ops.convert_to_numpy(layer.weights_of_evidence)

    def auroc(own: np.ndarray) -> float:
        layer.weights_of_evidence.assign(own)
        scores = keras.ops.convert_to_numpy(layer(rows))[:, 0]
        return float(roc_auc_score(test.labels, -scores))

    def without(*kinds: int) -> float:
        own = weights.copy()
        own[list(kinds)] = 0.0
        return auroc(own)

    unlike = range(2, len(weights) - 1)
    shares = [evidence._UNLIKE / len(unlike)] * len(unlike)
    in_places = [evidence._LEARNED, evidence._DISTANCE, *shares, evidence._LIKE]
    whole = [1.0, layer.distance_weight / (1 + count / 2), *[0.0] * (len(unlike) + 1)]
    return {
        "all": auroc(weights),
        "no learned": without(_LEARNED),
        "no distance": without(_DISTANCE),
        "no unlike": without(*unlike),
        "no like": without(_LIKE),
        "no places": without(*unlike, _LIKE),
        "places alone": without(_LEARNED, _DISTANCE),
        "unlike alone": without(_LEARNED, _DISTANCE, _LIKE),
        "always places": auroc(np.array(in_places)[:, None]),
        "always whole": auroc(np.array(whole)[:, None]),
    }


if __name__ == "__main__":
    main()
