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
from egan_keras.exporting.evidence import Comparison
from egan_keras.exporting.model_card import model_card
from egan_keras.exporting.placing import telling, workplace
from egan_keras.exporting.provenance import Provenance
from egan_keras.exporting.result import Export, to_json
from egan_keras.files import put_in_place, sync

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
    verbose: int | str = 1,
) -> Export:
    """Writes the discriminator and its threshold as a SavedModel.

    `tf.saved_model.load(path).serve(images)` and the signature `serving_default` give
    `score` and `is_minority`, both float32 (n, 1). Resizing and preprocessing are
    inside. `assets.extra/` holds `egan.json` and the model card, `egan.md`.

    Args:
        model: An `EGAN`.
        path: Folder to write; one that is there is replaced, and folders above it are
            made.
        validation_data: Held-out images, uint8 or float (n, h, w, 3), 0..255, and
            labels (n,), on which the scores must equal the model's.
        test_data: Test images and labels, to report on only: what the SavedModel does
            on them stands in its model card and JSON.
        provenance: What metadata and model card tell of the model's origin.
        input_dtype: Type of the pixels: `"uint8"` or `"float32"`.
        batch_size: 1 for a fixed batch, `None` for a free one.
        force: Whether to write it even if scores differ.
        verbose: 0 is silent; else each step is named as it begins.

    Returns:
        How its scores compare with the model's, and its own metrics.

    Raises:
        ValueError: If scores differ beyond tolerance, or an argument is unusable.
        OSError: If `path` cannot be written, such as for want of space.
    """
    graph.check_exportable(model, input_dtype, batch_size)
    provenance = provenance or Provenance()
    target, say = Path(path), telling(verbose)
    with workplace(target, graph.saved_model_bytes(model)) as folder:
        say("Scoring the images with the model")
        images = evidence.gather(model, None, validation_data, test_data)
        say("Writing the SavedModel")
        made = folder / "saved_model"
        graph.write_saved_model(
            model,
            made,
            threshold=model.threshold,
            input_dtype=input_dtype,
            batch_size=batch_size,
        )
        say("Scoring the images with the SavedModel")
        compared = images.compare(
            scorer(made, input_dtype, batch_size), model.threshold
        )
        export = Export(
            path=target,
            files=(target,),
            form=_FORM,
            n_bytes=_bytes_below(made),
            calibration=model.calibration,
            checks=named_checks("SavedModel", compared),
            results=compared.results,
            shortfalls=tuple(compared.held_out.shortfalls(_FORM)),
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
        sync(made)
        put_in_place(made, target)
    return export


def _write_extra(
    folder: Path, described: dict, provenance: Provenance, export: Export
) -> None:
    """Writes what a program and a person must know beside the SavedModel's own."""
    folder.mkdir()
    told = {**described, "checks": to_json(export.checks), "results": export.results}
    text = json.dumps(told, indent=2, allow_nan=False)
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


def named_checks(form: str, compared: Comparison) -> dict:
    """Returns the comparisons by the names that a table gives them."""
    named = {f"{form}, held out": compared.held_out}
    return named | ({f"{form}, test": compared.test} if compared.test else {})
