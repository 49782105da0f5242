"""What a search chooses among: pairings, and choices of the recipe."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras_tuner

from egan_keras import losses, networks
from egan_keras.backbones import Backbone

# Of the recipe's own size, to see whether smaller images, which cost less, suffice.
_SMALLER = 3 / 4
_MULTIPLE = 32

_ENCODER, _DISCRIMINATOR = "encoder", "discriminator"


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One point of a space: all that is needed to build a model.

    Attributes:
        encoder: As `Backbone.parse` reads it.
        discriminator: As `Backbone.parse` reads it.
        recipe: All other choices.
    """

    encoder: str
    discriminator: str
    recipe: networks.Recipe


class Space:
    """Pairings and choices of the recipe, each with the values to choose among.

    Args:
        image_shape: (height, width, 3) of the images.
        encoders: Backbones to choose the encoder among.
        discriminators: Backbones to choose the discriminator among.
        recipe: Name of a recipe, or a `Recipe`, which decides all else.
        choices: For fields of the recipe, one value or a list of values to choose
            among. `default_choices` are searched where it does not say otherwise.

    Raises:
        ValueError: If a backbone, the recipe or a choice is unknown, or a list is
            empty.
    """

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
        kept = networks.get_recipe(own, **_fixed(choices))
        defaults = default_choices(kept, image_shape, self.discriminators)
        choices = {**defaults, **choices}
        own_size = networks.network_size(
            Backbone.parse(self.discriminators[0]), tuple(image_shape)
        )
        self.searched, fixed = {}, {}
        for name, value in choices.items():
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
        size = len(self.encoders) * len(self.discriminators)
        for values in self.searched.values():
            size *= len(values)
        return size

    def choose(self, hp: keras_tuner.HyperParameters) -> Configuration:
        """Declares what there is to choose, and returns what is chosen."""
        encoder = hp.Choice(_ENCODER, self.encoders)
        discriminator = hp.Choice(_DISCRIMINATOR, self.discriminators)
        chosen = {}
        for name, values in self.searched.items():
            told = _as_told(values)
            chosen[name] = values[told.index(hp.Choice(name, told))]
        recipe = networks.get_recipe(self.recipe, **chosen)
        return Configuration(encoder, discriminator, recipe)

    def describe(self) -> dict[str, Any]:
        """Returns the space as values that JSON can hold."""
        return {
            "encoders": self.encoders,
            "discriminators": self.discriminators,
            "recipe": dataclasses.asdict(self.recipe),
            "searched": self.searched,
        }


def default_choices(
    recipe: networks.Recipe,
    image_shape: Sequence[int],
    discriminators: Sequence[str],
) -> dict[str, list]:
    """Returns what is searched where nothing else is said: the cut and the size.

    A recipe that freezes whole backbones is searched for 1 to 3 depths of features,
    another one for the number of layers trained; both for the recipe's own size of
    images in the network and three quarters of it.
    """
    sizes = [recipe.network_size]
    backbone = Backbone.parse(discriminators[0])
    own = recipe.network_size or networks.network_size(backbone, tuple(image_shape))
    smaller = int(_SMALLER * own) // _MULTIPLE * _MULTIPLE
    if smaller >= backbone.minimum_size:
        sizes.append(smaller)
    if recipe.trained_layers:
        trained = recipe.trained_layers
        return {"network_size": sizes, "trained_layers": [trained, 2 * trained]}
    return {"network_size": sizes, "depths": [1, 2, 3]}


def _backbones(specs: Sequence[str], name: str) -> list[str]:
    """Returns backbones as written, each once.

    Raises:
        ValueError: If one is unknown, or there is none.
    """
    if isinstance(specs, str) or not specs:
        raise ValueError(
            "A search needs backbones to choose among; expected a list of them. "
            f"Received: {name}={specs!r}. For example {name}=['MobileNetV2']."
        )
    return list(dict.fromkeys(str(Backbone.parse(spec)) for spec in specs))


def _fixed(choices: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in choices.items() if not _is_list(value)}


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _check_values(recipe: networks.Recipe, name: str, values: list) -> None:
    """Refuses names and values that a recipe cannot have.

    Raises:
        ValueError: If there is such a one.
    """
    if not values:
        raise ValueError(
            "A choice needs values to choose among; expected a value or a list of "
            f"values. Received: {name}=[]. Leave it out to keep the recipe's."
        )
    for value in values:
        networks.get_recipe(recipe, **{name: value})
        if name == "loss":
            losses.get(value)


def _as_told(values: list) -> list:
    """Returns values as KerasTuner takes them: of one type, none of them None."""
    if all(type(value) is type(values[0]) for value in values):
        if isinstance(values[0], bool | int | float | str):
            return values
    return [str(value) for value in values]
