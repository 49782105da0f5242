"""Recipes: named, complete sets of choices."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A named, complete set of choices: how networks are built and trained.

    Attributes:
        name: `published`, `default`, or a name of your own.
        generates: What the generator puts out: `"images"` or `"features"` (of the
            discriminator's stem).
        network_size: Side, in pixels, to which images are resized inside the
            networks; `None` enlarges small images up to four times, but never
            beyond the size the backbone was trained for.
        own_preprocessing: Whether pixels go through the backbone's own preprocessing;
            otherwise they are divided by 255.
        trained_layers: How many last layers of the backbones are trained; 0 trains
            only what stands behind the pooled features.
        depths: From how many depths of the frozen backbones features are taken: 1 is
            the last layer's; each further one is that of the last layer whose maps
            are twice as large.
        place_depths: At how many depths of the frozen discriminator's backbone, those
            behind the last layer's, single places are judged, see `PlaceEvidence`; 0
            judges pooled features alone.
        unit_length: Whether feature vectors, one for each depth, have length 1.
        standardize: Whether features are standardised by the majority.
        latent_size: Width of the generator's latent vector.
        decoder_channels: Channels of the 8x8 map that images are decoded from.
        latent_noise: Standard deviation of the Gaussian noise added to the latent.
        dropout: Share of the discriminator's features dropped in training.
        loss: Name of the adversarial loss.
        adversarial: Weight of the adversarial term in the generator's loss; at 0
            nothing drives the fakes to be taken for majority.
        reconstruction: Weight, in the generator's loss, of the mean squared
            difference between a fake and the minority image it was made from.
        distance_weight: Weight of the distance from the majority in the score, see
            `MajorityAwareScore` and, with places, `WeighedEvidence`; without them, 0
            makes the last layer a plain dense one.
        real_minority: How fast real minority images take over from fakes in the
            discriminator's loss as there are more of them: with m minority images,
            mirrored ones counted, and n majority images the fakes weigh
            1 / (1 + real_minority * m / n) and the real ones the rest.
        discriminator_learning_rate: Learning rate of its Adam optimizer.
        generator_learning_rate: Learning rate of its Adam optimizer.
        batch_size: Majority images a step.
        mirrored_minority: Whether the mirror image of each minority image is one more
            minority image; not where rows of features take the place of images.
        minority_batch_size: Minority images a step, drawn again and again where
            there are fewer; `None` takes each of them once, as published.
        epochs: Passes over the majority images when `fit` is told no other number.
        minimum_steps: Steps that an epoch has at least: where the majority is smaller
            than that many batches, an epoch passes over it several times.
    """

    name: str
    generates: str
    network_size: int | None
    own_preprocessing: bool
    trained_layers: int
    depths: int
    place_depths: int
    unit_length: bool
    standardize: bool
    latent_size: int
    decoder_channels: int
    latent_noise: float
    dropout: float
    loss: str
    adversarial: float
    reconstruction: float
    distance_weight: float
    real_minority: float
    discriminator_learning_rate: float
    generator_learning_rate: float
    batch_size: int
    mirrored_minority: bool
    minority_batch_size: int | None
    epochs: int
    minimum_steps: int

    def __str__(self) -> str:
        """Returns the name, and what differs from the recipe of that name.

        Example:
            >>> print(get_recipe("published", loss="hinge"))
            published (loss=hinge)
        """
        original = vars(RECIPES.get(self.name, self))
        changes = [f"{k}={v}" for k, v in vars(self).items() if v != original[k]]
        return f"{self.name} ({', '.join(changes)})" if changes else self.name

    def fake_weight(self, majority_count: int, minority_count: int) -> float:
        """Returns the weight of fakes in the discriminator's loss, above 0 to 1.

        Example:
            >>> RECIPES["default"].fake_weight(5000, 10)
            0.5
            >>> RECIPES["published"].fake_weight(5000, 10)
            1.0
        """
        return 1 / (1 + self.real_minority * minority_count / majority_count)


# Published: Okerinde et al., arXiv 2104.04162, and its authors' notebooks.
_CHOICES: dict[str, tuple[Any, Any]] = {
    # name of the choice: (published, default)
    "generates": ("images", "features"),
    "network_size": (32, None),
    "own_preprocessing": (False, True),
    "trained_layers": (5, 0),
    "depths": (1, 2),
    "place_depths": (0, 2),
    "unit_length": (False, True),
    "standardize": (False, True),
    "latent_size": (128, 128),
    "decoder_channels": (32, 32),
    "latent_noise": (0.0, 1.0),
    "dropout": (0.2, 0.0),
    "loss": ("non_saturating", "non_saturating"),
    "adversarial": (1.0, 1.0),
    "reconstruction": (0.0, 1.0),
    "distance_weight": (0.0, 1.5),
    "real_minority": (0.0, 500.0),
    "discriminator_learning_rate": (1e-4, 3e-4),
    "generator_learning_rate": (1e-4, 1e-3),
    "batch_size": (128, 128),
    "mirrored_minority": (False, True),
    "minority_batch_size": (None, 32),
    "epochs": (100, 20),
    "minimum_steps": (1, 40),
}
RECIPES = {
    name: Recipe(name, **{choice: values[n] for choice, values in _CHOICES.items()})
    for n, name in enumerate(("published", "default"))
}


def get_recipe(recipe: str | Recipe, **choices: Any) -> Recipe:
    """Returns a recipe by name, or the one given, with some choices made differently.

    Args:
        recipe: `"published"`, `"default"` or a `Recipe`.
        **choices: Fields of `Recipe` and their values.

    Raises:
        ValueError: If there is no recipe of that name, or no such choice.

    Example:
        >>> get_recipe("default", loss="hinge").loss
        'hinge'
    """
    if not isinstance(recipe, Recipe):
        if recipe not in RECIPES:
            raise ValueError(
                f"Unknown recipe; expected one of {', '.join(RECIPES)} or a Recipe. "
                f"Received: recipe={recipe!r}."
            )
        recipe = RECIPES[recipe]
    known = [field.name for field in dataclasses.fields(Recipe)]
    for choice in choices.keys() - known:
        raise ValueError(
            f"A recipe has no such choice; expected one of {', '.join(known)}. "
            f"Received: {choice}={choices[choice]!r}."
        )
    return dataclasses.replace(recipe, **choices)
