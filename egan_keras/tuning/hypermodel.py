"""`EGANHyperModel`: the models that a search chooses among, and how one is judged."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import keras_tuner
import numpy as np
from numpy.typing import ArrayLike

from egan_keras import data, features, networks
from egan_keras.backbones import Backbone
from egan_keras.data.splits import MAJORITY
from egan_keras.model import EGAN
from egan_keras.tuning import choosing
from egan_keras.tuning.space import Configuration, Space

_BATCH_SIZE = 512


class DivergedError(Exception):
    """Training ran into numbers that are not finite."""


class EGANHyperModel(keras_tuner.HyperModel):
    """Pairings of backbones, and choices of a recipe, for any KerasTuner tuner.

    `search_pairings` searches them, and does more. With a tuner of KerasTuner's own,
    the objective is `keras_tuner.Objective("held_out_auroc", "max")`.

    Args:
        image_shape: (height, width, 3) of the images, RGB pixels 0..255.
        encoders: Backbones to choose the encoder among, such as
            `["MobileNetV2", "DenseNet121"]`.
        discriminators: The same for the discriminator; `None` takes the encoders.
        recipe: Name of a recipe, or a `Recipe`: all that is not chosen.
        weights: As in `EGAN.from_backbones`.
        seed: Decides which images are held out together, first weights and the order
            of batches: the same in all trials.
        name: As in `keras_tuner.HyperModel`.
        tunable: As in `keras_tuner.HyperModel`.
        **choices: Fields of `Recipe`, with one value or a list of values to choose
            among. `depths` (or, if layers are trained, `trained_layers`) and
            `network_size` are searched unless one value is given.

    Raises:
        ValueError: If a backbone, the recipe or a choice is unknown.

    Example:
        >>> hypermodel = EGANHyperModel(
        ...     (32, 32, 3), encoders=["MobileNet:alpha=0.25"], weights=None,
        ...     network_size=32, depths=[1, 2], loss=["non_saturating", "hinge"],
        ... )
        >>> hypermodel.space.size
        4
        >>> hypermodel.build(keras_tuner.HyperParameters()).recipe.depths
        2
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        *,
        encoders: Sequence[str],
        discriminators: Sequence[str] | None = None,
        recipe: "str | networks.Recipe" = "default",
        weights: "networks.Weights | Mapping[str, networks.Weights]" = "imagenet",
        seed: int = 0,
        name: str | None = None,
        tunable: bool = True,
        **choices: Any,
    ) -> None:
        super().__init__(name=name, tunable=tunable)
        self.image_shape = tuple(image_shape)
        self.weights = weights
        self.seed = seed
        pairings = encoders, encoders if discriminators is None else discriminators
        self.space = Space(self.image_shape, *pairings, recipe, choices)

    def build(self, hp: keras_tuner.HyperParameters) -> EGAN:
        """Builds and compiles the model that is chosen."""
        return self.build_chosen(self.space.choose(hp))

    def build_chosen(self, chosen: Configuration) -> EGAN:
        """Builds and compiles the model of a configuration."""
        keras.utils.set_random_seed(self.seed)
        *pairing, recipe = chosen
        model = EGAN.from_backbones(
            *pairing,
            image_shape=self.image_shape,
            recipe=recipe,
            weights=self.weights,
        )
        model.compile()
        return model

    def network_size(self, chosen: Configuration) -> int:
        """Returns the side of the images in the discriminator's backbone, in pixels."""
        backbone = Backbone.parse(chosen.discriminator)
        own_size = networks.network_size(backbone, self.image_shape)
        return chosen.recipe.network_size or own_size

    def fit(
        self,
        hp: keras_tuner.HyperParameters,
        model: EGAN,
        x: data.images.Rows,
        y: ArrayLike,
        *,
        validation_data: tuple[data.images.Rows, ArrayLike],
        epochs: int | None = None,
        initial_epoch: int = 0,
        cache_features: str | os.PathLike[str] = "auto",
        callbacks: list[keras.callbacks.Callback] | None = None,
        verbose: str | int = "auto",
    ) -> dict[str, float]:
        """Trains with some minority images held out in turn, and judges by these.

        KerasTuner's tuners call it. Images, labels, `epochs` and `cache_features` are
        as in `EGAN.fit`; the majority images of `validation_data` judge. Where
        `initial_epoch` is not 0, the model has seen all images, and a new one is
        trained. `callbacks` and `verbose` are of a last training, on all images, which
        there is with callbacks only.

        Returns:
            `held_out_auroc`, the mean over minority images of the share of validation
            majority images that score above them when they are held out, 0..1; and
            `held_out_auroc_error`, its standard error.

        Raises:
            ValueError: If there is one minority image, or no validation majority.
            DivergedError: If training diverges.
        """
        train = data.LabelledImages(x, np.asarray(y))
        images, labels = validation_data
        validation = data.LabelledImages(images, np.asarray(labels))
        majority = validation_majority(validation)
        folds = choosing.make_folds(train.minority_count, self.seed)
        if initial_epoch:
            model = self.build(hp)
        judged = model, train, majority, folds
        held_out, _ = judge(*judged, place=cache_features, epochs=epochs)
        if callbacks:
            options: dict[str, Any] = {"epochs": epochs, "callbacks": callbacks}
            options |= {"cache_features": cache_features, "verbose": verbose}
            self.build(hp).fit(x, y, **options)
        return {
            choosing.NAME: held_out.mean,
            choosing.ERROR_NAME: held_out.standard_error,
        }


