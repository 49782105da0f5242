"""What a search chooses among: pairings of backbones, and choices of a recipe."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras_tuner

from egan_keras import losses, networks
from egan_keras.backbones import Backbone

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
        image_shape: tuple[int, ...],
        encoders: Sequence[str],
        discriminators: Sequence[str],
        recipe: str | networks.Recipe,
        choices: dict[str, Any],
    ) -> None:
        self.encoders = _backbones(encoders, "encoders")
        self.discriminators = _backbones(discriminators, "discriminators")
        own = networks.get_recipe(recipe)
        kept = {name: v for name, v in choices.items() if not _is_list(v)}
        kept = networks.get_recipe(own, **kept)
        backbone = Backbone.parse(self.discriminators[0])
        own_size = networks.network_size(backbone, tuple(image_shape))
        # Where nothing is said: the cut, and the recipe's size with a smaller one.
        sizes = [kept.network_size]
        smaller = int(_SMALLER * (sizes[0] or own_size)) // _MULTIPLE * _MULTIPLE
        if smaller >= backbone.minimum_size:
            sizes.append(smaller)
        defaults: dict[str, list[Any]] = {"network_size": sizes, "depths": [1, 2, 3]}
        if trained := kept.trained_layers:
            defaults = {"network_size": sizes, "trained_layers": [trained, 2 * trained]}
        # Several values of a choice, and one.
        self.searched: dict[str, list[Any]] = {}
        fixed: dict[str, Any] = {}
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


def _check_values(recipe: networks.Recipe, name: str, values: list[Any]) -> None:
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
