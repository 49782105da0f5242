"""The versions of the package, and of what results depend on."""

import contextlib

__version__ = "0.2.0"

_PACKAGES = (
    "keras tensorflow ai-edge-litert litert-quantizer numpy scikit-learn scipy pillow "
    "imbalanced-learn"
).split()


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that results depend on."""
    # Slow to import.
    import platform
    from importlib import metadata

    found = {"python": platform.python_version(), "egan-keras": __version__}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
