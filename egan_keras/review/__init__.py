"""The page that labels: images in the order that helps most, and training again."""

from egan_keras.review.feature_rows import compact, feature_rows
from egan_keras.review.learning import learns_again, on_features, trained_on
from egan_keras.review.ordering import FARTHEST, LOWEST, NEAREST, TURNS, order

__all__ = [
    "FARTHEST",
    "LOWEST",
    "NEAREST",
    "TURNS",
    "compact",
    "feature_rows",
    "learns_again",
    "on_features",
    "order",
    "trained_on",
]
