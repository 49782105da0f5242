"""The pixels that the phone samples' unit tests expect: small images through Pillow.

`python tests/helpers/pixel_vectors.py` writes them beside the tests of both samples. A
line is `kind width height new_width new_height RGBA RGB`, the pixels in hexadecimal;
the kind is `stretch` (opaque pixels), `alpha` (translucent ones) or `turn` and an EXIF
orientation.
"""

import io
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from egan_keras.data.decoding import EncodedImage, decode

EXPORT = Path(__file__).parents[2] / "export"
FILES = (
    EXPORT / "android/app/src/test/resources/pixel_vectors.txt",
    EXPORT / "ios/EganSampleTests/pixel_vectors.txt",
)

# (height, width) of the image and of the result: smaller, larger, one side, the same.
# None has its height reduced much more than its width: there Pillow 13 resizes
# vertically first, Pillow 12 horizontally, and a byte may differ by 1.
_SIZES = (
    ((30, 41), (8, 8)),
    ((5, 7), (4, 3)),
    ((2, 3), (9, 8)),
    ((9, 5), (3, 5)),
    ((5, 9), (5, 3)),
    ((4, 4), (4, 4)),
    ((1, 1), (2, 3)),
    ((16, 1), (5, 1)),
)


def text() -> str:
    """Return the lines, made anew; the images are random and always the same."""
    random = np.random.default_rng(0)
    lines = [
        "# Made by tests/helpers/pixel_vectors.py with Pillow:",
        "# kind width height new_width new_height RGBA RGB",
    ]
    for size, target in _SIZES:
        lines.append(_line("stretch", random, size, target))
    for size, target in (((4, 4), (4, 4)), ((5, 7), (3, 4)), ((64, 4), (64, 4))):
        lines.append(_line("alpha", random, size, target))
    for orientation in range(1, 9):
        target = (2, 3) if orientation < 5 else (3, 2)
        lines.append(_line(f"turn{orientation}", random, (2, 3), target, orientation))
    return "\n".join(lines) + "\n"


def _line(kind, random, size, target, orientation=1) -> str:
    """Return one vector: a random image and what Python's side makes of it."""
    pixels = random.integers(0, 256, (*size, 4), dtype=np.uint8)
    if kind != "alpha":
        pixels[..., 3] = 255
    image = Image.fromarray(pixels if kind == "alpha" else pixels[..., :3])
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = orientation
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    result = decode(EncodedImage("vector.png", file.getvalue()), target).pixels
    return (
        f"{kind} {size[1]} {size[0]} {target[1]} {target[0]} "
        f"{pixels.tobytes().hex()} {result.tobytes().hex()}"
    )


if __name__ == "__main__":
    for path in FILES:
        path.write_text(text())
        print(f"written: {path}")
