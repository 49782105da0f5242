"""Where an image speaks for minority: what its places give to the score."""

import keras
from keras import ops

from egan_keras.networks.cut_network import CutNetwork
from egan_keras.networks.evidence import WeighedEvidence
from egan_keras.networks.matched_filter import enlarged
from egan_keras.networks.places import PlaceEvidence


class ScoreAndHeatMap:
    """Scores images, and maps what their places give to the scores.

    Of `WeighedEvidence` a heat map has the terms of places, at each place rather than
    at the three most telling ones of an image: the score falls as these rise. Its unit
    is what the score is in the middle of the majority: where the most telling places
    reach 1, an image that is usual in all else has score 0. The maps of all depths are
    interpolated to the images' size and added up.

    Args:
        discriminator: A discriminator that judges places.

    Raises:
        ValueError: If it does not.
    """

    def __init__(self, discriminator: CutNetwork) -> None:
        stem, tail = discriminator.stem, discriminator.tail
        places = [x for x in stem.layers if isinstance(x, PlaceEvidence)]
        score = [x for x in tail.layers if isinstance(x, WeighedEvidence)]
        if not (places and score and len(discriminator.input_shape) == 4):
            raise ValueError(
                "This model judges images as wholes, so that there is no place to "
                "point at; expected one of recipe='default' with place_depths=1 or "
                "more, on images. Received: a discriminator without layers that judge "
                "places. Train one with this version."
            )
        (self._places,), (self._score,), self._tail = places, score, tail
        maps = keras.tree.flatten(self._places.input)
        self.row_and_maps = keras.Model(stem.input, [stem.output, *maps])
        self._size = discriminator.input_shape[1:3]

    def __call__(self, images) -> tuple:
        """Returns scores (n, 1), and heat maps (n, h, w), of images (n, h, w, 3)."""
        return self.finish(self.row_and_maps(images, training=False))

    def finish(self, row_and_maps: list) -> tuple:
        """Returns them from the stem's output, and the maps that it judges."""
        row, *maps = row_and_maps
        maps = [ops.cast(own, self._places.compute_dtype) for own in maps]
        heat = 0.0
        for kind, each in enumerate(self._places.heat(maps)):
            term = self._score.term_of_place(kind, each)
            heat += enlarged(term[..., None], self._size)
        return self._tail(row, training=False), ops.squeeze(heat, axis=-1)
