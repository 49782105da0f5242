"""The page that labels: images in the order that helps most, and training again."""

from egan_keras.review.session import FARTHEST as FARTHEST
from egan_keras.review.session import LOWEST as LOWEST
from egan_keras.review.session import NEAREST as NEAREST
from egan_keras.review.session import TURNS as TURNS
from egan_keras.review.session import order as order
