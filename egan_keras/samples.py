"""Images to try the package on: handwritten digits, and photographs of solar cells.

Digits: scikit-learn ships 1,797 scans of 8x8 pixels and 17 grey levels (Alpaydin and
Kaynak 1998, doi 10.24432/C50P49), so nothing is downloaded. A backbone is pre-trained
on some of them. Eight classes alone teach it too little to transfer; so each digit
turned by 90, 180 and 270 degrees counts as a class of its own (Santoro et al. 2016,
Meta-Learning with Memory-Augmented Neural Networks, did so with handwritten
characters).

Solar cells: the package `elpv-dataset` carries 2,624 electroluminescence photographs
of 300x300 pixels (Deitsch et al. 2019, doi 10.1016/j.solener.2019.02.067), under CC
BY-NC-SA 4.0: they may be used and passed on with their authors' names, not for money,
and what is made of them under the same licence. So none of them is in this package.

Experts gave each cell a probability of a defect. Those of 0 are the majority, those of
1 the minority; the 401 cells of 1/3 and 2/3 are left out.

Cells of one module look alike, and no file says which module a cell is of. But the
list has its mono- and polycrystalline cells in stretches, most of them of a multiple of
60 or 72, which are usual sizes of modules: it seems to go through the modules one by
one. So about 60 neighbours of one type count as a group, which keeps most of a module
on one side of a split. Some are cut in two.
"""

import csv
import importlib.util
import os
from collections.abc import Collection
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from egan_keras.files import whole_file

if TYPE_CHECKING:
    import keras

DIGITS_BACKBONE = "MobileNet:alpha=0.25"
DIGITS_NETWORK_SIZE = 64
IMAGE_SIZE = 32
DIGITS_EPOCHS = 6

_DIGITS = 10
_TURNS = 4
_BATCH_SIZE = 32
FUNCTIONAL, DEFECTIVE = "functional", "defective"
_LABELS = {"0.0": FUNCTIONAL, "1.0": DEFECTIVE}
_CELLS_OF_A_MODULE = 60


def digit_images() -> tuple[np.ndarray, np.ndarray]:
    """Returns all digits, uint8 (1797, 32, 32, 3), and which digit each of them is."""
    scans = load_digits()
    pixels = (scans.images * (255 / 16)).astype(np.uint8)
    images = [
        Image.fromarray(scan).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
        for scan in pixels
    ]
    return np.repeat(np.stack(images)[..., None], 3, axis=-1), scans.target


def write_digits(
    root: str | os.PathLike, digits: Collection[int], *, seed: int = 0
) -> None:
    """Writes the images of some digits as `root/{train,test}/<digit>/<number>.png`.

    Two fifths of each digit's images, drawn by the seed, go to `test`.
    """
    images, targets = digit_images()
    for digit in digits:
        parts = train_test_split(
            np.flatnonzero(targets == digit), test_size=0.4, random_state=seed
        )
        for split, numbers in zip(("train", "test"), parts, strict=True):
            folder = Path(root) / split / str(digit)
            folder.mkdir(parents=True, exist_ok=True)
            for number in numbers:
                Image.fromarray(images[number]).save(folder / f"{number:04}.png")


