"""What a model says of images: scores, heat maps, and which class they are like."""

import functools
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike

from egan_keras import data, features, logs, networks
from egan_keras.keras_hooks import find_layer

_BATCH_SIZE, _PREDICTED_AT_ONCE = 128, 32
_TINY = 1e-12


class Judged(NamedTuple):
    """What a model says of images.

    Attributes:
        scores: float32 (n,), low = minority.
        distances: How far from the majority the image is as a whole, in the majority's
            standard deviations, float32 (n,); `None` where the score knows none.
        most_like: Name of the minority class that the image is most like, whether it is
            minority or not, str (n,); `None` unless the model has learned several.
    """

    scores: np.ndarray
    distances: np.ndarray | None = None
    most_like: np.ndarray | None = None

    @classmethod
    def joined(cls, parts: Sequence["Judged"]) -> "Judged":
        """Returns several batches as one."""
        scores, distances, most_like = zip(*parts, strict=True)
        return cls(
            np.concatenate(scores),
            None if distances[0] is None else np.concatenate(distances),
            None if most_like[0] is None else np.concatenate(most_like),
        )


class Scored(NamedTuple):
    """Labelled images with their scores.

    Attributes:
        scores: float32 (n,), low = minority.
        labels: int32 (n,), 0 majority and 1 minority.
        trained_on: Whether `fit` was given the image, bool (n,).
        distances: As in `Judged`.
        most_like: As in `Judged`.
    """

    scores: np.ndarray
    labels: np.ndarray
    trained_on: np.ndarray
    distances: np.ndarray | None = None
    most_like: np.ndarray | None = None


class MinorityClasses(NamedTuple):
    """A direction away from the majority for each minority class.

    Attributes:
        names: Of the k classes.
        directions: (k, d) float32: the mean of the class's vectors times the inverse of
            the majority's covariance, so long that the majority's deviation along it
            is 1: Fisher's direction.
    """

    names: tuple[str, ...]
    directions: np.ndarray

    @classmethod
    def of(
        cls,
        head: networks.MajorityAwareScore,
        vectors: np.ndarray,
        names: Sequence[str],
    ) -> "MinorityClasses":
        """Returns the directions of minority vectors (n, d) of named classes (n,)."""
        names = np.asarray(names)
        there = np.unique(names)
        directions = []
        for name in there:
            mean = vectors[names == name].mean(axis=0, dtype=np.float64)
            direction = head.whitened(mean)
            directions.append(direction / np.sqrt(mean @ direction + _TINY))
        return cls(tuple(map(str, there)), np.asarray(directions, np.float32))

    def most_like(self, vectors: np.ndarray) -> np.ndarray:
        """Returns of each vector (n, d) the class whose direction it lies along."""
        return np.array(self.names)[np.argmax(vectors @ self.directions.T, axis=1)]

    def names_as_bytes(self) -> np.ndarray:
        """Returns the names as an array that a file of weights can hold."""
        return np.frombuffer(json.dumps(self.names).encode(), np.uint8)

    @classmethod
    def from_bytes(cls, names: np.ndarray, directions: np.ndarray) -> "MinorityClasses":
        """Returns what `names_as_bytes` and the directions came from."""
        told = json.loads(bytes(np.uint8(names)))
        return cls(tuple(told), np.asarray(directions, np.float32))


