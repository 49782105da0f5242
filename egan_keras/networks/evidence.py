"""The default recipe's last layer: kinds of evidence, weighed by the images.

What the places of an image give to its score is a heat map.
"""

import keras
import numpy as np
from keras import ops

from egan_keras.keras_hooks import find_layer
from egan_keras.networks.cut_network import CutNetwork
from egan_keras.networks.majority import FIVE_PERCENT_POINT, SMALL, MajorityAwareScore
from egan_keras.networks.matched_filter import enlarged, folds
from egan_keras.networks.places import PlaceEvidence

# Beyond so many standard deviations evidence grows with its logarithm alone.
_TAIL = 2.5

# Where images differ in places: weights of what was learned, of the vector's distance,
# of places unlike the majority, in all depths together, and of places like the few.
_LEARNED, _DISTANCE, _UNLIKE, _LIKE = 0.6, 0.3, 0.5, 1.5

# How much they do: small pictures mostly show one thing each; and minority images say
# it, from the third on, by which evidence finds those that it was not learned from.
_OFFSET = 1.5
_SMALL_SIDE, _SLOPE_OF_SIDE, _LEAST = 160, 3.0, -6.0
_SLOPE, _TOO_FEW = 0.6, 2


@keras.saving.register_keras_serializable("egan_keras")
class WeighedEvidence(MajorityAwareScore):
    """Adds up kinds of evidence for minority, in the majority's standard deviations.

    While it is trained it is a linear layer on the vector z, w.z + b. Its score is

        1.645 * sd(s) - s, where s = weights . evidence, its tails drawn in.

    Evidence is high for minority: what the linear layer has learned, -w.z / sd(w.z);
    the vector's Mahalanobis distance from the majority; and, behind the vector, the
    kinds of places, see `PlaceEvidence`. The weights lie between those for images that
    differ as a whole, as small pictures do, and those for images that differ in places.
    Their sum's deviation is the majority's.

    Args:
        distance_weight: Weight of the vector's distance where images differ as a whole
            and there is hardly any minority image; two images halve it.
        evidence_size: Number of kinds that stand behind the vector: unlike the
            majority in each depth, and like the few.
        side: Longer side of the images, pixels; `None` if it is not known.
        views: How many rows of features there are of each minority image, where they
            take the place of images.
        rank: As in `MajorityAwareScore`.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        distance_weight: float,
        evidence_size: int,
        side: int | None = None,
        views: int = 1,
        rank: int = 64,
        **kwargs,
    ) -> None:
        super().__init__(distance_weight, rank, **kwargs)
        self.evidence_size = evidence_size
        self.side = side
        self.views = views

    def build(self, input_shape):
        """Creates the linear layer, and statistics without effect until adapted."""
        size = input_shape[-1] - self.evidence_size
        super().build((None, size))
        options = {"initializer": "zeros", "trainable": False}
        self.weights_of_evidence = self.add_weight(
            (2 + self.evidence_size, 1), name="weights_of_evidence", **options
        )
        self.sum_deviation = self.add_weight((), name="sum_deviation", **options)

    def weigh(
        self,
        n_minority: int,
        majority: np.ndarray,
        minority: np.ndarray,
        places: np.ndarray,
        held_out: np.ndarray,
    ) -> None:
        """Takes the weights, and what they make of majority images.

        Vectors (n, d) are standardised, those of the minority all in one view before
        all in the next. `places` is evidence of majority images, (n, evidence_size);
        `held_out` what `PlaceEvidence.adapt` returned, (rows,).
        """
        depths = self.evidence_size - 1
        share = self._share_of_places(n_minority, minority, held_out)
        whole = np.zeros(2 + self.evidence_size)
        whole[:2] = 1, self.distance_weight / (1 + n_minority / 2)
        in_places = [_LEARNED, _DISTANCE, *depths * [_UNLIKE / depths], _LIKE]
        weights = (1 - share) * whole + share * np.array(in_places)
        if not n_minority:
            # There is nothing to be like.
            weights[[0, -1]] = 0.0
        self.weights_of_evidence.assign(weights[:, None])
        usual = np.column_stack([self.unlike(majority), places])
        usual = ops.convert_to_numpy(drawn_in(usual))
        deviation = np.sqrt(weights[0] ** 2 + (usual @ weights[1:]).var())
        self.sum_deviation.assign(deviation)

    def _share_of_places(self, count: int, minority, places) -> float:
        """Returns how much the weights are those of places, 0..1.

        `minority` are vectors of `count` images in all views, and `places` how like
        the others their places are, both by what was not learned from them.
        """
        says = _OFFSET
        if self.side:
            doublings = np.log2(self.side / _SMALL_SIDE)
            says += np.clip(_SLOPE_OF_SIDE * doublings, _LEAST, 0)
        if count > _TOO_FEW:
            both = places, self._learned_from_others(minority, count)
            in_places, whole = (ops.convert_to_numpy(drawn_in(x)).mean() for x in both)
            slope = _SLOPE * (1 - _TOO_FEW / count) * np.sqrt(count / 2)
            says += slope * (in_places - whole)
        return 1 / (1 + np.exp(-says))

    def _learned_from_others(self, vectors: np.ndarray, count: int) -> np.ndarray:
        """Returns how like the other minority images each is as a whole, (rows,).

        That is along the best linear direction that the others tell, Fisher's, in the
        majority's standard deviations.
        """
        found = np.zeros(len(vectors))
        for fitted, rows in folds(count, len(vectors) // count):
            direction = self.whitened(vectors[fitted].mean(axis=0))
            deviation = np.sqrt(vectors[fitted].mean(axis=0) @ direction)
            found[rows] = vectors[rows] @ direction / (deviation + SMALL)
        return found

    def call(self, features, training=False):
        """Returns the scores, (n, 1)."""
        size = self.kernel.shape[0]
        vector, places = features[:, :size], features[:, size:]
        linear = ops.matmul(vector, self.kernel)
        if training:
            return linear + self.bias
        learned = -linear / (self._linear_deviation() + SMALL)
        unlike = (self._distance(vector) - self.distance_mean) / self.distance_deviation
        evidence = drawn_in(ops.concatenate([learned, unlike, places], axis=-1))
        centre = FIVE_PERCENT_POINT * self.sum_deviation
        return centre - ops.matmul(evidence, self.weights_of_evidence)

    def term_of_place(self, kind: int, evidence):
        """Returns what standardised evidence of places takes from the score.

        Its unit is the middle of the majority's scores. `kind` counts from 0 behind the
        vector.
        """
        centre = FIVE_PERCENT_POINT * self.sum_deviation + SMALL
        return drawn_in(evidence) * self.weights_of_evidence[2 + kind, 0] / centre

    def get_config(self) -> dict:
        """Returns the arguments of the constructor."""
        names = "evidence_size", "side", "views"
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def drawn_in(evidence):
    """Returns evidence whose tails, beyond 2.5, grow with their logarithm alone."""
    inner = ops.clip(evidence, -_TAIL, _TAIL)
    return inner + ops.sign(evidence) * ops.log1p(ops.abs(evidence - inner))


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
        self._places = find_layer(stem, PlaceEvidence)
        self._score = find_layer(tail, WeighedEvidence)
        is_known = self._places is not None and self._score is not None
        if not is_known or len(discriminator.input_shape) != 4:
            raise ValueError(
                "This model judges images as wholes, so that there is no place to "
                "point at; expected one of recipe='default' with place_depths=1 or "
                "more, on images. Received: a discriminator without layers that judge "
                "places. Train one with this version."
            )
        self._tail = tail
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
