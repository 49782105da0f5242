"""Golden samples: images whose scores were written down when the model was exported."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from description import ModelError
from images import UnreadableImageError, decode_image
from model import Model
from text import printable


class Sample(NamedTuple):
    """One golden image, what it was scored then, and how far that may differ."""

    path: Path
    name: str
    score: float
    is_minority: int
    tolerance: float


def read_samples(beside: dict[str, Any], folder: Path) -> list[Sample]:
    """Return the golden samples that the JSON beside a model names.

    Args:
        beside: the JSON's object, as `description.read_beside` gave it.
        folder: where the JSON is; the images lie in it or below.

    Raises:
        ModelError: if it names none, or files elsewhere.
    """
    tolerance = beside["golden"]["tolerance"]
    samples = [
        Sample(
            folder / entry["file"],
            entry["file"],
            entry["score"],
            entry["is_minority"],
            tolerance,
        )
        for entry in beside["golden"]["images"]
    ]
    inside = folder.resolve()
    if samples and all(inside in each.path.resolve().parents for each in samples):
        return samples
    raise ModelError(
        "The JSON beside the model names no golden samples; expected images with files "
        f"below its folder. Received: folder={str(folder)!r}. Export the model again."
    )


def verify(model: Model, samples: list[Sample]) -> Iterator[tuple[bool, str]]:
    """Score golden samples, and yield whether each passes and a line that says so."""
    for sample in samples:
        name = printable(sample.name)
        try:
            image = decode_image(sample.path)
        except UnreadableImageError as error:
            yield False, f"FAILED  {name}  {error}"
            continue
        if image.shape[:2] != model.size:
            yield False, f"FAILED  {name}  its size is not the model's"
            continue
        found = model.score(image)
        difference = found.score - sample.score
        passed = (
            abs(difference) <= sample.tolerance
            and found.is_minority == sample.is_minority
        )
        yield (
            passed,
            f"{'ok' if passed else 'FAILED':<6}  {name}  score "
            f"{found.score:.6g}, expected {sample.score:.6g}, difference "
            f"{difference:+.2e}, is_minority {found.is_minority}, expected "
            f"{sample.is_minority}",
        )
