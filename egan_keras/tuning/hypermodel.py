"""`EGANHyperModel`: the models that a search chooses among."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import keras_tuner
import numpy as np

from egan_keras import data, losses, networks
from egan_keras.backbones import Backbone
from egan_keras.data.splits import MAJORITY
from egan_keras.model import EGAN
from egan_keras.tuning.choosing import ERROR_NAME, NAME, make_folds
from egan_keras.tuning.fits import judge

# Of the recipe's own size, to see whether smaller images, which cost less, suffice.
_SMALLER = 3 / 4
_MULTIPLE = 32


class Configuration(NamedTuple):
    """One point of a space: backbones as `Backbone.parse` reads them, and a recipe."""

    encoder: str
    discriminator: str
    recipe: networks.Recipe


class Space:
    """Pairings and choices of the recipe, each with the values to choose among."""

    def __init__(
        self,
        image_shape: Sequence[int],
        encoders: Sequence[str],
        discriminators: Sequence[str],
        recipe: str | networks.Recipe,
        choices: dict[str, Any],
    ) -> None:
        self.encoders = _backbones(encoders, "encoders")
        self.discriminators = _backbones(discriminators, "discriminators")
        own = networks.get_recipe(recipe)
        given = {name: v for name, v in choices.items() if not _is_list(v)}
        backbone = Backbone.parse(self.discriminators[0])
        own_size = networks.network_size(backbone, tuple(image_shape))
        kept = networks.get_recipe(own, **given)
        # Where nothing is said: the cut, and the recipe's size with a smaller one.
        sizes = [kept.network_size]
        smaller = int(_SMALLER * (sizes[0] or own_size)) // _MULTIPLE * _MULTIPLE
        if smaller >= backbone.minimum_size:
            sizes.append(smaller)
        trained = kept.trained_layers
        cut = (
            {"trained_layers": [trained, 2 * trained]}
            if trained
            else {"depths": [1, 2, 3]}
        )
        defaults = {"network_size": sizes, **cut}
        self.searched, fixed = {}, {}  # several values of a choice, and one
        for name, value in {**defaults, **choices}.items():
            values = list(dict.fromkeys(value)) if _is_list(value) else [value]
            _check_values(own, name, values)
            # What the recipe says comes first, as that is what a search starts from.
            first = getattr(own, name)
            if name == "network_size" and first not in values:
                first = own_size
            values.sort(key=lambda each: each != first)
            if len(values) > 1:
                self.searched[name] = values
            else:
                fixed[name] = values[0]
        self.recipe = networks.get_recipe(own, **fixed)

    @property
    def size(self) -> int:
        """Number of configurations."""
        values = self.encoders, self.discriminators, *self.searched.values()
        return math.prod(map(len, values))

    def choose(self, hp: keras_tuner.HyperParameters) -> Configuration:
        """Declares what there is to choose, and returns what is chosen."""
        encoder = hp.Choice("encoder", self.encoders)
        discriminator = hp.Choice("discriminator", self.discriminators)
        chosen = {}
        for name, values in self.searched.items():
            # KerasTuner takes values of one type, none of them None.
            kinds = set(map(type, values))
            is_taken = len(kinds) == 1 and kinds <= {bool, int, float, str}
            told = values if is_taken else list(map(str, values))
            chosen[name] = values[told.index(hp.Choice(name, told))]
        recipe = networks.get_recipe(self.recipe, **chosen)
        return Configuration(encoder, discriminator, recipe)

    def describe(self) -> dict[str, Any]:
        """Returns the space as values that JSON can hold."""
        return {**vars(self), "recipe": dataclasses.asdict(self.recipe)}


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
        image_shape: tuple[int, int, int],
        *,
        encoders: Sequence[str],
        discriminators: Sequence[str] | None = None,
        recipe: "str | networks.Recipe" = "default",
        weights: "networks.Weights | Mapping[str, networks.Weights]" = "imagenet",
        seed: int = 0,
        name: str | None = None,
        tunable: bool = True,
        **choices,
    ) -> None:
        super().__init__(name=name, tunable=tunable)
        self.image_shape = tuple(image_shape)
        self.weights = weights
        self.seed = seed
        pairings = encoders, encoders if discriminators is None else discriminators
        self.space = Space(self.image_shape, *pairings, recipe, choices)

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        """Declares all that is searched, without building anything."""
        self.space.choose(hp)

    def build(self, hp: keras_tuner.HyperParameters) -> EGAN:
        """Builds and compiles the model that is chosen."""
        return self.build_chosen(self.space.choose(hp))

    def build_chosen(self, chosen: Configuration) -> EGAN:
        """Builds and compiles the model of a configuration.

        Raises:
            ValueError: If the choices exclude each other.
            OSError: If ImageNet weights cannot be had.
        """
        keras.utils.set_random_seed(self.seed)
        model = EGAN.from_backbones(
            chosen.encoder,
            chosen.discriminator,
            image_shape=self.image_shape,
            recipe=chosen.recipe,
            weights=self.weights,
        )
        model.compile()
        return model

    def network_size(self, chosen: Configuration) -> int:
        """Returns the side of the images in the discriminator's backbone, in pixels."""
        if chosen.recipe.network_size:
            return chosen.recipe.network_size
        backbone = Backbone.parse(chosen.discriminator)
        return networks.network_size(backbone, self.image_shape)

    def fit(
        self,
        hp: keras_tuner.HyperParameters,
        model: EGAN,
        x,
        y,
        *,
        validation_data: tuple,
        epochs: int | None = None,
        initial_epoch: int = 0,
        cache_features: str | os.PathLike = "auto",
        callbacks: list | None = None,
        verbose="auto",
    ) -> dict[str, float]:
        """Trains with some minority images held out in turn, and judges by these.

        Args:
            hp: The choices.
            model: What `build` returned.
            x: Training images (n, h, w, 3), RGB pixels 0..255, or `ImageFiles`.
            y: Labels (n,), 0 majority and 1 minority.
            validation_data: (images, labels), whose majority images are what held-out
                images are compared with.
            epochs: Of each training; `None` takes the recipe's.
            initial_epoch: Not 0 where Hyperband goes on with an earlier model. That
                one has seen all images, so a new one is trained.
            cache_features: As in `EGAN.fit`; trials share what is in one folder.
            callbacks: Of a last training, on all images, which there is with them only.
            verbose: Of that training.

        Returns:
            `held_out_auroc`, the mean over minority images of the share of validation
            majority images that score above them when they are held out, 0..1; and
            `held_out_auroc_error`, its standard error.

        Raises:
            ValueError: If there is one minority image, or no validation majority.
            DivergedError: If training diverges.
        """
        train = data.LabelledImages(x, np.asarray(y))
        majority = validation_majority(data.LabelledImages(*validation_data))
        folds = make_folds(train.minority_count, self.seed)
        if initial_epoch:
            model = self.build(hp)
        of_all = {"epochs": epochs, "callbacks": callbacks, "verbose": verbose}
        place = cache_features
        held_out, _ = judge(model, train, majority, folds, place=place, epochs=epochs)
        if callbacks:
            self.build(hp).fit(x, y, cache_features=place, **of_all)
        return {NAME: held_out.mean, ERROR_NAME: held_out.standard_error}