def source_images(unseen: Collection[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns images and classes of the source task, to train on and held out.

    A class is the digit plus ten times the number of quarter turns.
    """
    images, digits = digit_images()
    kept = np.flatnonzero(~np.isin(digits, list(unseen)))
    by_class = {"stratify": digits[kept], "random_state": 0}
    parts = train_test_split(kept, test_size=0.2, **by_class)
    turns = range(_TURNS)
    return [
        (
            np.concatenate([np.rot90(images[part], n, axes=(1, 2)) for n in turns]),
            np.concatenate([digits[part] + _DIGITS * n for n in turns]),
        )
        for part in parts
    ]


def pretrain(
    weights: str | os.PathLike,
    *,
    unseen: Collection[int],
    backbone: str = DIGITS_BACKBONE,
    epochs: int = DIGITS_EPOCHS,
    seed: int = 0,
    verbose: str | int = "auto",
) -> float:
    """Trains a backbone on the source task, and writes its weights without top.

    Args:
        weights: the file to write, named `<name>.weights.h5`.
        unseen: the digits that it must not see.
        backbone: as `Backbone.parse` reads it.
        epochs: passes over the images.
        seed: of Keras, NumPy and Python from here on.
        verbose: as in `keras.Model.fit`.

    Returns:
        The share of held-out images of the source task told right, 0..1.
    """
    if not str(weights).endswith(".weights.h5"):
        raise ValueError(
            "The weights file has the wrong name; expected one that ends in "
            f"'.weights.h5', as Keras wants. Received: weights={str(weights)!r}. Name "
            "it 'source.weights.h5', for example."
        )
    import keras

    from egan_keras.backbones import Backbone

    keras.utils.set_random_seed(seed)
    train, held_out = source_images(unseen)
    parsed = Backbone.parse(backbone)
    network = parsed.build(DIGITS_NETWORK_SIZE, weights=None)
    classifier = _classifier(network, parsed.name)
    steps = epochs * -(-len(train[0]) // _BATCH_SIZE)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    classifier.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        # Compiling it by XLA takes longer than the training, on a CPU.
        jit_compile=False,
    )
    classifier.fit(*train, batch_size=_BATCH_SIZE, epochs=epochs, verbose=verbose)
    _, accuracy = classifier.evaluate(*held_out, verbose=0)
    network.save_weights(weights)
    return float(accuracy)


def _classifier(network: "keras.Model", name: str) -> "keras.Model":
    import keras
    from keras import layers

    from egan_keras.backbones import BackbonePreprocessing

    for layer in network.layers:
        # With Keras's 0.99, the moving statistics lag behind so short a training.
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.9
    return keras.Sequential(
        [
            keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3)),
            layers.RandomTranslation(0.1, 0.1, fill_mode="constant", seed=0),
            layers.RandomRotation(0.05, fill_mode="constant", seed=1),
            layers.RandomZoom(0.1, 0.1, fill_mode="constant", seed=2),
            layers.Resizing(DIGITS_NETWORK_SIZE, DIGITS_NETWORK_SIZE),
            BackbonePreprocessing(name),
            network,
            layers.GlobalAveragePooling2D(),
            layers.Dense(_DIGITS * _TURNS),
        ]
    )


def solar_cells_folder() -> Path:
    """Returns the folder below which the photographs are.

    Raises:
        ImportError: If the package that has them is not installed.
    """
    found = importlib.util.find_spec("elpv_dataset")
    if found is None:
        raise ImportError(
            "The photographs of solar cells are not installed: "
            "pip install elpv-dataset (91 MB, for non-commercial use)."
        )
    return Path(found.origin).resolve().parent / "data"


def write_solar_cells(path: str | os.PathLike) -> Path:
    """Writes the table that `load_table` and `--labels` read; returns their ROOT.

    Its columns are `path`, `label` and `group`.

    Raises:
        ImportError: If the package that has the photographs is not installed.
    """
    root = solar_cells_folder()
    lines = (root / "labels.csv").read_text(encoding="utf-8").splitlines()
    cells = [line.split() for line in lines if line]
    rows = [("path", "label", "group")]
    for stretch, (_, found) in enumerate(groupby(cells, key=lambda cell: cell[2])):
        alike = list(found)
        n_groups = max(1, round(len(alike) / _CELLS_OF_A_MODULE))
        for number, (name, probability, _) in enumerate(alike):
            if probability in _LABELS:
                group = f"{stretch}-{number * n_groups // len(alike)}"
                rows.append((name, _LABELS[probability], group))

    with whole_file(path) as target:
        with target.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    return root
