"""What the world outside must be told of a model that it cannot see in it."""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Where a model comes from: what its metadata and model card tell.

    Attributes:
        majority: Names of the classes that are the majority.
        minority: Names of the classes that are the minority.
        n_majority: Majority images in training; `None` if not known.
        n_minority: Minority images in training; `None` if not known.
        report: The values of a `Report` on test images, as in `report.json`.
        seed: Seed of the training.
        gray_range: Values that were black and white in its images of more than 8 bits;
            `None` takes all that their type can hold.
    """

    majority: tuple[str, ...] = ("majority",)
    minority: tuple[str, ...] = ("minority",)
    n_majority: int | None = None
    n_minority: int | None = None
    report: Mapping[str, Any] | None = None
    seed: int | None = None
    gray_range: tuple[float, float] | None = None
