"""The package's version, those of what results depend on, and how names go away."""

import contextlib
import warnings

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


def warn_deprecated(
    what: str, *, since: str, removed_in: str, instead: str, stacklevel: int = 3
) -> None:
    """Warns of something that works still, but not from a later version on.

    The warning is a FutureWarning, which Python shows to people who run a program, too.
    It is told of the line that called what calls this.

    >>> warn_deprecated(
    ...     "EGAN.judge", since="0.3.0", removed_in="0.5.0", instead="EGAN.predict"
    ... )  # doctest: +SKIP
    FutureWarning: EGAN.judge is deprecated since egan_keras 0.3.0 and goes away in ...
    """
    warnings.warn(
        f"{what} is deprecated since egan_keras {since} and goes away in {removed_in}. "
        f"Use {instead} instead.",
        FutureWarning,
        stacklevel=stacklevel,
    )
