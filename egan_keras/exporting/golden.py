"""Golden samples: images and their scores, to check one's own integration by."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from egan_keras.exporting.evidence import Scored
from egan_keras.exporting.tflite_model import TFLiteModel

_OF_EACH_DECISION = 4
_SMALLEST_TOLERANCE = 1e-3
# Other processors round otherwise, about as much as this machine's two sets of
# kernels do.
_MARGIN = 2
# A decision that any sound arithmetic makes alike, in deviations of the scores.
_CLEAR = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Golden:
    """Images with what the exported model makes of them.

    Attributes:
        images: uint8 (n, h, w, 3).
        scores: float32 (n,).
        is_minority: 0 or 1, int (n,).
        tolerance: Largest difference of a score that is right.
    """

    images: np.ndarray
    scores: np.ndarray
    is_minority: np.ndarray
    tolerance: float

    def write(self, folder: Path) -> dict[str, Any]:
        """Writes the images as PNG, and returns what JSON tells of them.

        Args:
            folder: Folder to make, beside the JSON.
        """
        folder.mkdir()
        listed = []
        rows = zip(self.images, self.scores, self.is_minority, strict=True)
        for number, (image, score, is_minority) in enumerate(rows):
            name = f"{number:02d}_{'minority' if is_minority else 'majority'}.png"
            Image.fromarray(image).save(folder / name)
            listed.append(
                {
                    "file": f"{folder.name}/{name}",
                    "score": float(score),
                    "is_minority": int(is_minority),
                }
            )
        return {"tolerance": self.tolerance, "images": listed}


def choose_golden(content: bytes, scored: Scored) -> Golden:
    """Chooses images that are called minority and majority, over the whole range.

    They are clear of the threshold, where there are such.

    Args:
        content: The bytes of the .tflite file.
        scored: Images to choose from.
    """
    images = np.clip(np.rint(scored.images), 0, 255).astype(np.uint8)
    ordinary, plain = TFLiteModel(content), TFLiteModel(content, plain_kernels=True)
    scores = ordinary.predict(images)[:, 0]
    order = np.argsort(scores)
    candidates = order[np.unique(np.linspace(0, len(order) - 1, 64).astype(int))]
    differences = plain.predict(images[candidates])[:, 0] - scores[candidates]
    tolerance = max(_SMALLEST_TOLERANCE, _MARGIN * float(np.abs(differences).max()))
    tolerance = float(f"{tolerance:.1e}")
    distances = scores - ordinary.threshold
    clearance = max(2 * tolerance, _CLEAR * float(scores.std()))
    chosen = []
    for rows in (order[distances[order] < 0], order[distances[order] >= 0]):
        clear = rows[np.abs(distances[rows]) > clearance]
        if not len(clear):
            clear = rows[np.argsort(-np.abs(distances[rows]))[:1]]
        if len(clear):
            spaced = np.linspace(0, len(clear) - 1, _OF_EACH_DECISION).astype(int)
            chosen.extend(clear[np.unique(spaced)])
    outputs = ordinary.outputs(images[chosen])
    return Golden(
        images=images[chosen],
        scores=outputs["score"][:, 0],
        is_minority=outputs["is_minority"][:, 0].astype(int),
        tolerance=tolerance,
    )