def validation_majority(validation: data.LabelledImages) -> data.images.Rows:
    """Returns the majority images of a validation split; refuses one without any."""
    if not validation.majority_count:
        raise ValueError(
            "Held-out minority images are compared with validation majority images; "
            f"expected some. Received: {len(validation)} validation images, none of "
            "them majority. Hold some out, as ek.load_folder does."
        )
    if validation.majority_count == len(validation):
        return validation.images
    rows = np.flatnonzero(np.asarray(validation.labels) == MAJORITY)
    return data.selected(validation.images, rows)


def judge(
    model: EGAN,
    train: data.LabelledImages,
    majority: np.ndarray | data.LazyRows,
    folds: list[choosing.Fold],
    *,
    place: str | os.PathLike[str],
    epochs: int | None = None,
) -> tuple[choosing.HeldOut, float]:
    """Trains once for each fold, and ranks the minority images held out.

    The model is compiled and was not trained; `place` is as in `FeatureStore`. Returns
    how they rank, and the seconds of the shortest training: the first one computes
    features and compiles. A `DivergedError` if a training diverges.
    """
    minority = np.flatnonzero(train.labels == 1)
    views = data.selected(train.images, minority)
    if model.recipe.mirrored_minority:
        views = data.WithMirrorImages(views)
    store = features.SharedFeatureStore(place, views)
    first = _first_values(model)
    fits, seconds = [], []
    for fold in folds:
        keras.utils.set_random_seed(fold.seed)
        for variable, value in first:
            if variable.name == "seed_generator_state":
                value = np.array([fold.seed, 0], value.dtype)
            variable.assign(value)
        rows = np.delete(np.arange(len(train)), minority[fold.held_out])
        started = time.perf_counter()
        seen = data.selected(train.images, rows), train.labels[rows]
        model.fit(*seen, epochs=epochs, verbose=0, cache_features=store)
        seconds.append(time.perf_counter() - started)
        held_out = data.selected(train.images, minority[fold.held_out])
        scores = _scores(model, held_out, "minority", store)
        others = _scores(model, majority, "validation", store)
        if model.stop_training or not np.isfinite([*scores, *others]).all():
            raise DivergedError("training diverged: the losses are not finite")
        fits.append((fold.held_out, choosing.shares_above(scores, others)))
    return choosing.join_fits(len(minority), fits), min(seconds)


def _first_values(model: EGAN) -> list[tuple[keras.Variable, np.ndarray]]:
    """Returns what each fit starts from, but for the majority's statistics."""
    tails = model.generator.tail, model.discriminator.tail
    layers = [layer for tail in tails for layer in tail.layers]
    kept = {id(v) for layer in layers for v in getattr(layer, "statistics", [])}
    owners = *tails, model.optimizer, model.generator_optimizer
    return [
        (variable, keras.ops.convert_to_numpy(variable).copy())
        for owner in owners
        for variable in owner.variables
        if id(variable) not in kept
    ]


def _scores(
    model: EGAN, images: data.images.Rows, what: str, store: features.FeatureStore
) -> np.ndarray:
    """Returns the scores of images, (n,), from their features."""
    stem = features.compiled(model.discriminator.stem)
    # As `fit` asks for them, so that both read the same files.
    found = store.features(images, stem.recognising_with_maps, what)
    raw, maps, _ = stem.parted(found)
    rows, tail = stem.standardized(raw), model.discriminator.tail
    scores = []
    for start in range(0, len(images), _BATCH_SIZE):
        parts = [array[start : start + _BATCH_SIZE] for array in rows]
        if stem.places:
            places = [array[start : start + _BATCH_SIZE] for array in maps]
            parts[0][:, -stem.evidence_size :] = stem.places.evidence(places)
        scores.append(tail.predict_on_batch(parts[0] if len(parts) == 1 else parts))
    return np.concatenate(scores)[:, 0]
