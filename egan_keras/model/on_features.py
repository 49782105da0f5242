"""A model behind its frozen layers: scored and trained again within seconds.

So are the models of cross-fitting, each of which judges majority images that it was not
trained on.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold, KFold

from egan_keras import data, features, logs, thresholds
from egan_keras.keras_hooks import find_layer
from egan_keras.model.egan import EGAN
from egan_keras.model.judging import Judged, Scored
from egan_keras.networks import Recipe, UnitLength

# Layers of a stem that what is trained on sets.
_ADAPTED = ("standardization", "places")


class FeatureRows(data.LazyRows):
    """Vectors of images and, flat behind them, maps, which are read when asked for.

    Vectors are (n, d), in memory; maps, for each depth, (n, h, w, c), perhaps lazy.
    """

    def __init__(self, vectors: np.ndarray, maps: features.Features) -> None:
        self.vectors, self.maps = vectors, maps
        size = vectors.shape[1] + sum(int(np.prod(x.shape[1:])) for x in maps)
        self.shape, self.dtype = (len(vectors), size), np.dtype(np.float32)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        flat = [each[rows].reshape(len(rows), -1) for each in self.maps]
        parts = [self.vectors[rows], *flat]
        return np.concatenate(parts, axis=1, dtype=np.float32)


class JoinedRows(data.LazyRows):
    """Rows of several sets of rows, one set behind the other."""

    def __init__(self, sets: Sequence[data.LazyRows]) -> None:
        self._sets = [each for each in sets if len(each)]
        self._ends = np.cumsum([len(each) for each in self._sets])
        self.shape = (int(self._ends[-1]), *self._sets[0].shape[1:])
        self.dtype = self._sets[0].dtype

    def _read(self, rows: np.ndarray) -> np.ndarray:
        found = np.empty((len(rows), *self.shape[1:]), self.dtype)
        which = np.searchsorted(self._ends, rows, side="right")
        for number in np.unique(which):
            own = which == number
            start = self._ends[number] - len(self._sets[number])
            found[own] = self._sets[number][rows[own] - start]
        return found


def learns_on_features(recipe: Recipe) -> bool:
    """Tells whether a recipe keeps backbones frozen, so that features are enough."""
    return not recipe.trained_layers and recipe.generates == "features"


def feature_rows(
    model: EGAN,
    images: np.ndarray | data.LazyRows,
    store: features.FeatureStore,
    what: str,
    *,
    show: bool = True,
) -> FeatureRows:
    """Returns what a model's frozen backbones make of images, each seen once.

    `what` says in messages what the images are.
    """
    stem = features.compiled(model.discriminator.stem)
    found = store.features(images, stem.recognising_with_maps, what, show=show)
    (vectors,), maps, _ = stem.parted(found)
    return FeatureRows(np.asarray(vectors), maps)


def on_features(model: EGAN) -> EGAN:
    """Returns a model that scores rows of features as a model scores their images.

    Its recipe is one that `learns_on_features`. Its generator reads what the
    discriminator's backbone puts out, whatever the run's encoder is. It is compiled.
    """
    other = untrained(model)
    carry_over(model, other)
    other.minority_classes = model.minority_classes
    return other


def trained_on(
    model: EGAN,
    rows: data.LazyRows,
    mirrored: data.LazyRows | None,
    labels: np.ndarray,
    **fit_options: Any,
) -> EGAN:
    """Trains a new model on rows of features, as the model was on images.

    Its recipe is one that `learns_on_features`. Rows of the minority's mirror images
    are in its order; `None` where the recipe does not mirror.
    """
    data.check_both_classes(labels)
    other = untrained(model)
    if mirrored is not None:
        rows = JoinedRows([rows, mirrored])
        labels = np.append(labels, np.ones(len(mirrored), labels.dtype))
    store = features.FeatureStore("memory", verbose=0)
    other.fit(rows, labels, verbose=0, cache_features=store, **fit_options)
    return other


def mirrored_rows(
    model: EGAN, images: np.ndarray | data.LazyRows, store: features.FeatureStore
) -> FeatureRows:
    """Returns what a model's frozen layers make of the mirror images of images."""
    behind = np.arange(len(images), 2 * len(images))
    images = data.WithMirrorImages(images).select(behind)
    return feature_rows(model, images, store, "mirrored", show=False)


def carry_over(source: EGAN, target: EGAN) -> None:
    """Gives a discriminator the weights of another, but for those of backbones."""
    ours, theirs = source.discriminator, target.discriminator
    for name in _ADAPTED:
        if any(layer.name == name for layer in theirs.stem.layers):
            weights = ours.stem.get_layer(name).get_weights()
            theirs.stem.get_layer(name).set_weights(weights)
    theirs.tail.set_weights(ours.tail.get_weights())


def untrained(model: EGAN) -> EGAN:
    """Returns a new model of features, compiled as a model of images is, or anew."""
    stem = features.compiled(model.discriminator.stem)
    unit_length = find_layer(model.discriminator.stem, UnitLength)
    ((width,), _), *_ = stem.raw.row_types(model.image_shape)
    maps = stem.maps.row_types(model.image_shape) if stem.maps else []
    map_shapes: list[Any] = [shape for shape, _ in maps]
    other = EGAN.from_features(
        None,
        list(unit_length.sizes) if unit_length else width,
        map_shapes=map_shapes,
        side=max(model.image_shape[:2]),
        views=1 + model.recipe.mirrored_minority,
        recipe=model.recipe,
        pairing=model.pairing,
    )
    if config := model.get_compile_config():
        other.compile_from_config(config)
    else:
        other.compile()
    return other


