"""What is compared: eGAN by recipe, variants of a recipe, and baselines by name."""

import dataclasses
import difflib
import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from egan_keras import baselines, networks

REFERENCE = "default"
ALL = "all"

# The choices of a recipe that decide what its frozen features are.
_FEATURE_CHOICES = ("network_size", "own_preprocessing", "depths")

# What a baseline needs beyond the package's own requirements, by a word of its name:
# a module and the package to install.
_OPTIONAL_PACKAGES = {"SMOTE": ("imblearn", "imbalanced-learn")}


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to score images.

    Attributes:
        name: how tables call it.
        recipe: the choices of an eGAN; None for a baseline.
        needs_images: whether it reads pixels instead of frozen features.
    """

    name: str
    recipe: networks.Recipe | None = None
    needs_images: bool = False

    @property
    def is_baseline(self) -> bool:
        """Whether it is something to compare eGAN with."""
        return self.recipe is None

    def definition(self) -> dict[str, Any]:
        """Returns what decides its scores, beside images and backbones, for JSON."""
        choices = dataclasses.asdict(self.recipe or networks.get_recipe(REFERENCE))
        if not self.is_baseline:
            return {"recipe": choices}
        if self.needs_images:
            return {"baseline": self.name}
        # Baselines read the features of the default recipe.
        return {
            "baseline": self.name,
            "features": {choice: choices[choice] for choice in _FEATURE_CHOICES},
        }


def egan(name: str, recipe: str = "default", **choices: Any) -> Method:
    """Returns an eGAN as a method.

    Args:
        name: how tables call it.
        recipe: a recipe's name.
        **choices: fields of the recipe to choose differently.

    Raises:
        ValueError: if the recipe or a choice is unknown.
    """
    chosen = networks.get_recipe(recipe, **choices)
    needs_images = bool(chosen.trained_layers) or chosen.generates != "features"
    return Method(name, chosen, needs_images)


def known_methods(variants: Sequence[Method] = ()) -> dict[str, Method]:
    """Returns every method by its name, in the order of the tables.

    Args:
        variants: further methods, such as recipes with choices made differently.

    Raises:
        ValueError: if a variant has the name of another method.
    """
    methods = [egan(name, name) for name in sorted(networks.RECIPES)] + list(variants)
    methods += [Method(name) for name in baselines.FEATURE_BASELINES]
    methods += [Method(name, needs_images=True) for name in baselines.IMAGE_BASELINES]
    known = {method.name: method for method in methods}
    names = [ALL, *(method.name for method in methods)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            "Two methods have one name; expected a name of its own for each variant. "
            f"Received: {', '.join(map(repr, repeated))}. Rename the variant."
        )
    return known


def choose_methods(
    names: Sequence[str] | None, known: Mapping[str, Method]
) -> tuple[Method, ...]:
    """Returns methods by name, in the order of `known`.

    Args:
        names: names of methods; `"all"` is all of them. None takes the default recipe,
            the variants that train on features and the baselines on features, without
            those whose packages are not installed.
        known: what `known_methods` returned.

    Raises:
        ValueError: if there are no names, or an unknown one.

    Warns:
        UserWarning: if a baseline is left out.
    """
    if names is None:
        chosen = [m for m in known.values() if not m.needs_images]
        missing = _missing_packages(chosen)
        for name, package in missing.items():
            warnings.warn(
                f"The method {name!r} is left out: it needs {package}, which is not "
                f"installed. Install it with: pip install {package}",
                stacklevel=2,
            )
        return tuple(method for method in chosen if method.name not in missing)
    if ALL in names:
        return tuple(known.values())
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        near = difflib.get_close_matches(unknown[0], known, n=1) if unknown else []
        raise ValueError(
            f"Unknown method; expected {ALL}, or some of {', '.join(known)}. "
            f"Received: methods={list(names)!r}."
            + (f" Did you mean {near[0]!r}?" if near else "")
        )
    return tuple(method for method in known.values() if method.name in names)


def _missing_packages(methods: Sequence[Method]) -> dict[str, str]:
    """Returns the methods that need a package that is not installed, with it."""
    return {
        method.name: package
        for method in methods
        for word, (module, package) in _OPTIONAL_PACKAGES.items()
        if word in method.name and importlib.util.find_spec(module) is None
    }
