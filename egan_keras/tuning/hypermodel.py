"""`EGANHyperModel`: the models that a search chooses among."""

import os
from collections.abc import Mapping, Sequence

import keras
import keras_tuner
import numpy as np

from egan_keras import data, networks
from egan_keras.backbones import Backbone
from egan_keras.data.splits import MAJORITY
from egan_keras.model import EGAN
from egan_keras.tuning.fits import judge
from egan_keras.tuning.folds import make_folds
from egan_keras.tuning.objective import ERROR_NAME, NAME
from egan_keras.tuning.space import Configuration, Space


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
        self.space = Space(
            self.image_shape,
            encoders,
            encoders if discriminators is None else discriminators,
            recipe,
            choices,
        )

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        """Declares all that is searched, without building anything."""
        self.space.choose(hp)

    def build(self, hp: keras_tuner.HyperParameters) -> EGAN:
        """Builds and compiles the model that is chosen.

        Raises:
            ValueError: If the choices exclude each other.
            OSError: If ImageNet weights cannot be had.
        """
        chosen = self.space.choose(hp)
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
            x: Training images (n, h, w, 3), RGB pixels 0..255, an array or
                `ImageFiles`.
            y: Labels (n,), 0 majority and 1 minority.
            validation_data: (images, labels) that are not trained on; the majority
                images among them are what held-out images are compared with.
            epochs: Of each training; `None` takes the recipe's.
            initial_epoch: Not 0 where Hyperband goes on with an earlier model. That
                one has seen all images, so a new one is trained.
            cache_features: Where features go, as in `EGAN.fit`. In one folder for all
                trials, those with the same backbone, cut and size share them.
            callbacks: Of a last training, on all images; without callbacks, such as
                KerasTuner's own that save the model, there is none.
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
        validation = data.LabelledImages(*validation_data)
        majority = validation_majority(validation)
        folds = make_folds(train.minority_count, self.seed)
        if initial_epoch:
            model = self.build(hp)
        held_out, _ = judge(
            model, train, majority, folds, place=cache_features, epochs=epochs
        )
        if callbacks:
            self.build(hp).fit(
                x,
                y,
                epochs=epochs,
                cache_features=cache_features,
                callbacks=callbacks,
                verbose=verbose,
            )
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
    if validation.majority_count == len(validation):
        return validation.images
    rows = np.flatnonzero(np.asarray(validation.labels) == MAJORITY)
    if isinstance(validation.images, data.LazyRows):
        return validation.images.select(rows)
    return validation.images[rows]
