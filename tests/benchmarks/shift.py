"""What `egan-keras check` sees of changed images, and how often it warns in vain.

    python tests/benchmarks/shift.py --images IMAGES [--count N]

Trains `default` on sets below IMAGES/sets, and prints two tables. The first is of how
many images are called unlike anything seen: test images of either class, and those of
the other sets. The second is of warnings: on random samples of 50 majority images as
they are, and changed by brightness, blur, JPEG and another crop; and on samples of the
test split beside validation images, which in solar_elpv are of other modules and in
pcb_deeppcb of other boards.
"""

import argparse
import io
import os
import platform
from pathlib import Path

import keras
import numpy as np
from PIL import Image, ImageFilter

import egan_keras as ek
from egan_keras.evaluation import shift

_SETS = {
    "solar_elpv": (["functional"], "defective"),
    "bees_pollen": (["no_pollen"], "pollen"),
    "coffee_leaf": (["healthy", "miner", "phoma", "rust"], "cercospora"),
    "pcb_deeppcb": (["good"], "short"),
    "satellite_eurosat": (["country"], "highway"),
    "waste_trashnet": (["recyclable"], "trash"),
}
_BACKBONE, _SIDE, _MOST = "MobileNetV2:alpha=0.35", 224, 150
_FOREIGN, _SAMPLE, _SAMPLES, _LEVEL = 20, 50, 200, 0.01


def main() -> None:
    """Trains on each set, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10, help="minority images")
    given = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores; {_BACKBONE}, seed 0\n")
    splits = {name: _load(given, name) for name in _SETS}
    pictures = {
        name: _pictures(each.test, None, _FOREIGN) for name, each in splits.items()
    }
    aliens, warnings = [], []
    for name, own in splits.items():
        model = _trained(own)
        others = np.concatenate([x for each, x in pictures.items() if each != name])
        found = _judged(model, own, others)
        aliens.append(f"| {name} | {' | '.join(f'{x:.0%}' for x in found)} |")
        found = _warned(model, own)
        warnings.append(f"| {name} | {' | '.join(f'{x:.0%}' for x in found)} |")
    print("| set | majority | minority | other sets |\n|---|---|---|---|")
    print("\n".join(aliens))
    head = [*_changes(), "test split beside validation"]
    print(f"\n| set | {' | '.join(head)} |")
    print("|---" * (1 + len(head)) + "|")
    print("\n".join(warnings))


def _load(given: argparse.Namespace, name: str) -> ek.Splits:
    majority, minority = _SETS[name]
    root, roles = given.images / "sets" / name, {"majority": majority}
    roles |= {"minority": minority, "minority_count": given.count}
    return ek.load_folder(root, **roles, image_size=_SIDE, lazy=True)


def _trained(splits: ek.Splits) -> ek.EGAN:
    keras.utils.set_random_seed(0)
    shape = (_SIDE, _SIDE, 3)
    model = ek.EGAN.from_backbones(_BACKBONE, _BACKBONE, image_shape=shape)
    model.compile()
    model.fit(splits.train.images, splits.train.labels, verbose=0)
    return model


def _pictures(split: ek.LabelledImages, label: int | None, count: int) -> np.ndarray:
    rows = np.arange(len(split))
    if label is not None:
        rows = np.flatnonzero(split.labels == label)
    rows = np.random.default_rng(0).permutation(rows)[:count]
    return np.asarray(split.images.select(np.sort(rows)))


def _judged(model: ek.EGAN, splits: ek.Splits, others: np.ndarray) -> list[float]:
    """Returns the shares of images that are called unlike anything seen."""
    held_out = model.judge(_pictures(splits.validation, 0, _MOST))[:2]
    known = model.judge(_pictures(splits.train, 1, _MOST))[1]
    given = (_pictures(splits.test, 0, _MOST), _pictures(splits.test, 1, _MOST), others)
    return [
        shift(*model.judge(images)[:2], *held_out, known).is_alien.mean()
        for images in given
    ]


def _warned(model: ek.EGAN, splits: ek.Splits) -> list[float]:
    """Returns the shares of samples of which it warns, for each change.

    What the images are compared with is a half of validation and test majority images,
    drawn anew each time, so that samples that are not changed are drawn alike.
    """
    parts = [_pictures(each, 0, _MOST) for each in (splits.validation, splits.test)]
    images, count = np.concatenate(parts), len(parts[0])
    known, found = model.judge(images)[:2], []

    def share_warned(judged: tuple, draw) -> float:
        random, warned = np.random.default_rng(0), 0
        for _ in range(_SAMPLES):
            new, old = draw(random)
            both = shift(*(x[new] for x in judged), *(x[old] for x in known))
            warned += both.lowers_scores(_LEVEL) or both.looks_different(_LEVEL)
        return warned / _SAMPLES

    def halves(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        old, new = np.split(random.permutation(len(images)), [len(images) // 2])
        return new[:_SAMPLE], old

    def splits_apart(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        new = count + random.permutation(len(parts[1]))
        return new[:_SAMPLE], np.arange(count)

    for change in _changes().values():
        judged = known if change is None else model.judge(change(images))[:2]
        found.append(share_warned(judged, halves))
    return [*found, share_warned(known, splits_apart)]


def _changes() -> dict:
    """Returns what is done to images, by its name."""
    return {
        "as they are": None,
        "brighter by 10 %": lambda x: np.clip(1.1 * x, 0, 255).astype("uint8"),
        "by 30 %": lambda x: np.clip(1.3 * x, 0, 255).astype("uint8"),
        "blurred, 1 pixel": lambda x: _each(x, lambda i: i.filter(_blur(1))),
        "3 pixels": lambda x: _each(x, lambda i: i.filter(_blur(3))),
        "JPEG 50": lambda x: _each(x, lambda i: _jpeg(i, 50)),
        "JPEG 10": lambda x: _each(x, lambda i: _jpeg(i, 10)),
        "cropped to 90 %": lambda x: _each(x, lambda i: _cropped(i, 0.05)),
        "to 70 %": lambda x: _each(x, lambda i: _cropped(i, 0.15)),
    }


def _each(images: np.ndarray, change) -> np.ndarray:
    return np.stack([np.asarray(change(Image.fromarray(each))) for each in images])


def _blur(pixels: int) -> ImageFilter.GaussianBlur:
    return ImageFilter.GaussianBlur(pixels)


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def _cropped(image: Image.Image, margin: float) -> Image.Image:
    width, height = image.size
    box = (margin * width, margin * height, width * (1 - margin), height * (1 - margin))
    return image.resize(image.size, box=box)


if __name__ == "__main__":
    main()
