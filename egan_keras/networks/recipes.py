"""Recipes: named, complete sets of choices."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A named, complete set of choices: how networks are built and trained.

    What is left out is as in the recipe `default`.

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
    generates: str = "features"
    network_size: int | None = None
    own_preprocessing: bool = True
    trained_layers: int = 0
    depths: int = 2
    place_depths: int = 2
    unit_length: bool = True
    standardize: bool = True
    latent_size: int = 128
    decoder_channels: int = 32
    latent_noise: float = 1.0
    dropout: float = 0.0
    loss: str = "non_saturating"
    adversarial: float = 1.0
    reconstruction: float = 1.0
    distance_weight: float = 1.5
    real_minority: float = 500.0
    discriminator_learning_rate: float = 3e-4
    generator_learning_rate: float = 1e-3
    batch_size: int = 128
    mirrored_minority: bool = True
    minority_batch_size: int | None = 32
    epochs: int = 20
    minimum_steps: int = 40

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


RECIPES = {
    # Okerinde et al., arXiv 2104.04162, and its authors' notebooks.
    "published": Recipe(
        "published",
        generates="images",
        network_size=32,
        own_preprocessing=False,
        trained_layers=5,
        depths=1,
        place_depths=0,
        unit_length=False,
        standardize=False,
        latent_noise=0.0,
        dropout=0.2,
        reconstruction=0.0,
        distance_weight=0.0,
        real_minority=0.0,
        discriminator_learning_rate=1e-4,
        generator_learning_rate=1e-4,
        mirrored_minority=False,
        minority_batch_size=None,
        epochs=100,
        minimum_steps=1,
    ),
    "default": Recipe("default"),
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
