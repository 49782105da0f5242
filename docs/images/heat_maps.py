"""Makes heat_maps.png: heat maps of drawn plates, so that no photograph is needed.

    python docs/images/heat_maps.py

Plates are brushed metal, drawn by a seeded generator; a few have a scratch or a pit.
Ten of those are trained on, and plates that the model has not seen are shown.
"""

from pathlib import Path

import keras
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

import egan_keras as ek
from egan_keras.evaluation import overlaid

SIDE, SHOWN, WIDTH, GAP = 224, 5, 160, 6
BACKBONE = "MobileNetV2:alpha=0.35"


def plate(random: np.random.Generator, defect: bool) -> np.ndarray:
    """Returns a plate as RGB pixels, uint8 (SIDE, SIDE, 3)."""
    lines = random.normal(size=(SIDE, 1)) * 7 + random.normal(size=(SIDE, SIDE)) * 9
    light = np.linspace(*random.uniform(-18, 18, size=2), SIDE)
    gray = 150 + random.uniform(-12, 12) + lines + light
    picture = Image.fromarray(np.uint8(np.clip(gray, 0, 255)))
    if defect:
        draw = ImageDraw.Draw(picture)
        x, y = random.integers(35, SIDE - 35, size=2)
        if random.random() < 0.5:
            angle, length = random.uniform(0, np.pi), random.uniform(12, 26)
            dx, dy = length * np.cos(angle), length * np.sin(angle)
            ends = [x - dx, y - dy, x + dx, y + dy]
            draw.line(ends, fill=int(random.integers(85, 115)), width=2)
        else:
            r = random.uniform(4, 7)
            tone = int(random.integers(85, 115))
            draw.ellipse([x - r, y - r * 0.8, x + r, y + r * 0.8], fill=tone)
    # Of all plates alike: nothing but the defect is to tell them apart.
    picture = picture.filter(ImageFilter.GaussianBlur(1))
    return np.array(picture.convert("RGB"))


def plates(seed: int, good: int, defective: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns plates and their labels."""
    random = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [good, defective])
    return np.stack([plate(random, bool(each)) for each in labels]), labels


def main() -> None:
    """Trains on plates, and writes the picture beside this file."""
    keras.utils.set_random_seed(0)
    images, labels = plates(0, 200, 10)
    model = ek.EGAN.from_backbones(BACKBONE, BACKBONE, image_shape=images.shape[1:])
    model.compile()
    model.fit(images, labels, verbose=2)
    model.calibrate(*plates(1, 80, 0), specificity=0.95)
    print(ek.evaluate(model, *plates(2, 100, 100)))
    shown, _ = plates(3, 2, SHOWN - 2)
    maps = ek.heat_maps(model, shown)
    print(model.predict(shown, verbose=0).ravel(), model.threshold, maps.max((1, 2)))
    marked = [overlaid(*pair) for pair in zip(shown, maps, strict=True)]
    step = WIDTH + GAP
    sheet = Image.new("RGB", (SHOWN * step - GAP, 2 * step - GAP), "white")
    for row, pictures in enumerate((shown, marked)):
        for column, pixels in enumerate(pictures):
            small = Image.fromarray(pixels).resize((WIDTH, WIDTH))
            sheet.paste(small, (column * step, row * step))
    path = Path(__file__).with_suffix(".png")
    few = {"method": Image.Quantize.MAXCOVERAGE, "dither": Image.Dither.NONE}
    sheet.quantize(96, **few).save(path, optimize=True)


if __name__ == "__main__":
    main()
