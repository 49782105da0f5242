"""From labelled images to what the steps of training and validation read."""

import contextlib
import operator
import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from egan_keras import data, features, logs
from egan_keras.data.lazy import FileRows, SelectedRows
from egan_keras.keras_hooks import find_layer
from egan_keras.networks import MajorityAwareScore

if TYPE_CHECKING:
    from egan_keras.model.trainer import AdversarialTrainer

Batches = data.ArrayBatches | data.DatasetBatches

# Vectors of so many images tell how kinds of evidence go together.
_VECTORS = 3000

_FIT_OPTIONS = "initial_epoch", "validation_freq"
_ADVICE = {
    "class_weight": "The classes are split and weighted by the recipe.",
    "sample_weight": "Leave out images instead.",
    "validation_split": "Split first (ek.load_folder does) and give validation_data.",
    "steps_per_epoch": "An epoch is one pass over the majority.",
}


def check_fit_options(
    options: dict, *, batch_size: int | None, epochs: int | None
) -> None:
    """Refuses options of `keras.Model.fit` that have no meaning, and small numbers."""
    for name, value in {"batch_size": batch_size, "epochs": epochs}.items():
        try:
            valid = value is None or operator.index(value) > 0
        except TypeError:
            valid = False
        if not valid:
            raise ValueError(
                f"`{name}` must be a positive int, or None for the recipe's. Received: "
                f"{name}={value!r}. Leave it out, or pass 1 or more."
            )
    for name in options:
        if name not in _FIT_OPTIONS:
            raise ValueError(
                f"fit does not take {name}; expected, beside the arguments listed in "
                f"its documentation, {', '.join(_FIT_OPTIONS)}. Received: "
                f"{name}={options[name]!r}. {_ADVICE.get(name, '')}".rstrip()
            )


def as_pair(labelled: Any) -> tuple:
    """Returns `validation_data` as (images, labels); labels are None for a dataset."""
    if data.is_dataset(labelled):
        return labelled, None
    if isinstance(labelled, tuple | list) and len(labelled) == 2:
        return tuple(labelled)
    raise ValueError(
        "Validation data must be (images, labels) or a tf.data.Dataset of such "
        f"batches; sample weights are not used. Received: {type(labelled).__name__}"
        f"{f' of length {len(labelled)}' if hasattr(labelled, '__len__') else ''}."
    )


def feature_cache(
    where: bool | str | os.PathLike | features.FeatureStore,
    batches: Batches,
    *,
    of_rows: bool = False,
    verbose: str | int,
) -> features.FeatureStore | None:
    """Returns what keeps features; `None` where the stems run at every step.

    `of_rows` tells that rows of features take the place of images.
    """
    if where is False:
        return None
    if isinstance(where, features.FeatureStore):
        return where
    store = features.FeatureStore(where, verbose=verbose)
    # Writing what a stem makes of features in a file would fill the disk twice.
    is_lazy = isinstance(getattr(batches, "images", None), data.LazyRows)
    return None if is_lazy and of_rows else store


def training_dataset(
    model: "AdversarialTrainer",
    batches: Batches,
    cache: features.FeatureStore | None,
    *,
    batch_size: int,
    shuffle: bool,
    verbose: str | int,
) -> tuple:
    """Splits the classes, runs the stems, and batches what they put out.

    Without a cache, the dataset holds images. Returns it and the tables, as
    `features.training_dataset` does, both `None` where there is no minority image; the
    numbers of majority and minority images, mirrored ones counted; and the
    `data.row_hashes` of all.
    """
    recipe, image_shape = model.recipe, model.image_shape
    stem = features.compiled(model.discriminator.stem)
    score = find_layer(model.discriminator.tail, MajorityAwareScore)
    if batches.labels is not None:
        _check_classes(score, batches, *np.bincount(batches.labels, minlength=2))
    size = stem.sample_size(image_shape)
    kept_maps = features.KeptMaps(stem, size) if cache and size else None
    majority, (minority,) = features.by_class(
        batches,
        stem.recognising if cache else None,
        cache=cache,
        verbose=verbose,
        kept_maps=kept_maps,
    )
    different = len(minority)
    if batches.labels is None:
        _check_classes(score, batches, len(majority[0]), different)
    if not different:
        minority = np.empty((0, *image_shape), "uint8")
    if recipe.mirrored_minority and minority.ndim == 4:
        minority = data.WithMirrorImages(minority)
    counts = len(majority[0]), len(minority)
    hashes = np.asarray(majority.pop() if cache else data.row_hashes(majority[0]))
    data.check_not_all_the_same(hashes)
    raw = majority
    if not cache:  # computed whenever it is read
        shape, _ = stem.raw.row_types(image_shape)[0]
        raw = [data.MappedRows(lambda x: stem.raw(x)[0], majority[0], shape)]
    standardized = _adapt(stem, score, raw, verbose)
    keeper = cache or features.FeatureStore("memory", verbose=0)
    compute = stem.recognising_with_maps
    found = keeper.features(minority, compute, "minority", show=False)
    known, theirs, own = stem.parted(found)
    known = stem.standardized(known)
    if score is not None:
        rows = features.of_least_hashes(hashes, size or _VECTORS)
        maps = kept_maps.of(hashes[rows]) if kept_maps else None
        if size and not maps:
            # A dataset's majority is gone, but then all of them are kept.
            images, of_majority = majority[0], rows
            if cache:
                images = batches.images
                of_majority = np.flatnonzero(batches.labels == 0)[rows]
            sample = _lazy_rows(images, of_majority)
            maps = keeper.features(sample, stem.maps, "majority", show=False)
        vectors = np.asarray(standardized[0][rows]), np.asarray(known[0])
        _weigh(score, stem, vectors, (maps or [], theirs), different, keeper)
    n_both = len(np.intersect1d(hashes, own))
    if n_both:
        warnings.warn(
            f"{n_both} images are labelled both 0 and 1; expected one label for each. "
            "Received: the same pixels with both. Look at them, and leave one out.",
            stacklevel=3,
        )
    hashes = np.concatenate([hashes, own])
    if not different:
        return None, None, counts, hashes
    parts = majority, [minority], [minority]
    if cache:
        encode = features.compiled(model.generator.stem)
        encoded = cache.features(minority, encode, "minority", show=False)
        parts = standardized, encoded, known
    dataset, tables = features.training_dataset(
        *parts,
        batch_size=batch_size,
        minority_batch_size=recipe.minority_batch_size,
        minimum_steps=recipe.minimum_steps,
        shuffle=shuffle,
    )
    return dataset, tables, counts, hashes