def validation_majority(validation: data.LabelledImages):
    """Returns the majority images of a validation split.

    Raises:
        ValueError: If there is none.
    """
    if not validation.majority_count:
        raise ValueError(
            "Held-out minority images are compared with validation majority images; "
            f"expected some. Received: {len(validation)} validation images, none of "
            "them majority. Hold some out, as ek.load_folder does."
        )
    images = validation.images
    if validation.majority_count == len(validation):
        return images
    rows = np.flatnonzero(np.asarray(validation.labels) == MAJORITY)
    return images.select(rows) if isinstance(images, data.LazyRows) else images[rows]


def _backbones(specs: Sequence[str], name: str) -> list[str]:
    """Returns backbones as written, each once."""
    if isinstance(specs, str) or not specs:
        raise ValueError(
            "A search needs backbones to choose among; expected a list of them. "
            f"Received: {name}={specs!r}. For example {name}=['MobileNetV2']."
        )
    return list(dict.fromkeys(str(Backbone.parse(spec)) for spec in specs))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _check_values(recipe: networks.Recipe, name: str, values: list) -> None:
    """Refuses names and values that a recipe cannot have."""
    if not values:
        raise ValueError(
            "A choice needs values to choose among; expected a value or a list of "
            f"values. Received: {name}=[]. Leave it out to keep the recipe's."
        )
    for value in values:
        networks.get_recipe(recipe, **{name: value})
        if name == "loss":
            losses.get(value)