def cross_fitted_scores(
    build: Callable[[], EGAN],
    images: np.ndarray | data.LazyRows,
    labels: np.ndarray,
    *,
    folds: int = 5,
    groups: Sequence[Any] | None = None,
    seed: int = 0,
    **fit_options: Any,
) -> Scored:
    """Scores each majority image by a model that was trained without it.

    The majority is divided into folds; of each fold a new model scores the images,
    which was trained on the others and on all of the minority. These scores say what a
    model of all images gives further ones, though no image is held out from it; and the
    lowest are those most likely to be minority that nobody has noticed.

    Args:
        build: Returns a compiled model that is not trained.
        images: Training images (n, h, w, 3), RGB pixels 0..255, or `ImageFiles`.
        labels: Their labels (n,), 0 majority and 1 minority.
        folds: Number of folds, 2 or more.
        groups: Of which object each image is, (n,): images of one group are in one
            fold.
        seed: Decides the folds.
        **fit_options: Arguments of `EGAN.fit`, such as `verbose=0`.

    Returns:
        Scores of the majority images, in their order, as `EGAN.score_labelled` does.

    Raises:
        ValueError: If there are fewer majority images, or groups of them, than folds.
    """
    labels = data.check_labels(labels, len(images))
    majority, minority = (np.flatnonzero(labels == label) for label in (0, 1))
    own = None if groups is None else np.asarray(groups)[majority]
    there = len(majority) if own is None else len(np.unique(own))
    if not 2 <= folds <= there:
        what = "majority images" if own is None else "groups of majority images"
        raise ValueError(
            f"There must be 2 folds or more, and no more than {what}. Received: "
            f"folds={folds}, {what}={there}. Pass a number from 2 to {there}."
        )
    kind = KFold if own is None else GroupKFold
    splitter = kind(folds, shuffle=True, random_state=seed)
    judge = _fold_judge(build, images, labels, fit_options)
    judged, order = [], []
    parts = splitter.split(majority, groups=own)
    for fitted, held_out in logs.shown(parts, folds, "models"):
        rows = np.sort(np.concatenate([majority[fitted], minority]))
        judged.append(judge(rows, majority[held_out]))
        order.append(held_out)
    back = np.argsort(np.concatenate(order))
    scores, distances, _ = Judged.joined(judged)
    known = np.zeros(len(back), np.int32)
    distances = distances if distances is None else distances[back]
    return Scored(scores[back], known, known.astype(bool), distances)


def _fold_judge(
    build: Callable[[], EGAN],
    images: np.ndarray | data.LazyRows,
    labels: np.ndarray,
    fit_options: dict[str, Any],
) -> Callable[[np.ndarray, np.ndarray], Judged]:
    """Returns what trains a new model on some rows, and judges others by it.

    Where backbones stay frozen, they see each image once for all folds.
    """
    model, options = build(), dict(fit_options)
    if options.get("validation_data") is not None or not _is_one_stem(model, labels):
        ready = [model]

        def judge(fitted: np.ndarray, held_out: np.ndarray) -> Judged:
            own = ready.pop() if ready else build()
            own.fit(data.selected(images, fitted), labels[fitted], **options)
            return own.judge(data.selected(images, held_out))

        return judge
    options.pop("validation_data", None)
    verbose = options.pop("verbose", "auto")
    place = options.pop("cache_features", "auto") or "memory"
    if isinstance(place, features.FeatureStore):
        store = place
    else:
        store = features.FeatureStore(place, verbose=verbose)
    rows = feature_rows(model, images, store, "training")
    few = np.flatnonzero(labels == 1)
    mirrored = None
    if model.recipe.mirrored_minority:
        mirrored = mirrored_rows(model, data.selected(images, few), store)

    def judge_rows(fitted: np.ndarray, held_out: np.ndarray) -> Judged:
        # All of the minority is in each fold, in its order.
        told = rows.select(fitted), mirrored, labels[fitted]
        own = trained_on(model, *told, **options)
        return own.judge(rows.select(held_out))

    return judge_rows


def _is_one_stem(model: EGAN, labels: np.ndarray) -> bool:
    """Tells whether rows of one frozen stem are all that training reads."""
    if not (labels == 1).any() or not learns_on_features(model.recipe):
        return False
    if len(model.image_shape) == 1:
        return False
    # On rows the generator reads what the discriminator's backbone puts out.
    encoder, _, discriminator = (model.pairing or "").partition("->")
    return encoder == discriminator != ""


def calibrate_cross_fitted(
    model: EGAN, scored: Scored, folds: int, **wish: Any
) -> thresholds.Calibration:
    """Sets a model's threshold on cross-fitted scores, as `EGAN.calibrate` does.

    The scores are those of models that have seen a fold less than this one, so that
    the guarantee holds as far as these score alike, and says so.

    Args:
        model: What was trained on all images.
        scored: As `cross_fitted_scores` returned.
        folds: Number of folds.
        **wish: As for `EGAN.calibrate`; of the majority's scores alone.

    Raises:
        ValueError: As `EGAN.calibrate`.
    """
    found = model.calibrate_scored(scored, **wish)
    count = found.n_majority
    guarantee = found.guarantee.replace(
        f"({count} held-out majority images)",
        f"as far as the model scores like {folds} others, each trained without a part "
        f"of the majority ({count} cross-fitted majority images)",
    )
    model.calibration = dataclasses.replace(found, guarantee=guarantee)
    return model.calibration