def validation_dataset(
    model: "AdversarialTrainer",
    batches: Batches,
    cache: features.FeatureStore | None = None,
    *,
    batch_size: int,
) -> tf.data.Dataset:
    """Returns batches of (features, labels)."""
    stem = features.compiled(model.discriminator.stem)
    rows, labels = features.labelled(batches, stem, cache=cache)
    return features.labelled_dataset(rows, labels, batch_size=batch_size)


def endless(dataset: Any, steps_per_execution: int) -> tuple:
    """Returns a dataset that need not start anew, and the steps of an epoch.

    To start one takes Keras as long as many steps. Where an epoch's last execution
    would take batches of the next epoch, the dataset is returned as it is, and `None`.
    """
    steps = int(dataset.cardinality()) if isinstance(dataset, tf.data.Dataset) else 0
    is_even = steps and steps % steps_per_execution == 0
    return (dataset.repeat(), steps) if is_even else (dataset, None)


def _check_classes(
    score: MajorityAwareScore | None,
    batches: Batches,
    n_majority: int,
    n_minority: int,
) -> None:
    if n_majority and not n_minority:
        received = f"Received: {n_majority:,} majority and 0 minority images."
        if score is None:
            raise ValueError(
                "There is no minority image (label 1), and this model's score is "
                f"learned from both classes; expected some. {received} Add minority "
                "images, or take recipe='default', whose score knows distances from "
                "the majority, too."
            )
        warnings.warn(
            "There is no minority image (label 1), so that there is nothing to learn "
            "from them: scores tell how unlike the majority an image is, and nothing "
            f"else. {received} A single one makes it a search for its like.",
            stacklevel=4,
        )
        return
    data.check_both_classes(np.repeat([0, 1], [n_majority, n_minority]))
    advice = "model.fit(images, 1 - labels)"
    if isinstance(batches, data.DatasetBatches):
        advice = (
            "dataset.map(lambda x, y: (x, 1 - y)), or name the common class first in "
            "image_dataset_from_directory(..., class_names=[...])"
        )
    data.warn_if_swapped(n_majority, n_minority, f"Exchange them: {advice}.")


def _adapt(
    stem: features.StemFunction,
    score: MajorityAwareScore | None,
    majority: features.Features,
    verbose: str | int,
) -> features.Features:
    """Shows layers the majority's features, and returns these standardised."""
    known = [x for x in (stem.standardization, score) if x is not None]
    unset = [layer for layer in known if not layer.is_adapted]
    if unset and verbose:
        logs.tell("Learning what the majority looks like")
    keeping: contextlib.AbstractContextManager = contextlib.nullcontext()
    if isinstance(majority[0], FileRows):
        keeping = features.kept_statistics(majority[0], unset)
    with keeping:
        if stem.standardization and not stem.standardization.is_adapted:
            stem.standardization.adapt(majority[0])
        majority = stem.standardized(majority)
        if score and not score.is_adapted:
            score.adapt(majority[0])
    return majority


def _lazy_rows(images: features.Images, rows: np.ndarray) -> data.LazyRows:
    if isinstance(images, data.LazyRows):
        return images.select(rows)
    return SelectedRows(images, rows)


def _weigh(
    score: MajorityAwareScore,
    stem: features.StemFunction,
    vectors: tuple[np.ndarray, np.ndarray],
    maps: tuple[features.Features, features.Features],
    different: int,
    keeper: features.FeatureStore,
) -> None:
    """Shows places both classes' maps, and the last layer what they make of both.

    Vectors are standardised rows of a sample of the majority, and of the minority, all
    of whose images in one view stand before those in the next; maps are those of both,
    none where no places are judged; `different` counts different minority images, or
    their rows.
    """
    views = getattr(score, "views", 1)
    if different % views:
        raise ValueError(
            f"Minority images have {views} rows each; expected a multiple of that. "
            f"Received: {different} minority rows. Give each image's rows in all "
            "views, or build the model with views=1."
        )
    n_minority, places, held_out = different // views, None, None
    if maps[0]:
        ours, theirs = ([np.asarray(depth) for depth in each] for each in maps)
        rows_each = len(theirs[0]) // max(n_minority, 1)
        matched = keeper.once(stem, lambda: stem.places.adapt_to_majority(ours))
        held_out = stem.places.adapt(ours, theirs, rows_each, matched)
        places = stem.places.evidence(ours)
    size = vectors[0].shape[1] - stem.evidence_size
    vectors = [rows[:, :size] for rows in vectors]
    score.weigh(n_minority, *vectors, places, held_out)
