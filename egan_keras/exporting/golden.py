"""Golden samples: images and their scores, to check one's own integration by."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from egan_keras.exporting.evidence import Evidence
from egan_keras.exporting.tflite_model import TFLiteModel

_OF_EACH_DECISION = 4
_COMPARED = 64
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


def choose_golden(content: bytes, evidence: Evidence) -> Golden:
    """Chooses images that are called minority and majority, over the whole range.

    They are clear of the threshold, where there are such, and the model in Keras calls
    them alike.

    Args:
        content: The bytes of the .tflite file.
        evidence: Held-out images to choose from.
    """
    scored = evidence.held_out
    images = np.clip(np.rint(scored.images), 0, 255).astype(np.uint8)
    exported = TFLiteModel(content)
    scores = exported.predict(images)[:, 0]
    tolerance = _tolerance(content, images, scores)
    distances = scores - exported.threshold
    alike = (distances < 0) == (scored.scores < evidence.threshold)
    clear = np.abs(distances) > max(2 * tolerance, _CLEAR * float(scores.std()))
    chosen = np.concatenate(
        [
            _over_the_range(np.flatnonzero(side & alike), distances, clear)
            for side in (distances < 0, distances >= 0)
        ]
    )
    return Golden(
        images=images[chosen],
        scores=scores[chosen],
        is_minority=(distances[chosen] < 0).astype(int),
        tolerance=tolerance,
    )


def _tolerance(content: bytes, images: np.ndarray, scores: np.ndarray) -> float:
    rows = np.argsort(scores)[np.linspace(0, len(scores) - 1, _COMPARED).astype(int)]
    plain = TFLiteModel(content, plain_kernels=True)
    differences = plain.predict(images[rows])[:, 0] - scores[rows]
    widest = _MARGIN * float(np.abs(differences).max())
    return float(f"{max(_SMALLEST_TOLERANCE, widest):.1e}")


def _over_the_range(
    rows: np.ndarray, distances: np.ndarray, clear: np.ndarray
) -> np.ndarray:
    """Returns a few of the rows, from the lowest score to the highest."""
    ordered = rows[np.argsort(distances[rows])]
    if clear[ordered].any():
        ordered = ordered[clear[ordered]]
    elif len(ordered):
        ordered = ordered[[np.argmax(np.abs(distances[ordered]))]]
    else:
        return ordered
    spaced = np.linspace(0, len(ordered) - 1, _OF_EACH_DECISION).astype(int)
    return ordered[np.unique(spaced)]