class Judging(keras.Model):
    """A Keras model that judges images.

    A subclass sets `discriminator` in its constructor, and has `image_shape`;
    `_batches`, which gives checked batches of images and labels; and
    `_hashes_trained_on`, the `data.row_hashes` of what it was trained on.

    Attributes:
        minority_classes: What tells several minority classes apart; `None` unless the
            model has learned them.
    """

    minority_classes: MinorityClasses | None = None
    _places: networks.ScoreAndHeatMap | None = None

    def predict(
        self,
        x: "data.Images | Iterator[Any]",
        batch_size: int | None = None,
        verbose: str | int = "auto",
        steps: int | None = None,
        callbacks: list[keras.callbacks.Callback] | None = None,
    ) -> np.ndarray:
        """Returns the scores, float32 (n, 1), low = minority.

        Args:
            x: Images (n, h, w, 3), RGB pixels 0..255, uint8 or float: an array, a
                tensor, `ImageFiles`; or batches of them, with labels or without, in a
                dataset or from a generator.
            batch_size: As in `keras.Model.predict`, as are all that follow.
            verbose: Whether progress is shown.
            steps: How many batches are scored.
            callbacks: Keras callbacks.

        Raises:
            ValueError: If they are not images as described.
        """
        size = batch_size or _PREDICTED_AT_ONCE
        images = data.images_or_batches(
            x, image_shape=self.image_shape, batch_size=size, must_end=steps is None
        )
        options = {"verbose": verbose, "callbacks": callbacks}
        if isinstance(images, np.ndarray):
            return super().predict(images, batch_size, steps=steps, **options)
        if isinstance(images, data.LazyRows):
            n_batches, batches = -(-len(images) // size), images.batches(size)
        else:
            n_batches, batches = images.n_batches, images
        errors: list[Exception] = []

        def read() -> Iterator[tuple[Any]]:
            try:
                yield from ((batch,) for batch in batches)
            except Exception as error:
                errors.append(error)
                raise

        try:
            return super().predict(read(), steps=steps or n_batches, **options)
        except Exception:
            # Errors in batches are raised as they are, not as TensorFlow's.
            if errors:
                raise errors[0] from None
            raise

    def predict_on_batch(self, x: ArrayLike) -> np.ndarray:
        """Returns the scores of one batch, as `keras.Model.predict_on_batch` does.

        Raises:
            ValueError: If they are not images as described in `predict`.
        """
        x = data.check_images(x, image_shape=self.image_shape)
        return super().predict_on_batch(np.asarray(x))

    @property
    def judges_places(self) -> bool:
        """Whether it tells where an image speaks for minority."""
        places = find_layer(self.discriminator.stem, networks.PlaceEvidence)
        return places is not None and len(self.image_shape) == 3

    def scores_and_heat_maps(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns scores (n, 1) and heat maps (n, h, w) of a batch, see `heat_maps`.

        Raises:
            ValueError: If they are not images as described in `predict`, or this model
                judges no places.
        """
        images = data.check_images(images, image_shape=self.image_shape)
        if self._places is None:
            self._places = networks.ScoreAndHeatMap(self.discriminator)
        stem = features.compiled(self.discriminator.stem)
        found = self._places.finish(stem.features_and_maps(np.asarray(images)))
        return tuple(map(keras.ops.convert_to_numpy, found))

    def score_labelled(
        self,
        images: data.Images,
        labels: ArrayLike | None = None,
        *,
        batch_size: int = 128,
    ) -> Scored:
        """Returns the scores of labelled images, and which were trained on.

        Args:
            images: Images (n, h, w, 3), 0..255, or a dataset of (images, labels).
            labels: Labels (n,), 0 or 1; `None` with a dataset.
            batch_size: Images scored at once, where a dataset does not say.

        Raises:
            ValueError: If images or labels are refused, or all images are the same.
        """
        parts, batches = [], self._batches(images, labels, batch_size)
        judged = []
        with self.pass_over(batches.count):
            shown = logs.shown(batches, batches.count, size=lambda pair: len(pair[1]))
            for batch, own in shown:
                judged.append(self.judge_batch(batch))
                parts.append((own, data.row_hashes(batch)))
        labels, hashes = map(np.concatenate, zip(*parts, strict=True))
        scores, *others = Judged.joined(judged)
        data.check_not_all_the_same(hashes)
        data.warn_if_reversed(scores, labels)
        trained_on = np.isin(hashes, self._hashes_trained_on)
        return Scored(scores, labels, trained_on, *others)

    @functools.cached_property
    def _head(self) -> networks.MajorityAwareScore | None:
        """The layer that knows distances from the majority, if there is one.

        It stays: no discriminator is exchanged.
        """
        return find_layer(self.discriminator.tail, networks.MajorityAwareScore)

    def pass_over(self, count: int | None = None) -> AbstractContextManager[None]:
        """Makes one pass of all `judge_batch` in it, of so many images if it is known.

        On a processor LiteRT then runs the frozen layers if there are many images,
        several times as fast as Keras, and scores differ from those of `predict` in
        their last digits. Who runs them depends on the number alone.
        """
        return features.compiled(self.discriminator.stem).pass_over(count)

    def judge(self, images: np.ndarray | data.LazyRows) -> Judged:
        """Judges checked images in one pass."""
        with self.pass_over(len(images)):
            batches = data.lazy.in_batches(images, _BATCH_SIZE)
            shown = logs.shown(batches, len(images), size=len)
            return Judged.joined([self.judge_batch(batch) for batch in shown])

    def judge_batch(self, images: np.ndarray) -> Judged:
        """Judges a batch of checked images."""
        rows = features.compiled(self.discriminator.stem)(images)
        read = rows[0] if len(rows) == 1 else rows
        scores = self.discriminator.tail.predict_on_batch(read)[:, 0]
        scores, head = scores.astype(np.float32), self._head
        if head is None:
            return Judged(scores)
        # Nothing but dropout stands before it: there, rows are vectors.
        classes = self.minority_classes
        most_like = classes and classes.most_like(head.vectors(rows[0]))
        distances = np.asarray(head.unlike(rows[0]), np.float32)
        return Judged(scores, distances, most_like)

    def learn_minority_classes(
        self, images: np.ndarray | data.LazyRows, class_names: Sequence[str]
    ) -> None:
        """Learns to tell which of several minority classes an image is most like.

        The scores stay as they are. Another `fit` forgets it. Nothing is learned where
        there is one class, or the recipe knows no distance from the majority.

        Args:
            images: Minority images of training (n, h, w, 3), 0..255, or lazy.
            class_names: Their classes (n,).
        """
        head = self._head
        if head is None or len({*class_names}) < 2:
            self.minority_classes = None
            return
        stem = features.compiled(self.discriminator.stem)
        with self.pass_over(len(images)):
            batches = data.lazy.in_batches(images, _BATCH_SIZE)
            vectors = np.concatenate([head.vectors(stem(x)[0]) for x in batches])
        self.minority_classes = MinorityClasses.of(head, vectors, class_names)
