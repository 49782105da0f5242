"""What the majority looks like: features standardised by it, and distance from it."""

import keras
import numpy as np
import scipy.linalg
from keras import layers, ops
from sklearn.model_selection import KFold

from egan_keras.data.lazy import in_batches

# The score below which 5 % of a normal distribution with deviation 1 lie.
FIVE_PERCENT_POINT = 1.645

# Rows that suffice for the majority's covariance; more cost time and memory.
_COVARIANCE_ROWS = 20_000

_DEVIATION_FLOOR = 0.3
_ROWS_AT_ONCE = 1024
_FOLDS = 5
SMALL = 1e-6


@keras.saving.register_keras_serializable("egan_keras")
class MajorityStandardization(layers.Layer):
    """Standardises features by the majority's mean and standard deviation.

    Unlike those of `keras.layers.Normalization`, its statistics are weights that a
    compiled graph reads anew, so that adapting it never leaves a stale graph behind.
    """

    def build(self, input_shape):
        """Creates the statistics: mean 0 and deviation 1 until adapted."""
        weights = {"shape": (input_shape[-1],), "trainable": False}
        self.mean = self.add_weight(name="mean", initializer="zeros", **weights)
        self.deviation = self.add_weight(
            name="deviation", initializer="ones", **weights
        )

    @property
    def statistics(self) -> list:
        """The variables that `adapt` sets."""
        return [self.mean, self.deviation]

    @property
    def is_adapted(self) -> bool:
        """Whether it has taken statistics already."""
        return bool(np.any(ops.convert_to_numpy(self.mean)))

    def adapt(self, features: np.ndarray) -> None:
        """Takes the statistics of majority features, float (n, d), lazy or not.

        Deviations are combined with three tenths of their mean, in squares, so that a
        feature that hardly varies in the majority does not outweigh all others.
        """
        # Sums of squares about the batches' own means are joined (Chan, Golub and
        # LeVeque, 1983), which loses nothing to rounding where the mean is large.
        count, mean, squares = 0, 0.0, 0.0
        for batch in in_batches(features, _ROWS_AT_ONCE):
            rows = batch.astype("float64")
            own_mean = rows.mean(axis=0)
            difference, total = own_mean - mean, count + len(rows)
            squares += np.square(rows - own_mean).sum(axis=0)
            squares += np.square(difference) * (count * len(rows) / total)
            mean += difference * (len(rows) / total)
            count = total
        deviation = np.sqrt(squares / count)
        self.mean.assign(mean)
        floor = _DEVIATION_FLOOR * deviation.mean()
        deviation = np.sqrt(np.square(deviation) + np.square(floor))
        self.deviation.assign(np.where(deviation > 0, deviation, 1.0))

    def call(self, features):
        """Returns standardised features, shape (n, d)."""
        return (features - self.mean) / self.deviation


