"""`export_saved_model`: for servers, and for what reads TensorFlow's own format."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from egan_keras.data.lazy import in_batches
from egan_keras.exporting import evidence, graph, metadata
from egan_keras.exporting.model_card import model_card
from egan_keras.exporting.placing import workplace
from egan_keras.exporting.provenance import Provenance
from egan_keras.exporting.result import Export, to_json
from egan_keras.files import put_in_place

if TYPE_CHECKING:
    from egan_keras.model import EGAN

_FORM = "savedmodel"
# Where TensorFlow keeps files that belong to a SavedModel and are not its own.
EXTRA = "assets.extra"
_BATCH_SIZE = 64


def export_saved_model(
    model: "EGAN",
    path: str | os.PathLike,
    *,
    validation_data: evidence.Labelled | None = None,
    test_data: evidence.Labelled | None = None,
    provenance: Provenance | None = None,
    input_dtype: str = "uint8",
    batch_size: int | None = None,
    force: bool = False,
) -> Export:
    """Writes the discriminator and its threshold as a SavedModel.

    `tf.saved_model.load(path).serve(images)` and the signature `serving_default` give
    `score` and `is_minority`, both float32 (n, 1). Resizing and preprocessing are
    inside. `assets.extra/` holds `egan.json` and the model card, `egan.md`.

    Args:
        model: An `EGAN`.
        path: Folder to write; one that is there is replaced.
        validation_data: Held-out images, uint8 or float (n, h, w, 3), 0..255, and
            labels (n,), on which the scores must equal the model's.
        test_data: Test images and labels, to report on only.
        provenance: What metadata and model card tell of the model's origin.
        input_dtype: Type of the pixels: `"uint8"` or `"float32"`.
        batch_size: 1 for a fixed batch, `None` for a free one.
        force: Whether to write it even if scores differ.

    Returns:
        How its scores compare with the model's.

    Raises:
        ValueError: If scores differ beyond tolerance, or an argument is unusable.
        FileNotFoundError: If the folder of `path` does not exist.
    """
    graph.check_exportable(model, input_dtype, batch_size)
    provenance = provenance or Provenance()
    target = Path(path)
    with workplace(target) as folder:
        images = evidence.gather(model, None, validation_data, test_data)
        made = folder / "saved_model"
        graph.write_saved_model(
            model,
            made,
            threshold=model.threshold,
            input_dtype=input_dtype,
            batch_size=batch_size,
        )
        parities = images.compare(
            scorer(made, input_dtype, batch_size), model.threshold
        )
        checks = named_checks("SavedModel", parities)
        export = Export(
            path=target,
            files=(target,),
            form=_FORM,
            n_bytes=sum(
                each.stat().st_size for each in made.rglob("*") if each.is_file()
            ),
            calibration=model.calibration,
            checks=checks,
            shortfalls=tuple(parities[0].shortfalls(_FORM)),
        )
        if export.shortfalls and not force:
            raise ValueError(
                "The SavedModel does not score as the model does; expected the same "
                f"within rounding. Received: {'; '.join(export.shortfalls)}. Nothing "
                "was written; force=True (--force) writes it all the same."
            )
        described = metadata.describe(
            model,
            provenance,
            form=_FORM,
            input_dtype=input_dtype,
            batch_size=batch_size,
            calibration=model.calibration,
        )
        _write_extra(made / EXTRA, described, provenance, export)
        put_in_place(made, target)
    return export


def _write_extra(
    folder: Path, described: dict, provenance: Provenance, export: Export
) -> None:
    """Writes what a program and a person must know beside the SavedModel's own."""
    folder.mkdir()
    text = json.dumps({**described, "checks": to_json(export.checks)}, indent=2)
    (folder / "egan.json").write_text(text + "\n", "utf-8")
    (folder / "egan.md").write_text(model_card(described, provenance, export), "utf-8")


def scorer(
    folder: Path, input_dtype: str, batch_size: int | None
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what gives the scores (n, 1) of images by a SavedModel."""
    # Its functions do not keep it alive, nor its variables.
    loaded = tf.saved_model.load(os.fspath(folder))

    def predict(images: np.ndarray) -> np.ndarray:
        parts = in_batches(images, batch_size or _BATCH_SIZE)
        scored = (loaded.serve(tf.constant(part.astype(input_dtype))) for part in parts)
        return np.concatenate([outputs["score"].numpy() for outputs in scored])

    return predict


def _bytes_below(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


def named_checks(form: str, parities: tuple) -> dict:
    """Returns the comparisons by the names that a table gives them."""
    held_out, test = parities
    named = {f"{form}, held out": held_out}
    return named if test is None else {**named, f"{form}, test": test}
