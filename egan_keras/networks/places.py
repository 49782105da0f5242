"""Evidence from places: unlike the majority somewhere, and like the few somewhere."""

import math
from collections.abc import Iterator

import keras
import numpy as np
import scipy.linalg
from keras import layers, ops
from sklearn.model_selection import KFold

from egan_keras.networks.matched_filter import (
    MOST_IMAGES,
    PLACES,
    Maps,
    MatchedFilter,
    averaged,
    covariance,
    enlarged,
    folds,
    in_batches,
    moments,
    sum_of,
)

_MOST_COMPONENTS, _SHARE_OF_COMPONENTS = 64, 3
_FOLDS = 4
# Of fewer minority images none is left out: it would be learned from one at most.
_FEWEST = 3
_SMALL = 1e-6


@keras.saving.register_keras_serializable("egan_keras")
class PlaceEvidence(layers.Layer):
    """Judges the places of feature maps, and an image by its most telling places.

    A place is one position of a map. It is unlike the majority by the length of what
    is left of it behind the leading principal components of the majority's places
    (SubspaceAD, arXiv 2602.23013), in each map by itself. It is like the few by a
    matched filter on all maps joined, each averaged over 3 x 3 places and enlarged to
    the largest (see `MatchedFilter`). Averaging and enlarging are linear, so that they
    follow the filter, and happen to one channel.

    All are measured against what is usual at that place: padding makes the border
    unlike all else. Of each kind an image's evidence is the mean of its three highest
    places, less the majority's mean, in its standard deviations.

    Call arguments:
        maps: list of float tensors (n, height, width, channels), one for each depth.

    Returns:
        Unlike in each depth, and like, float (n, depths + 1), high where they speak for
        minority.
    """

    def build(self, input_shape):
        """Creates statistics that have no effect until they are adapted."""
        self.depths = len(input_shape)
        self.sizes = [tuple(shape[1:3]) for shape in input_shape]
        # The last kind is that of the largest map.
        self.sizes.append(max(self.sizes))
        self._means, self._components, self._filters = [], [], []
        for depth, (*_, channels) in enumerate(input_shape, 1):
            rank = max(1, min(_MOST_COMPONENTS, channels // _SHARE_OF_COMPONENTS))
            self._means.append(self._statistic(f"mean_{depth}", (channels,)))
            components = self._statistic(f"components_{depth}", (channels, rank))
            self._components.append(components)
            self._filters.append(self._statistic(f"filter_{depth}", (channels, 1)))
        names = [f"unlike_{depth}" for depth in range(1, 1 + self.depths)]
        self._usual, self._of_images = [], []
        for name, size in zip([*names, "like"], self.sizes, strict=True):
            places = (math.prod(size),)
            usual = self._statistic(f"usual_{name}", places)
            spread = self._statistic(f"spread_{name}", places, "ones")
            mean = self._statistic(f"mean_of_{name}", ())
            deviation = self._statistic(f"deviation_of_{name}", (), "ones")
            self._usual.append((usual, spread))
            self._of_images.append((mean, deviation))

    def _statistic(self, name: str, shape: tuple, initializer: str = "zeros"):
        return self.add_weight(shape, initializer, trainable=False, name=name)

    @property
    def kinds(self) -> int:
        """Number of kinds of evidence."""
        return self.depths + 1

    def call(self, maps):
        """Returns the evidence of images, (n, depths + 1)."""
        found = [
            self._standardized(kind, _most_telling(places))
            for kind, places in enumerate(self._place_evidence(maps))
        ]
        return ops.stack(found, axis=-1)

    def heat(self, maps) -> list:
        """Returns each kind at each place, (n, height, width), as if all were alike.

        The mean of an image's three highest places is its evidence.
        """
        return [
            ops.reshape(self._standardized(kind, places), (-1, *self.sizes[kind]))
            for kind, places in enumerate(self._place_evidence(maps))
        ]

    def _place_evidence(self, maps) -> list:
        """Returns each kind of each place, (n, places), less what is usual."""
        unlike = [self._unlike(depth, own) for depth, own in enumerate(maps)]
        found = enumerate([*unlike, self._like(maps)])
        return [self._less_usual(kind, places) for kind, places in found]

    def _unlike(self, depth: int, maps):
        height, width, channels = maps.shape[1:]
        places = ops.reshape(maps, (-1, height * width, channels)) - self._means[depth]
        along = ops.square(ops.matmul(places, self._components[depth]))
        rest = ops.sum(ops.square(places), axis=-1) - ops.sum(along, axis=-1)
        return ops.sqrt(ops.maximum(rest, _SMALL))

    def _like(self, maps):
        return ops.squeeze(self._filtered(maps, self._filters), axis=-1)

    def _filtered(self, maps, filters):
        """Returns what filters (c, k), one for each depth, leave, (n, places, k)."""
        found = 0.0
        for own, weights in zip(maps, filters, strict=True):
            found += enlarged(averaged(ops.matmul(own, weights)), self.sizes[-1])
        return ops.reshape(found, (-1, math.prod(self.sizes[-1]), found.shape[-1]))

    def _less_usual(self, kind: int, places):
        usual, spread = self._usual[kind]
        return (places - usual) / spread

    def _standardized(self, kind: int, values):
        mean, deviation = self._of_images[kind]
        return (values - mean) / deviation

    def compute_output_shape(self, maps_shape):
        """Returns (n, depths + 1)."""
        return (maps_shape[0][0], len(maps_shape) + 1)

    def adapt(
        self,
        majority: Maps,
        minority: Maps,
        views: int = 1,
        matched: MatchedFilter | None = None,
    ) -> np.ndarray:
        """Takes the statistics of maps of both classes.

        Args:
            majority: Maps (n, h, w, c) of some majority images, for each depth.
            minority: Those of the minority images, all in one view before all in the
                next; there may be none.
            views: Number of views, such as 2 with mirror images.
            matched: What `adapt_to_majority` returned, where it has seen this majority.

        Returns:
            How like the others each row of the minority is, standardised, (rows,): by
            filters that have not seen its image. Empty for fewer than three images.
        """
        matched = matched or self.adapt_to_majority(majority)
        if not len(minority[0]):
            for weights in self._filters:
                weights.assign(ops.zeros_like(weights))
            self._fit_usual(self.depths, np.zeros((1, math.prod(self.sizes[-1]))))
            return np.zeros(0)
        theirs = [
            self._less_usual(depth, self._all_unlike(depth, own))
            for depth, own in enumerate(minority)
        ]
        prototypes = matched.prototypes(minority, self._together(theirs))
        for weights, own in zip(self._filters, matched.of(prototypes), strict=True):
            weights.assign(own[:, None])
        like = self._all_filtered(majority, self._filters)
        self._fit_usual(self.depths, like[..., 0])
        return self._like_others(matched, prototypes, majority, minority, views)

    def adapt_to_majority(self, majority: Maps) -> MatchedFilter:
        """Takes the statistics of the majority alone, as `adapt` does first."""
        unlike = [self._fit_unlike(*each) for each in enumerate(majority)]
        return MatchedFilter(majority, self._together(unlike))

    def _like_others(
        self,
        matched: MatchedFilter,
        prototypes: np.ndarray,
        majority: Maps,
        minority: Maps,
        views: int,
    ) -> np.ndarray:
        """Returns how like the others each row of the minority is, as `adapt` says."""
        n_images = len(prototypes) // views
        if n_images < _FEWEST:
            return np.zeros(0)
        parts = list(folds(n_images, views))
        found = [matched.of(prototypes[fitted]) for fitted, _ in parts]
        by_depth = zip(*found, strict=True)
        filters = [np.stack(own, axis=1, dtype="float32") for own in by_depth]
        some = [maps[:MOST_IMAGES] for maps in majority]
        ours, theirs = (self._all_filtered(x, filters) for x in (some, minority))
        like = np.zeros(len(prototypes))
        for number, (_, rows) in enumerate(parts):
            usual, spread = _usual(ours[..., number])
            ours_told, told = (
                ops.convert_to_numpy(_most_telling((x[..., number] - usual) / spread))
                for x in (ours, theirs[rows])
            )
            like[rows] = (told - ours_told.mean()) / (ours_told.std() + _SMALL)
        return like

    def _fit_unlike(self, depth: int, maps: np.ndarray) -> np.ndarray:
        """Takes a depth's components, and returns how unlike the majority's places are.

        They are less unlike those that the components were fitted on: what is usual is
        measured on images held out.
        """
        held_out = []
        if len(maps) > 1:
            parts = KFold(min(_FOLDS, len(maps)), shuffle=True, random_state=0)
            held_out = [rows for _, rows in parts.split(maps)]
        found = [moments(_places(maps[rows])) for rows in held_out]
        whole = sum_of(found) if found else moments(_places(maps))
        unlike = np.empty((len(maps), math.prod(self.sizes[depth])), "float32")
        for rows, own in zip(held_out, found, strict=True):
            others = (x - y for x, y in zip(whole, own, strict=True))
            self._fit_components(depth, *covariance(*others))
            unlike[rows] = self._all_unlike(depth, maps[rows])
        self._fit_components(depth, *covariance(*whole))
        if not held_out:
            unlike = self._all_unlike(depth, maps)
        return self._fit_usual(depth, unlike)

    def _fit_components(self, depth: int, mean: np.ndarray, spread: np.ndarray) -> None:
        size, rank = self._components[depth].shape
        leading = [size - rank, size - 1]
        _, vectors = scipy.linalg.eigh(spread, subset_by_index=leading)
        self._means[depth].assign(mean)
        self._components[depth].assign(vectors)

    def _fit_usual(self, kind: int, places: np.ndarray) -> np.ndarray:
        """Takes what is usual of majority images' places (n, p), and takes it off."""
        for statistic, own in zip(self._usual[kind], _usual(places), strict=True):
            statistic.assign(own)
        found = ops.convert_to_numpy(self._less_usual(kind, places))
        images = ops.convert_to_numpy(_most_telling(found))
        mean, deviation = self._of_images[kind]
        mean.assign(images.mean())
        deviation.assign(images.std() + _SMALL)
        return found

    def _all_unlike(self, depth: int, maps: np.ndarray) -> np.ndarray:
        found = (self._unlike(depth, batch) for (batch,) in in_batches(maps))
        return np.concatenate([ops.convert_to_numpy(own) for own in found])

    def _all_filtered(self, maps: Maps, filters) -> np.ndarray:
        found = (self._filtered(batch, filters) for batch in in_batches(*maps))
        return np.concatenate([ops.convert_to_numpy(own) for own in found])

    def _together(self, unlike: list) -> np.ndarray:
        """Returns how unlike places of the largest map are, in all depths together."""
        total = 0.0
        for size, own in zip(self.sizes, unlike, strict=False):
            maps = ops.reshape(own, (-1, *size, 1))
            total += ops.convert_to_numpy(enlarged(maps, self.sizes[-1]))
        return total.reshape(len(total), -1)

    def evidence(self, maps: Maps) -> np.ndarray:
        """Returns the evidence (n, depths + 1) of maps, a few images at a time."""
        found = [ops.convert_to_numpy(self(batch)) for batch in in_batches(*maps)]
        return np.concatenate([np.zeros((0, self.kinds)), *found])


def _most_telling(places):
    """Returns the mean of the three highest of places (n, p), (n,)."""
    return ops.mean(ops.top_k(places, min(PLACES, places.shape[1]))[0], axis=-1)


def _places(maps: np.ndarray) -> Iterator[np.ndarray]:
    for (batch,) in in_batches(maps):
        yield ops.convert_to_numpy(batch).reshape(-1, batch.shape[-1])


def _usual(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and spread of values (n, places) at each place.

    Where hardly anything ever is, the usual spread takes the place of the own one.
    """
    spread = places.std(axis=0)
    return places.mean(axis=0), np.maximum(spread, spread.mean()) + _SMALL
