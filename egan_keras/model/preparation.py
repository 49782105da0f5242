"""From labelled images to what the steps of training and validation read."""

import keras
import numpy as np
import tensorflow as tf

from egan_keras import data, features
from egan_keras.networks import (
    CutNetwork,
    MajorityAwareScore,
    MajorityStandardization,
)


def training_dataset(
    generator: CutNetwork,
    discriminator: CutNetwork,
    batches: data.ArrayBatches | data.DatasetBatches,
    *,
    cache: bool,
    mirrored_minority: bool,
    verbose: int,
    **options,
) -> tuple[tf.data.Dataset, tuple[int, int]]:
    """Splits the classes, runs the stems, and batches what they put out.

    Args:
        generator: Its stem reads the minority.
        discriminator: Its stem reads the majority.
        batches: Labelled images.
        cache: Whether the dataset holds features (else images).
        mirrored_minority: Whether mirror images of the minority are trained on too.
        verbose: 0 is silent.
        **options: Passed to `features.training_dataset`.

    Returns:
        The dataset, and the numbers of majority and minority images, mirrored ones
        counted.

    Raises:
        ValueError: If one class is missing.
    """
    if batches.labels is not None:
        data.check_both_classes(batches.labels)
    adaptable = _unadapted_layers(discriminator)
    stem = features.stem_function(discriminator.stem)
    majority, (minority,) = features.by_class(
        batches, stem if cache or adaptable else None, verbose=verbose
    )
    if mirrored_minority and minority.ndim == 4:
        minority = np.concatenate([minority, minority[:, :, ::-1]])
    counts = len(majority[0]), len(minority)
    data.check_both_classes(np.repeat([0, 1], counts))
    if adaptable:
        majority = [_adapt(adaptable, majority[0])]
    for layer in discriminator.tail.layers:
        if isinstance(layer, MajorityAwareScore):
            layer.weigh(len(minority))
    if cache:
        known_minority = features.in_batches(stem, minority)
        minority = features.in_batches(features.stem_function(generator.stem), minority)
    else:
        known_minority = minority = [minority]
        if adaptable:
            majority, _ = features.by_class(batches, None, verbose=0)
    dataset = features.training_dataset(majority, minority, known_minority, **options)
    return dataset, counts


def validation_dataset(
    discriminator: CutNetwork,
    batches: data.ArrayBatches | data.DatasetBatches,
    *,
    batch_size: int,
) -> tuple[tf.data.Dataset, set[int]]:
    """Returns batches of (features, labels), and the classes among the labels."""
    stem = features.stem_function(discriminator.stem)
    arrays, labels = features.labelled(batches, stem)
    dataset = features.labelled_dataset(arrays, labels, batch_size=batch_size)
    return dataset, {int(label) for label in np.unique(labels)}


def _unadapted_layers(network: CutNetwork) -> list:
    layers = [*network.stem.layers, *network.tail.layers]
    kinds = (MajorityStandardization, MajorityAwareScore)
    return [x for x in layers if isinstance(x, kinds) and not x.is_adapted]


def _adapt(adaptable: list, majority: np.ndarray) -> np.ndarray:
    """Shows layers the majority; returns its features, now standardised."""
    for layer in adaptable:
        layer.adapt(majority)
        if isinstance(layer, MajorityStandardization):
            majority = keras.ops.convert_to_numpy(layer(majority))
    return majority


def as_input(batch):
    """Returns several tensors as the list that a Keras model expects."""
    return list(batch) if isinstance(batch, tuple) else batch


def as_pair(labelled) -> tuple:
    """Returns `validation_data` as (images, labels); labels are None for a dataset.

    Raises:
        ValueError: If it is neither a dataset nor a pair.
    """
    if isinstance(labelled, tf.data.Dataset):
        return labelled, None
    if isinstance(labelled, tuple | list) and len(labelled) == 2:
        return tuple(labelled)
    raise ValueError(
        "Validation data must be (images, labels) or a tf.data.Dataset of such "
        f"batches; sample weights are not used. Received: {type(labelled).__name__}"
        f"{f' of length {len(labelled)}' if hasattr(labelled, '__len__') else ''}."
    )


def check_fit_options(options: dict) -> None:
    """Refuses options of `keras.Model.fit` that have no meaning here.

    Raises:
        ValueError: If there is one.
    """
    advice = {
        "class_weight": "The classes are split and weighted by the recipe.",
        "sample_weight": "Leave out images instead.",
        "validation_split": "Split first (ek.load_folder does) and give "
        "validation_data.",
        "steps_per_epoch": "An epoch is one pass over the majority.",
    }
    allowed = {"initial_epoch", "validation_freq"}
    for name in options:
        if name not in allowed:
            raise ValueError(
                f"fit does not take {name}; expected, beside the arguments listed in "
                f"its documentation, {', '.join(sorted(allowed))}. Received: "
                f"{name}={options[name]!r}. {advice.get(name, '')}".rstrip()
            )
