"""From labelled images to what the steps of training and validation read."""

import operator
import os
import warnings

import numpy as np
import tensorflow as tf

from egan_keras import data, features, logs
from egan_keras.networks import CutNetwork, MajorityAwareScore

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


def feature_cache(
    where: bool | str | os.PathLike | features.FeatureStore,
    discriminator: CutNetwork,
    batches: Batches,
    *,
    verbose: str | int,
) -> features.FeatureStore | None:
    """Returns what keeps features; `None` where the stems run at every step."""
    if where is False:
        return None
    if isinstance(where, features.FeatureStore):
        return where
    where = features.FeatureStore(where, verbose=verbose)
    # Writing what a stem makes of features in a file would fill the disk twice.
    is_lazy = isinstance(getattr(batches, "images", None), data.LazyRows)
    return None if is_lazy and len(discriminator.input_shape) == 2 else where


def training_dataset(
    generator: CutNetwork,
    discriminator: CutNetwork,
    batches: Batches,
    *,
    cache: features.FeatureStore | None,
    mirrored_minority: bool,
    verbose: str | int,
    **options,
) -> tuple:
    """Splits the classes, runs the stems, and batches what they put out.

    Without a cache, the dataset holds images. Returns it and the tables, as
    `features.training_dataset` does, which takes the options, both `None` where there
    is no minority image; the numbers of majority and minority images, mirrored ones
    counted; and the `data.row_hashes` of all.
    """
    if batches.labels is not None:
        counts = np.bincount(batches.labels, minlength=2)
        _check_classes(discriminator, batches, *counts)
    stem = features.compiled(discriminator.stem)
    size = stem.sample_size(discriminator.input_shape[1:])
    kept_maps = features.KeptMaps(stem, size) if cache and size else None
    majority, (minority,), sample = features.by_class(
        batches,
        stem.recognising if cache else None,
        cache=cache,
        verbose=verbose,
        sample_size=size,
        kept_maps=kept_maps,
    )
    different = len(minority)
    if batches.labels is None:
        _check_classes(discriminator, batches, len(majority[0]), different)
    if not different:
        minority = np.empty((0, *discriminator.input_shape[1:]), "uint8")
    if mirrored_minority and minority.ndim == 4:
        minority = data.WithMirrorImages(minority)
    counts = len(majority[0]), len(minority)
    hashes = np.asarray(majority.pop() if cache else data.row_hashes(majority[0]))
    data.check_not_all_the_same(hashes)
    raw = majority
    if not cache:  # computed whenever it is read
        shape, _ = stem.raw.row_types(minority.shape[1:])[0]
        raw = [data.MappedRows(lambda x: stem.raw(x)[0], majority[0], shape)]
    standardized = _adapt(stem, discriminator, raw, verbose)
    keeper = cache or features.FeatureStore("memory", verbose=0)
    kept_minority = kept_maps and features.KeptMaps(stem, len(minority))
    known = keeper.features(
        minority, stem.recognising, "minority", show=False, kept_maps=kept_minority
    )
    own = np.asarray(known.pop())
    known = stem.standardized(known)
    rows, maps = features.of_least_hashes(hashes, size or _VECTORS), []
    if size:
        maps = [
            _maps(keeper, stem, "majority", sample, hashes[rows], kept_maps),
            _maps(keeper, stem, "minority", minority, own, kept_minority),
        ]
    vectors = np.asarray(standardized[0][rows]), np.asarray(known[0])
    _weigh(discriminator, stem, vectors, maps, different)
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
        encode = features.compiled(generator.stem)
        encoded = cache.features(minority, encode, "minority", show=False)
        parts = standardized, encoded, known
    dataset, tables = features.training_dataset(*parts, **options)
    return dataset, tables, counts, hashes


def validation_dataset(
    discriminator: CutNetwork,
    batches: Batches,
    *,
    batch_size: int,
    cache: features.FeatureStore | None = None,
) -> tuple[tf.data.Dataset, set[int]]:
    """Returns batches of (features, labels), and the classes among the labels."""
    stem = features.compiled(discriminator.stem)
    rows, labels = features.labelled(batches, stem, cache=cache)
    dataset = features.labelled_dataset(rows, labels, batch_size=batch_size)
    return dataset, set(np.unique(labels).tolist())


