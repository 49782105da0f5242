"""The versions that a result depends on."""

import platform
from importlib import metadata

_PACKAGES = (
    "egan-keras",
    "keras",
    "tensorflow",
    "numpy",
    "scikit-learn",
    "scipy",
    "pillow",
    "imbalanced-learn",
)


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
