"""Baselines on feature maps of the majority alone: PatchCore and PaDiM.

On maps of 40 circuit boards and 120 to score both agree with anomalib 2.7.0 as far as
random draws go: AUROC 0.814 for 0.820, and 0.528 for 0.518; rank correlations of scores
0.98 and 0.95.

Both are functions of

    train_maps: maps of majority images, (n, h, w, c) for each depth;
    test_maps: maps of the images to score, in the same order of depths;
    seed: of what is random;

and return scores of shape (m,), float64, high = majority and low = minority, and heat
maps (m, h, w) of the largest depth, high where a place is unlike the majority. Maps are
joined as anomalib does: averaged over 3 x 3 places (PatchCore's alone), enlarged to the
largest of them, and stacked.
"""

from collections.abc import Iterator, Sequence

import keras
import numpy as np
import scipy.ndimage
import scipy.special
from sklearn.neighbors import NearestNeighbors
from sklearn.random_projection import GaussianRandomProjection

# anomalib's values.
_CORESET_SHARE = 0.1
_NEIGHBOURS = 9
_PADIM_CHANNELS = 100
_PADIM_RIDGE = 0.01
_SMOOTHING = 0.5  # places; 4 pixels, where a place stands for 8

# A coreset of all places of thousands of images takes hours, and is hardly better.
_MOST_PLACES = 20_000
_GREEDY_CHANNELS = 64
_IMAGES_AT_ONCE = 16

Maps = Sequence[np.ndarray]


def patchcore_scores(
    train_maps: Maps, test_maps: Maps, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Measures each place's distance from the nearest of a coreset of places.

    PatchCore (Roth et al., Towards Total Recall, CVPR 2022): the coreset is a tenth of
    the majority's places, chosen greedily far apart, of 20,000 drawn at random; an
    image's score is its largest distance, weighed by the neighbourhood of the coreset's
    place that it is nearest to.
    """
    random = np.random.default_rng(seed)
    share = max(1, _MOST_PLACES // len(train_maps[0]))
    rows = []
    for joined in _batches(train_maps):
        places = joined.reshape(len(joined), -1, joined.shape[-1])
        some = _drawn(places.shape[1], share, random)
        rows.append(places[:, some].reshape(-1, places.shape[-1]))
    rows = np.concatenate(rows)
    rows = rows[_drawn(len(rows), _MOST_PLACES, random)]
    coreset = rows[_far_apart(rows, max(1, int(_CORESET_SHARE * len(rows))), seed)]
    nearest = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(coreset)
    scores, heat = [], []
    for joined in _batches(test_maps):
        n, height, width, channels = joined.shape
        distances, found = nearest.kneighbors(joined.reshape(-1, channels))
        distances, found = distances.reshape(n, -1), found.reshape(n, -1)
        most = distances.argmax(axis=1)
        own = joined.reshape(n, -1, channels)[np.arange(n), most]
        near = coreset[found[np.arange(n), most]]
        around = nearest.kneighbors(
            near, min(_NEIGHBOURS, len(coreset)), return_distance=False
        )
        apart = np.linalg.norm(own[:, None] - coreset[around], axis=-1)
        weights = 1 - scipy.special.softmax(apart, axis=1)[:, 0]
        single = len(coreset) == 1
        scores.append(-distances.max(axis=1) * (1 if single else weights))
        heat.append(distances.reshape(n, height, width))
    return np.concatenate(scores).astype(np.float64), np.concatenate(heat)


def padim_scores(
    train_maps: Maps, test_maps: Maps, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Measures each place's Mahalanobis distance from the majority's at that place.

    PaDiM (Defard et al., ICPR 2020): a Gaussian for each place of the map, of 100
    channels chosen at random, with 0.01 added to each variance; an image's score is its
    largest distance, after smoothing.
    """
    channels = sum(each.shape[-1] for each in train_maps)
    random = np.random.default_rng(seed)
    kept = np.sort(random.choice(channels, min(_PADIM_CHANNELS, channels), False))
    train = [rows[..., kept] for rows in _batches(train_maps, pooled=False)]
    train = np.concatenate(train)
    n, height, width, size = train.shape
    train = train.reshape(n, -1, size)
    means = train.mean(axis=0)
    inverses = np.empty((height * width, size, size), "float32")
    for place in range(height * width):
        centred = (train[:, place] - means[place]).astype("float64")
        covariance = centred.T @ centred / max(n - 1, 1)
        inverses[place] = np.linalg.inv(covariance + _PADIM_RIDGE * np.eye(size))
    heat = []
    for joined in _batches(test_maps, pooled=False):
        centred = joined[..., kept].reshape(len(joined), -1, size) - means
        along = np.matmul(centred.transpose(1, 0, 2), inverses).transpose(1, 0, 2)
        squares = np.sum(along * centred, axis=-1).clip(0)
        distances = np.sqrt(squares).reshape(-1, height, width)
        heat.append(
            scipy.ndimage.gaussian_filter(distances, (0, _SMOOTHING, _SMOOTHING))
        )
    heat = np.concatenate(heat)
    return -heat.reshape(len(heat), -1).max(axis=1).astype(np.float64), heat


def _batches(maps: Maps, *, pooled: bool = True) -> Iterator[np.ndarray]:
    for start in range(0, len(maps[0]), _IMAGES_AT_ONCE):
        yield _joined([each[start : start + _IMAGES_AT_ONCE] for each in maps], pooled)


def _joined(maps: Maps, pooled: bool = True) -> np.ndarray:
    """Returns maps of several sizes as one, (n, h, w, all channels), float32."""
    size, found = max(each.shape[1:3] for each in maps), []
    for each in maps:
        each = each.astype("float32")
        if pooled:
            each = scipy.ndimage.uniform_filter(each, (1, 3, 3, 1), mode="constant")
        if each.shape[1:3] != size:
            how = "bilinear" if pooled else "nearest"
            each = keras.ops.image.resize(each, size, interpolation=how)
        found.append(keras.ops.convert_to_numpy(each))
    return np.concatenate(found, axis=-1)


def _far_apart(rows: np.ndarray, count: int, seed: int) -> list[int]:
    """Returns numbers of rows, each the farthest from all before it (k-center greedy).

    Distances are those of a random projection, as in PatchCore.
    """
    if rows.shape[1] > _GREEDY_CHANNELS:
        projection = GaussianRandomProjection(_GREEDY_CHANNELS, random_state=seed)
        rows = projection.fit_transform(rows)
    rows = rows.astype("float32")
    squares = np.square(rows).sum(axis=1)
    chosen = [int(np.random.default_rng(seed).integers(len(rows)))]
    nearest = np.full(len(rows), np.inf, "float32")
    while len(chosen) < count:
        latest = chosen[-1]
        apart = squares - 2 * (rows @ rows[latest]) + squares[latest]
        nearest = np.minimum(nearest, apart)
        nearest[latest] = -1
        chosen.append(int(nearest.argmax()))
    return chosen


def _drawn(count: int, most: int, random: np.random.Generator) -> np.ndarray:
    """Returns numbers of rows in their order: all, or as many as allowed at random."""
    if count <= most:
        return np.arange(count)
    return np.sort(random.choice(count, most, replace=False))
