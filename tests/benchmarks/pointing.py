"""Whether heat maps point at defects whose places are known.

Run `python tests/benchmarks/pointing.py IMAGES`. Of each kind of defect two and ten
images are trained on, by `default`, by PatchCore and by PaDiM on the same maps; in test
images with a mask or a box, two questions are asked of the heat maps: is the hottest
place in the defect, give or take one place (pointing game), and what is the area under
the ROC of an image's pixels. Majority images and the rest of the minority are not
looked at. The table holds means over seeds, and in the end over tasks.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas
from PIL import Image
from scipy.ndimage import maximum_filter
from sklearn.metrics import roc_auc_score

import egan_keras as ek
from egan_keras import features
from egan_keras.baselines.on_maps import padim_scores, patchcore_scores

_BOARDS = "copper mousebite open pinhole short spur".split()
_COUNTS = 2, 10
# Of a place of the largest map, in pixels of the network.
_PLACE = 8


def main() -> None:
    """Runs all tasks and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "images", type=Path, help="folder of tiles, tiles_masks and sets"
    )
    parser.add_argument("--backbone", default="MobileNetV2:alpha=0.35")
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    tiles, boards = given.images / "tiles", given.images / "sets/pcb_deeppcb"
    boxes = json.loads((boards / "boxes.json").read_text())

    def masked(path: Path, size: tuple[int, int]) -> np.ndarray | None:
        place = given.images / "tiles_masks" / path.parent.name / f"{path.stem}.png"
        if not place.exists():
            return None
        mask = Image.open(place).convert("L").resize(size[::-1], Image.Resampling.BOX)
        return np.asarray(mask) > 127

    def boxed(path: Path, size: tuple[int, int]) -> np.ndarray:
        width, height = Image.open(path).size
        mask = np.zeros(size, bool)
        for left, top, right, bottom in boxes[path.relative_to(boards).as_posix()]:
            down, across = size[0] / height, size[1] / width
            rows = slice(int(top * down), round(bottom * down) + 1)
            mask[rows, int(left * across) : round(right * across) + 1] = True
        return mask

    tasks = [(tiles, kind, masked) for kind in ("blowhole", "uneven")]
    tasks += [(boards, kind, boxed) for kind in _BOARDS]
    rows = []
    for root, kind, truth in tasks:
        for count in _COUNTS:
            for seed in range(given.seeds):
                for method, answers in _run(
                    root, kind, truth, count, seed, given.backbone
                ).items():
                    own = {"task": kind, "minority": count, "method": method}
                    rows.append(own | answers)
        done = pandas.DataFrame([row for row in rows if row["task"] == kind])
        print(kind, done.groupby(["minority", "method"]).mean(True).round(3), sep="\n")
    found = pandas.DataFrame(rows).groupby(["task", "minority", "method"]).mean(True)
    wide = found.unstack("method").round(3)
    print(wide.to_string())
    print(found.groupby(["minority", "method"]).mean().round(3).to_string())


def _run(
    root: Path, kind: str, truth: Callable, count: int, seed: int, backbone: str
) -> dict[str, dict[str, float]]:
    keras.utils.set_random_seed(seed)
    splits = ek.load_folder(
        root, majority="good", minority=kind, minority_count=count, seed=seed
    )
    train, _, test = splits
    model = ek.EGAN.from_backbones(
        backbone, backbone, image_shape=train.images.shape[1:]
    )
    model.compile()
    model.fit(train.images, train.labels, verbose=0)
    minority = np.flatnonzero(test.labels)
    images = test.images[minority]
    size = images.shape[1:3]
    masks = [truth(Path(test.paths[row]), size) for row in minority]
    known = [n for n, mask in enumerate(masks) if mask is not None and mask.any()]
    images, masks = images[known], [masks[n] for n in known]
    ours = ek.heat_maps(model, images)
    stem = features.compiled(model.discriminator.stem)
    store = features.FeatureStore("memory", verbose=0)
    usual, unknown = (
        store.features(each, stem.maps, "", show=False)
        for each in (train.images[train.labels == 0], images)
    )
    answers = {"default": _judged(ours, masks)}
    for name, method in {"PatchCore": patchcore_scores, "PaDiM": padim_scores}.items():
        _, heat = method(usual, unknown, seed=seed)
        heat = keras.ops.image.resize(heat[..., None].astype("float32"), size)
        heat = keras.ops.convert_to_numpy(heat)[..., 0]
        answers[name] = _judged(heat, masks)
    return answers


def _judged(heat: np.ndarray, masks: list[np.ndarray]) -> dict[str, float]:
    reach = 1 + 2 * round(_PLACE * masks[0].shape[0] / 224)
    hits, areas = [], []
    for own, mask in zip(heat, masks, strict=True):
        near = maximum_filter(mask, reach)
        hits.append(near[np.unravel_index(own.argmax(), own.shape)])
        if not mask.all():
            areas.append(roc_auc_score(mask.ravel(), own.ravel()))
    return {"pointing": float(np.mean(hits)), "pixel AUROC": float(np.mean(areas))}


if __name__ == "__main__":
    main()