@keras.saving.register_keras_serializable("egan_keras")
class MajorityAwareScore(layers.Layer):
    """Joins what was learned from minority images with distance from the majority.

    While it is trained it is a linear layer, w.z + b. Its score is

        w.z / sd(w.z) - c * (q(z) - mean(q)) / sd(q) + 1.645 * sqrt(1 + c^2),

    where q is the Mahalanobis distance from the majority, from the leading
    eigenvectors of its Ledoit-Wolf covariance, and mean and sd are over the majority.
    The weight c of the distance falls with the number m of minority images, mirrored
    ones counted, as distance_weight / (1 + m / 4): many of them tell more than the
    distance does. The last term puts about 5 % of the majority below 0.

    Features must be standardised by the majority.

    Args:
        distance_weight: c when there is hardly any minority image. Non-negative.
        rank: Number of leading eigenvectors, at most a quarter of the features.
        **kwargs: Arguments of `keras.layers.Layer`.

    Call arguments:
        features: float tensor (n, d).
        training: Whether to return the linear layer's output alone.
    """

    def __init__(self, distance_weight: float, rank: int = 64, **kwargs) -> None:
        super().__init__(**kwargs)
        self.distance_weight = distance_weight
        self.rank = rank

    def build(self, input_shape):
        """Creates the linear layer, and statistics without effect until adapted."""
        size = input_shape[-1]
        rank = max(1, min(self.rank, size // 4))
        # From zero, the first steps go along the difference of the class means.
        self.kernel = self.add_weight(shape=(size, 1), initializer="zeros", name="w")
        self.bias = self.add_weight(shape=(1,), initializer="zeros", name="b")
        for name, shape, initializer in (
            ("components", (size, rank), "zeros"),
            ("variances", (rank,), "ones"),
            ("other_variance", (), "ones"),
            ("distance_mean", (), "zeros"),
            ("distance_deviation", (), "ones"),
            ("weight", (), "zeros"),
        ):
            statistic = self.add_weight(shape, initializer, trainable=False, name=name)
            setattr(self, name, statistic)

    @property
    def statistics(self) -> list:
        """The variables that `adapt` sets."""
        directions = [self.components, self.variances, self.other_variance]
        return [*directions, self.distance_mean, self.distance_deviation]

    @property
    def is_adapted(self) -> bool:
        """Whether it has taken statistics already."""
        return bool(ops.convert_to_numpy(self.distance_mean))

    def weigh(self, n_minority: int, majority, minority: np.ndarray, *_) -> None:
        """Takes how many minority images there are in training, in all views (m, d)."""
        count = len(minority)
        self.weight.assign(self.distance_weight / (1 + count / 4))
        if not n_minority:
            # What an earlier training has learned is none of this one's.
            self.kernel.assign(np.zeros(self.kernel.shape))

    def adapt(self, features: np.ndarray) -> None:
        """Takes the statistics of standardised majority features (n, d), lazy or not.

        Distances of the few rows that a covariance was fitted on are too small; they
        are those of rows held out then.
        """
        step = -(-len(features) // _COVARIANCE_ROWS)
        sample = features[::step][:, : self.kernel.shape[0]].astype("float64")
        distances = []
        if 2 <= len(sample) < sample.shape[1]:
            # Shuffled, since images of several classes often come class by class.
            folds = KFold(min(_FOLDS, len(sample)), shuffle=True, random_state=0)
            for fitted, others in folds.split(sample):
                self._fit_directions(sample[fitted])
                distances += self._distances(sample[others])
        self._fit_directions(sample)
        distances = np.concatenate(distances or self._distances(sample))
        self.distance_mean.assign(distances.mean())
        self.distance_deviation.assign(distances.std() + SMALL)

    def _distances(self, sample: np.ndarray) -> list[np.ndarray]:
        rows = sample.astype(self.variable_dtype)
        return [
            ops.convert_to_numpy(self._distance(rows[start : start + _ROWS_AT_ONCE]))
            for start in range(0, len(rows), _ROWS_AT_ONCE)
        ]

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Returns what stands in rows (n, d or more) before evidence of places."""
        return np.asarray(rows)[:, : self.kernel.shape[0]]

    def unlike(self, vectors: np.ndarray) -> np.ndarray:
        """Returns the distance from the majority of rows (n, d), standardised, (n,).

        What stands behind the vector in a row has no part in it.
        """
        vectors = self.vectors(vectors)
        distances = np.concatenate([np.zeros((0, 1)), *self._distances(vectors)])[:, 0]
        statistics = self.distance_mean, self.distance_deviation
        mean, deviation = map(ops.convert_to_numpy, statistics)
        return (distances - mean) / deviation

    def whitened(self, vector: np.ndarray) -> np.ndarray:
        """Returns a vector (d,) times the inverse of the majority's covariance."""
        known = self.components, self.variances, self.other_variance
        components, variances, other = map(ops.convert_to_numpy, known)
        along = vector @ components
        return components @ (along / variances) + (vector - components @ along) / other

    def _fit_directions(self, sample: np.ndarray) -> None:
        """Takes the leading eigenvectors of the shrunk covariance of features."""
        rank, (count, size) = self.components.shape[1], sample.shape
        if count > size:
            products = sample.T @ sample / count
            variances, vectors = scipy.linalg.eigh(
                products, subset_by_index=[size - rank, size - 1]
            )
        else:
            # The inner products of so few rows have the same eigenvalues, in a tenth
            # of the time of a singular value decomposition of the rows.
            products = sample @ sample.T / count
            leading = [max(count - rank, 0), count - 1]
            found, own = scipy.linalg.eigh(products, subset_by_index=leading)
            variances, vectors = np.zeros(rank), np.zeros((size, rank))
            variances[: len(found)] = np.maximum(found, 0)
            lengths = np.sqrt(count * np.maximum(found, SMALL))
            vectors[:, : len(found)] = sample.T @ own / lengths
        total = np.vdot(sample, sample) / count
        shrinkage = _ledoit_wolf_shrinkage(sample, products, total)
        other = (total - variances.sum()) / max(size - rank, 1)
        variances, other = (
            (1 - shrinkage) * each + shrinkage * total / size
            for each in (variances, other)
        )
        self.components.assign(vectors)
        self.variances.assign(np.maximum(variances, SMALL))
        self.other_variance.assign(max(other, SMALL))

    def _distance(self, features):
        """Returns the Mahalanobis distance from the majority, (n, 1)."""
        projections = ops.square(ops.matmul(features, self.components))
        remainder = ops.sum(ops.square(features), axis=-1, keepdims=True) - ops.sum(
            projections, axis=-1, keepdims=True
        )
        leading = ops.sum(projections / self.variances, axis=-1, keepdims=True)
        return ops.sqrt(leading + ops.relu(remainder) / self.other_variance)

    def _linear_deviation(self):
        """Returns the deviation of w.z over the majority."""
        along = ops.square(ops.matmul(ops.transpose(self.kernel), self.components))
        leading = ops.sum(along * (self.variances - self.other_variance))
        whole = ops.sum(ops.square(self.kernel)) * self.other_variance
        return ops.sqrt(ops.relu(leading + whole))

    def call(self, features, training=False):
        """Returns the scores, (n, 1)."""
        linear = ops.matmul(features, self.kernel)
        if training:
            return linear + self.bias
        unlike = self._distance(features) - self.distance_mean
        unlike = unlike / self.distance_deviation
        centre = FIVE_PERCENT_POINT * ops.sqrt(1 + ops.square(self.weight))
        like = linear / (self._linear_deviation() + SMALL)
        return like - self.weight * unlike + centre

    def compute_output_shape(self, features_shape):
        """Returns (n, 1)."""
        return (*features_shape[:-1], 1)

    def get_config(self) -> dict:
        """Returns the arguments of the constructor."""
        own = {"distance_weight": self.distance_weight, "rank": self.rank}
        return {**super().get_config(), **own}


def _ledoit_wolf_shrinkage(sample, products, total) -> float:
    """Returns the shrinkage of Ledoit and Wolf (2004) for centred rows, 0..1.

    It is that of `sklearn.covariance.ledoit_wolf_shrinkage`, in a tenth of the time,
    from the mean outer (or, with the same squares, inner) products of the rows and the
    sum of the variances, which are there already.
    """
    count, size = sample.shape
    squares = np.vdot(products, products)
    lengths = np.einsum("ij,ij->i", sample, sample)
    error = (np.vdot(lengths, lengths) / count - squares) / count
    distance = squares - total**2 / size
    return float(np.clip(error / distance, 0, 1)) if distance > 0 else 0.0