def endless(dataset, steps_per_execution: int) -> tuple:
    """Returns a dataset that need not start anew, and the steps of an epoch.

    To start one takes Keras as long as many steps. Where an epoch's last execution
    would take batches of the next epoch, the dataset is returned as it is, and `None`.
    """
    steps = int(dataset.cardinality()) if isinstance(dataset, tf.data.Dataset) else 0
    is_even = steps and steps % steps_per_execution == 0
    return (dataset.repeat(), steps) if is_even else (dataset, None)


def as_pair(labelled) -> tuple:
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


def _check_classes(
    discriminator: CutNetwork, batches: Batches, n_majority: int, n_minority: int
) -> None:
    if n_majority and not n_minority:
        _check_scores_without_minority(discriminator, n_majority)
        return
    data.check_both_classes(np.repeat([0, 1], [n_majority, n_minority]))
    advice = "model.fit(images, 1 - labels)"
    if isinstance(batches, data.DatasetBatches):
        advice = (
            "dataset.map(lambda x, y: (x, 1 - y)), or name the common class first in "
            "image_dataset_from_directory(..., class_names=[...])"
        )
    data.warn_if_swapped(n_majority, n_minority, f"Exchange them: {advice}.")


def _check_scores_without_minority(discriminator: CutNetwork, n_majority: int) -> None:
    received = f"Received: {n_majority:,} majority and 0 minority images."
    if not _score_layers(discriminator):
        raise ValueError(
            "There is no minority image (label 1), and this model's score is learned "
            f"from both classes; expected some. {received} Add minority images, or "
            "take recipe='default', whose score knows distances from the majority, too."
        )
    warnings.warn(
        "There is no minority image (label 1), so that there is nothing to learn from "
        "them: scores tell how unlike the majority an image is, and nothing else. "
        f"{received} A single one makes it a search for its like.",
        stacklevel=4,
    )


def _adapt(
    stem, discriminator: CutNetwork, majority: features.Features, verbose: int
) -> features.Features:
    """Shows layers the majority's features, and returns these standardised."""
    scores = _score_layers(discriminator)
    layers = [*filter(None, [stem.standardization]), *scores]
    unset = [layer for layer in layers if not layer.is_adapted]
    if unset and verbose:
        logs.tell("Learning what the majority looks like")
    with features.kept_statistics(majority[0], unset):
        if stem.standardization and not stem.standardization.is_adapted:
            stem.standardization.adapt(majority[0])
        majority = stem.standardized(majority)
        for layer in scores:
            if not layer.is_adapted:
                layer.adapt(majority[0])
    return majority


def _maps(
    store: features.FeatureStore, stem, what: str, images, hashes, kept
) -> features.Features:
    """Returns the maps of images: as they were kept, or computed if some were not."""
    found = kept.of(hashes) if kept else None
    return found or store.features(images, stem.maps, what, show=False)


def _weigh(
    discriminator: CutNetwork, stem, vectors: tuple, maps: list, different: int
) -> None:
    """Shows places both classes' maps, and last layers what they make of both.

    Args:
        discriminator: What has the layers.
        stem: Its stem.
        vectors: Standardised rows of a sample of the majority, and of the minority,
            all of whose images in one view stand before those in the next.
        maps: Those of the same images; none where no places are judged.
        different: Number of different minority images, or of their rows.
    """
    layers, places, held_out = _score_layers(discriminator), None, None
    if not layers:
        return
    n_minority = _images_of(different, getattr(layers[0], "views", 1))
    if maps:
        ours, theirs = ([np.asarray(depth) for depth in each] for each in maps)
        views = len(theirs[0]) // max(n_minority, 1)
        held_out = stem.places.adapt(ours, theirs, views)
        places = stem.evidence(ours)
    size = vectors[0].shape[1] - stem.evidence_size
    vectors = [rows[:, :size] for rows in vectors]
    for layer in layers:
        layer.weigh(n_minority, *vectors, places, held_out)


def _images_of(n_rows: int, views: int) -> int:
    """Returns how many minority images rows are of, each in so many views."""
    if n_rows % views:
        raise ValueError(
            f"Minority images have {views} rows each; expected a multiple of that. "
            f"Received: {n_rows} minority rows. Give each image's rows in all "
            "views, or build the model with views=1."
        )
    return n_rows // views


def _score_layers(discriminator: CutNetwork) -> list[MajorityAwareScore]:
    layers = discriminator.tail.layers
    return [layer for layer in layers if isinstance(layer, MajorityAwareScore)]
