"""The page that labels: images in the order that helps most, and training again."""

from egan_keras.review.ordering import (
    FARTHEST,
    LOWEST,
    NEAREST,
    TURNS,
    compact,
    order,
)

__all__ = ["FARTHEST", "LOWEST", "NEAREST", "TURNS", "compact", "order"]
