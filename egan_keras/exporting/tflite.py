"""`export_tflite`: for phones and edge devices, in four forms."""

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from egan_keras.exporting import conversion, evidence, graph, metadata
from egan_keras.exporting.evidence import Evidence
from egan_keras.exporting.golden import choose_golden
from egan_keras.exporting.model_card import model_card
from egan_keras.exporting.model_conversions import NO_NUMBERS, ModelConversions
from egan_keras.exporting.parity import NotFiniteError
from egan_keras.exporting.placing import telling, workplace
from egan_keras.exporting.provenance import Provenance
from egan_keras.exporting.result import Export, to_json
from egan_keras.exporting.saved_model import named_checks
from egan_keras.files import put_in_place, sync

if TYPE_CHECKING:
    from egan_keras.model import EGAN

_NAMES = {
    "none": "TFLite float32",
    "float16": "TFLite float16",
    "dynamic": "TFLite dynamic",
    "int8": "TFLite int8",
}


def export_tflite(
    model: "EGAN",
    path: str | os.PathLike,
    *,
    quantize: str = "none",
    representative: evidence.Images | evidence.Labelled | None = None,
    validation_data: evidence.Labelled | None = None,
    test_data: evidence.Labelled | None = None,
    provenance: Provenance | None = None,
    input_dtype: str = "uint8",
    batch_size: int | None = 1,
    force: bool = False,
    verbose: int | str = 1,
) -> Export:
    """Writes the discriminator and its threshold as a .tflite file.

    Beside `egan.tflite` stand `egan.json` (also inside the file: size, classes,
    threshold and its guarantee), `egan.md`, the model card, and `egan_golden/`, images
    to check an integration by. Earlier ones are replaced. Inputs and outputs are those
    of `export_saved_model`.

    Args:
        model: An `EGAN`.
        path: File to write; its name ends in .tflite. Folders above it are made.
        quantize: `"none"`, `"float16"`, `"dynamic"` (weights of 8 bits) or `"int8"`
            (activations of 8 bits, too).
        representative: Training images of both classes, uint8 or float (n, h, w, 3),
            0..255, or `(images, labels)`, of which some set the ranges of int8.
            Without labels, those that the model calls minority are taken for it.
        validation_data: Held-out images and labels (n,). The threshold of quantised
            forms is set on them again, as the model's was.
        test_data: Test images and labels, to report on only: what the file does on
            them, at its own threshold, stands in its model card and JSON.
        provenance: What metadata and model card tell of the model's origin.
        input_dtype: Type of the pixels: `"uint8"` or `"float32"`.
        batch_size: 1 for a fixed batch, `None` for a free one.
        force: Whether to write it even if scores differ beyond tolerance.
        verbose: 0 is silent; else each step is named as it begins.

    Returns:
        The threshold, how its scores compare with the model's, and its own metrics.

    Raises:
        ValueError: If scores differ beyond tolerance, the architecture cannot be
            converted, or an argument is unusable.
        OSError: If `path` cannot be written, such as for want of space.
    """
    target = Path(path)
    _check_options(target, quantize, representative)
    _check_places(target)
    graph.check_exportable(model, input_dtype, batch_size)
    provenance = provenance or Provenance()
    say = telling(verbose)
    # The SavedModel that is converted, and the file.
    n_bytes = graph.saved_model_bytes(model) + graph.weights_bytes(model)
    with workplace(target, n_bytes) as folder:
        say("Scoring the images with the model")
        images = evidence.gather(model, representative, validation_data, test_data)
        conversions = ModelConversions(
            model, images, provenance, input_dtype, batch_size, folder, say
        )
        try:
            content, calibration = conversions.file(quantize)
            compared = conversions.compare(content)
        except NotFiniteError as error:
            raise ValueError(conversions.refusal(quantize, [NO_NUMBERS])) from error
        shortfalls = compared.held_out.shortfalls(quantize)
        if shortfalls and not force:
            raise ValueError(conversions.refusal(quantize, shortfalls))
        checks = {
            "SavedModel, held out": conversions.saved_model_parity(),
            **named_checks(_NAMES[quantize], compared),
        }
        export = Export(
            path=target,
            files=_files(target),
            form=quantize,
            n_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            calibration=calibration,
            checks=checks,
            results=compared.results,
            shortfalls=tuple(shortfalls),
        )
        say("Choosing golden samples")
        _write(folder, content, images, provenance, export)
    return export


def _files(target: Path) -> tuple[Path, ...]:
    """Returns a .tflite file and what stands beside it."""
    golden = target.with_name(f"{target.stem}_golden")
    return target, target.with_suffix(".json"), target.with_suffix(".md"), golden


def _check_options(target: Path, quantize: str, representative: object) -> None:
    if target.suffix.lower() != ".tflite":
        raise ValueError(
            "The file to write needs the suffix .tflite. Received: "
            f"path={str(target)!r}. Name it, for example, egan.tflite."
        )
    if quantize not in conversion.FORMS:
        raise ValueError(
            f"Unknown form; expected one of {', '.join(conversion.FORMS)}. Received: "
            f"quantize={quantize!r}."
        )
    if quantize == "int8" and representative is None:
        raise ValueError(
            "The ranges of int8 are set on training images of both classes; expected "
            "representative images. Received: representative=None. Pass "
            "representative=(train.images, train.labels)."
        )


def _check_places(target: Path) -> None:
    """Refuses folders where files go, and the reverse, before any work."""
    *files, golden = _files(target)
    for place in files:
        if place.is_dir():
            raise ValueError(
                "A file to write is a folder; expected a file or nothing. Received: "
                f"{str(place)!r}. Name another file."
            )
    if golden.exists() and not golden.is_dir():
        raise ValueError(
            "The folder to write golden samples to is a file; expected a folder or "
            f"nothing. Received: {str(golden)!r}. Name another file."
        )


def _write(
    folder: Path,
    content: bytes,
    images: Evidence,
    provenance: Provenance,
    export: Export,
) -> None:
    """Writes all files, and puts them in their places, the model last."""
    target, told_to_programs, card, golden = export.files
    described = metadata.read_metadata(content)
    told = {
        **described,
        "file": {
            "name": target.name,
            "sha256": export.sha256,
            "bytes": len(content),
        },
        "golden": choose_golden(content, images).write(folder / golden.name),
        "checks": to_json(export.checks),
        "results": export.results,
    }
    made = {target: folder / "model", golden: folder / golden.name}
    made[target].write_bytes(content)
    for file, text in {
        told_to_programs: json.dumps(told, indent=2, allow_nan=False) + "\n",
        card: model_card(described, provenance, export),
    }.items():
        made[file] = folder / file.name
        made[file].write_text(text, "utf-8")
    sync(folder)
    # The JSON first, the model last: whatever stops this, an earlier model is not the
    # one whose SHA-256 stands in the JSON.
    for file in (told_to_programs, golden, card, target):
        put_in_place(made[file], file)
