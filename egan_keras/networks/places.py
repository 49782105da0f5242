"""Evidence from places: unlike the majority somewhere, and like the few somewhere."""

from collections.abc import Iterator

import keras
import numpy as np
import scipy.linalg
from keras import layers, ops
from sklearn.model_selection import KFold

# An image is judged by the mean of its most telling places.
_PLACES = 3
# What stands out in any majority image: so many places of the largest distance.
_STANDING_OUT = 10
_MOST_COMPONENTS, _SHARE_OF_COMPONENTS = 64, 3
_RIDGE = 0.03
_FOLDS = 4
_SMALL = 1e-6
_IMAGES_AT_ONCE = 32


@keras.saving.register_keras_serializable("egan_keras")
class PlaceEvidence(layers.Layer):
    """Judges each place of a feature map, and an image by its most telling places.

    A place is one position of the map. It is unlike the majority by the length of what
    is left of it behind the leading principal components of the majority's places
    (SubspaceAD, arXiv 2602.23013). It is like the few by a matched filter: minority
    images' places that stand out, in the mean, less those that stand out in majority
    images, whitened by the majority's covariance of places.

    Both are measured against what is usual at that place: padding makes the border
    unlike all else. Of each kind an image's evidence is the mean of its three highest
    places, less the majority's mean, in its standard deviations.

    Call arguments:
        maps: float tensor (n, height, width, channels).

    Returns:
        Both kinds, float (n, 2), high where they speak for minority.
    """

    kinds = 2

    def build(self, input_shape):
        """Creates statistics that have no effect until they are adapted."""
        _, height, width, channels = input_shape
        places = (height * width,)
        rank = max(1, min(_MOST_COMPONENTS, channels // _SHARE_OF_COMPONENTS))
        for name, shape, initializer in (
            ("mean", (channels,), "zeros"),
            ("components", (channels, rank), "zeros"),
            ("filter", (channels, 1), "zeros"),
            ("usual_unlike", places, "zeros"),
            ("spread_unlike", places, "ones"),
            ("unlike_mean", (), "zeros"),
            ("unlike_deviation", (), "ones"),
            ("usual_like", places, "zeros"),
            ("spread_like", places, "ones"),
            ("like_mean", (), "zeros"),
            ("like_deviation", (), "ones"),
        ):
            statistic = self.add_weight(shape, initializer, trainable=False, name=name)
            setattr(self, name, statistic)

    def place_evidence(self, maps) -> tuple:
        """Returns both kinds of each place, (n, places) each, less what is usual."""
        unlike, like = self._measured(maps)
        unlike = (unlike - self.usual_unlike) / self.spread_unlike
        return unlike, (like - self.usual_like) / self.spread_like

    def _measured(self, maps) -> tuple:
        """Returns both kinds of each place as they are measured."""
        height, width, channels = maps.shape[1:]
        places = ops.reshape(maps, (-1, height * width, channels)) - self.mean
        along = ops.square(ops.matmul(places, self.components))
        rest = ops.sum(ops.square(places), axis=-1) - ops.sum(along, axis=-1)
        unlike = ops.sqrt(ops.maximum(rest, _SMALL))
        return unlike, ops.squeeze(ops.matmul(places, self.filter), axis=-1)

    def call(self, maps):
        """Returns the evidence of images, (n, 2)."""
        telling = map(_most_telling, self.place_evidence(maps))
        return ops.stack(self._standardized(*telling), axis=-1)

    def standardized_places(self, maps) -> tuple:
        """Returns both kinds of each place, (n, places) each, as if all were alike.

        The mean of an image's three highest places is its evidence.
        """
        return self._standardized(*self.place_evidence(maps))

    def _standardized(self, unlike, like) -> tuple:
        unlike = (unlike - self.unlike_mean) / self.unlike_deviation
        return unlike, (like - self.like_mean) / self.like_deviation

    def compute_output_shape(self, maps_shape):
        """Returns (n, 2)."""
        return (maps_shape[0], self.kinds)

    def adapt(self, majority: np.ndarray, minority: np.ndarray) -> None:
        """Takes the statistics of maps of both classes.

        Places are less unlike those that the components were fitted on: the mean and
        the deviation of majority images are those of images held out.

        Args:
            majority: Maps (n, h, w, c) of some majority images.
            minority: Maps (m, views, h, w, c) of the minority images, where views are
                of one image, such as its mirror image; m may be 0.
        """
        held_out = []
        if len(majority) > 1:
            folds = KFold(min(_FOLDS, len(majority)), shuffle=True, random_state=0)
            held_out = [rows for _, rows in folds.split(majority)]
        moments = [_moments(majority[rows]) for rows in held_out]
        whole = _sum(moments) if moments else _moments(majority)
        unlike = []
        for rows, own in zip(held_out, moments, strict=True):
            others = (x - y for x, y in zip(whole, own, strict=True))
            self._fit_components(*_covariance(*others))
            unlike.append(self._all_measured(majority[rows])[0])
        mean, covariance = _covariance(*whole)
        self._fit_components(mean, covariance)
        unlike = np.concatenate(unlike or [self._all_measured(majority)[0]])
        self._fit_usual("unlike", unlike)
        if len(minority):
            self.filter.assign(self._matched_filter(covariance, majority, minority))
            self._fit_usual("like", self._all_measured(majority)[1])

    def _fit_usual(self, kind: str, places: np.ndarray) -> None:
        """Takes what is usual of a kind from majority images' places, (n, places)."""
        usual, spread = _usual(places)
        getattr(self, f"usual_{kind}").assign(usual)
        getattr(self, f"spread_{kind}").assign(spread)
        images = ops.convert_to_numpy(_most_telling((places - usual) / spread))
        getattr(self, f"{kind}_mean").assign(images.mean())
        getattr(self, f"{kind}_deviation").assign(images.std() + _SMALL)

    def _fit_components(self, mean: np.ndarray, covariance: np.ndarray) -> None:
        size, rank = self.components.shape
        leading = [size - rank, size - 1]
        _, vectors = scipy.linalg.eigh(covariance, subset_by_index=leading)
        self.mean.assign(mean)
        self.components.assign(vectors)

    def _all_measured(self, maps: np.ndarray) -> np.ndarray:
        """Returns both kinds of each place as they are measured, (2, n, places)."""
        found = [self._measured(batch) for batch in _batches(maps)]
        rows = [[ops.convert_to_numpy(kind) for kind in each] for each in found]
        return np.concatenate(rows, axis=1)

    def _matched_filter(self, covariance, majority, minority) -> np.ndarray:
        """Returns the filter (c, 1) of what stands out in minority images."""
        mean, size = ops.convert_to_numpy(self.mean), len(covariance)
        ridge = _RIDGE * np.trace(covariance) / size + _SMALL
        root = scipy.linalg.cholesky(covariance + ridge * np.eye(size), lower=True)
        inverse = scipy.linalg.solve_triangular(root, np.eye(size), lower=True)
        inverse = inverse.astype("float32")

        def whitened(places):
            return (places - mean) @ inverse.T

        def lengths(maps):
            found = (whitened(_places(batch)) for batch in _batches(maps))
            return np.concatenate([np.linalg.norm(own, axis=-1) for own in found])

        def standing_out(maps, own_lengths, count: int) -> np.ndarray:
            """Returns the mean of each image's places of largest length, (n, c)."""
            most = np.argsort((usual - own_lengths) / spread, axis=1)[:, :count, None]
            chosen = np.take_along_axis(_places(maps), most, axis=1)
            return whitened(chosen.astype("float32")).mean(axis=1)

        lengths_of_majority = lengths(majority)
        usual, spread = _usual(lengths_of_majority)
        in_majority = standing_out(majority, lengths_of_majority, _STANDING_OUT)
        views = minority.reshape(-1, *minority.shape[2:])
        prototypes = standing_out(views, lengths(views), _PLACES)
        prototypes -= in_majority.mean(axis=0)
        norms = np.linalg.norm(prototypes, axis=1, keepdims=True)
        direction = (prototypes / np.maximum(norms, _SMALL)).mean(axis=0)
        direction /= max(np.linalg.norm(direction), _SMALL)
        return (direction @ inverse)[:, None]

    def evidence(self, maps: np.ndarray) -> np.ndarray:
        """Returns the evidence (n, 2) of maps (n, h, w, c), a few at a time."""
        found = [ops.convert_to_numpy(self(batch)) for batch in _batches(maps)]
        return np.concatenate([np.zeros((0, self.kinds)), *found])


def _most_telling(places):
    """Returns the mean of the three highest of places (n, p), (n,)."""
    return ops.mean(ops.top_k(places, min(_PLACES, places.shape[1]))[0], axis=-1)


def _batches(maps: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(maps), _IMAGES_AT_ONCE):
        yield maps[start : start + _IMAGES_AT_ONCE].astype("float32")


def _places(maps: np.ndarray) -> np.ndarray:
    return maps.reshape(len(maps), -1, maps.shape[-1])


def _moments(maps: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Returns number, sum and sum of outer products of all places."""
    found = []
    for batch in _batches(maps):
        places = batch.reshape(-1, batch.shape[-1])
        products = (places.T @ places).astype("float64")
        found.append((len(places), places.sum(axis=0, dtype="float64"), products))
    return _sum(found)


def _sum(moments: list[tuple]) -> tuple:
    return tuple(map(sum, zip(*moments, strict=True)))


def _covariance(
    count: int, total: np.ndarray, products: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    mean = total / count
    return mean, products / count - np.outer(mean, mean)


def _usual(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns mean and spread of values (n, places) at each place.

    Where hardly anything ever is, the usual spread takes the place of the own one.
    """
    spread = places.std(axis=0)
    return places.mean(axis=0), np.maximum(spread, spread.mean()) + _SMALL
