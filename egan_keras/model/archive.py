"""Loading models from files, and what is refused of these."""

import zipfile
from pathlib import Path, PurePosixPath

import keras

from egan_keras.model.egan import EGAN

_MOST_MEMBERS = 1000
# Of what is read whole; the largest backbone's configuration takes 2 MB.
_MOST_JSON_BYTES = 64 * 1024**2
# Keras does not compress weights; whoever does cannot make them so much smaller.
_MOST_TIMES_SMALLER = 100


def load(path: Path) -> EGAN:
    """Loads the model of a .keras file; a ValueError says what is wrong with it."""
    _check_archive(path)
    try:
        model = keras.saving.load_model(path)
    # Keras answers damaged files with many types of exception.
    except Exception as error:
        # Keras tells the cause last, after the whole configuration.
        reason = str(error).rpartition("Exception encountered: ")[2][:300]
        raise ValueError(
            "The model cannot be loaded; expected a model saved by this package. "
            f"Received: {str(path)!r} ({type(error).__name__}: {reason}). Train again, "
            "or name another run."
        ) from error
    if not isinstance(model, EGAN):
        raise ValueError(
            "The file holds another kind of model; expected an EGAN. Received: "
            f"{str(path)!r}, a {type(model).__name__}. Name the folder of a run."
        )
    return model


def _check_archive(path: Path) -> None:
    """Refuses a .keras file that unpacks to what no model is, with a ValueError.

    It is no whole zip file, or has too many, too large, or doubled members, or one that
    lies outside it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            reason = _reason(archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        reason = str(error)
    if reason:
        raise ValueError(
            "The model cannot be loaded; expected a .keras file as this package saves "
            f"it. Received: {str(path)!r} ({reason}). Copy it again, or train again."
        )


def _reason(members: list[zipfile.ZipInfo]) -> str | None:
    """Says what is wrong with the members of an archive, if anything."""
    names = [member.filename for member in members]
    if len(names) > _MOST_MEMBERS:
        return f"it has {len(names)} members, more than {_MOST_MEMBERS}"
    if len({*names}) < len(names):
        return "it has a member twice"
    for name, member in zip(names, members, strict=True):
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if ".." in parts or parts[:1] == ("/",) or ":" in "".join(parts[:1]):
            return f"its member {name!r} lies outside it"
        size, packed = member.file_size, member.compress_size
        if name.endswith(".json") and size > _MOST_JSON_BYTES:
            return f"{name!r} unpacks to {size:,} bytes, more than {_MOST_JSON_BYTES:,}"
        if size > _MOST_TIMES_SMALLER * max(packed, 1024):
            return f"{name!r} unpacks from {packed:,} to {size:,} bytes"
    return None
