"""`export_tflite`, `export_onnx`, `export_saved_model`: files that are checked."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egan_keras import files
from egan_keras.exporting import comparison, onnx_file
from egan_keras.exporting.comparison import Images, Labelled
from egan_keras.exporting.model_card import Export, Provenance
from egan_keras.exporting.tflite_model import Scorer
from egan_keras.exporting.work import Work, begun
from egan_keras.files import put_in_place

if TYPE_CHECKING:
    from egan_keras.model import EGAN

# Where TensorFlow keeps files that belong to a SavedModel and are not its own.
_EXTRA = "assets.extra"
# One image at a time, a SavedModel takes ten times as long as a .tflite file.
_FEW = 200


def export_tflite(
    model: "EGAN",
    path: str | os.PathLike[str],
    *,
    quantize: str = "none",
    representative: Images | Labelled | None = None,
    validation_data: Labelled | None = None,
    test_data: Labelled | None = None,
    provenance: Provenance | None = None,
    input_dtype: str = "uint8",
    batch_size: int | None = 1,
    heat_map: bool = False,
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
        validation_data: Held-out images and labels (n,), to compare scores on. The
            threshold of quantised forms is set on them again, as the model's was.
        test_data: Test images and labels, to report on only: what the file does on
            them, at its own threshold, stands in its model card and JSON.
        provenance: What metadata and model card tell of the model's origin.
        input_dtype: Type of the pixels: `"uint8"` or `"float32"`.
        batch_size: 1 for a fixed batch, `None` for a free one.
        heat_map: Whether `heat_map`, float32 (n, height, width), is a third output, as
            `ek.heat_maps` returns it.
        force: Whether to write it even if scores differ beyond tolerance.
        verbose: 0 is silent; else each step is named as it begins.

    Returns:
        The threshold, how its scores compare with the model's, and its own metrics.

    Raises:
        ValueError: If scores differ beyond tolerance, the architecture cannot be
            converted, or an argument is unusable.
        OSError: If `path` cannot be written, such as for want of space.
    """
    given = representative, validation_data, test_data
    interface = input_dtype, batch_size, heat_map
    options = provenance, force, verbose, quantize
    return _export(model, path, "TFLite", given, interface, *options)


def export_onnx(
    model: "EGAN",
    path: str | os.PathLike[str],
    *,
    representative: Images | Labelled | None = None,
    validation_data: Labelled | None = None,
    test_data: Labelled | None = None,
    provenance: Provenance | None = None,
    input_dtype: str = "uint8",
    batch_size: int | None = None,
    heat_map: bool = False,
    force: bool = False,
    verbose: int | str = 1,
) -> Export:
    """Writes the discriminator and its threshold as an .onnx file, in float32.

    Inputs and outputs are those of `export_saved_model`, and beside `egan.onnx` stands
    what `export_tflite` writes. Its `metadata_props` hold, as `egan_keras`, the JSON
    that is inside a .tflite file. It needs what `pip install 'egan-keras[onnx]'`
    installs.

    Arguments are those of `export_tflite`, but the batch is free unless `batch_size`
    is 1, and `representative` is only compared on, as `validation_data`.

    Returns:
        How its scores compare with the model's, and its own metrics.

    Raises:
        ImportError: If tf2onnx or onnxruntime is not installed.
        ValueError: If scores differ beyond tolerance, the architecture cannot be
            converted, or an argument is unusable.
        OSError: If `path` cannot be written, such as for want of space.
    """
    onnx_file.check_installed()
    given = representative, validation_data, test_data
    interface = input_dtype, batch_size, heat_map
    return _export(model, path, "ONNX", given, interface, provenance, force, verbose)


def export_saved_model(
    model: "EGAN",
    path: str | os.PathLike[str],
    *,
    validation_data: Labelled | None = None,
    test_data: Labelled | None = None,
    provenance: Provenance | None = None,
    input_dtype: str = "uint8",
    batch_size: int | None = None,
    heat_map: bool = False,
    force: bool = False,
    verbose: int | str = 1,
) -> Export:
    """Writes the discriminator and its threshold as a SavedModel.

    `tf.saved_model.load(path).serve(images)` and the signature `serving_default` take
    RGB pixels 0..255 (n, h, w, 3), and give `score` and `is_minority`, both float32
    (n, 1). Resizing and preprocessing are inside. `assets.extra/` holds `egan.json` and
    the model card, `egan.md`.

    Arguments are those of `export_tflite`, but `path` is the folder to write, which
    replaces one that is there, and the batch is free unless `batch_size` is 1. On
    `validation_data` the scores must equal the model's.

    Returns:
        How its scores compare with the model's, and its own metrics.

    Raises:
        ValueError: If scores differ beyond tolerance, or an argument is unusable.
        OSError: If `path` cannot be written, such as for want of space.
    """
    given = None, validation_data, test_data
    options = (input_dtype, batch_size, heat_map), provenance, force, verbose
    return _export(model, path, "SavedModel", given, *options)


def _export(
    model: "EGAN",
    path: str | os.PathLike[str],
    kind: str,
    given: tuple[Images | Labelled | None, Labelled | None, Labelled | None],
    interface: tuple[str, int | None, bool],
    provenance: Provenance | None,
    force: bool,
    verbose: int | str,
    quantize: str = "none",
) -> Export:
    """Makes an export of a kind, compares and judges it, and puts it in place."""
    target, *beside = written = _named(Path(path), kind)
    form = quantize if kind == "TFLite" else kind.lower()
    names = "input_dtype", "batch_size", "heat_map"
    options = dict(zip(names, interface, strict=True))
    with begun(model, written, quantize, given, provenance, options, verbose) as work:
        content, scored, parity = work.make(form)
        shortfalls = parity.shortfalls(form)
        if shortfalls and not force:
            raise ValueError(work.refusal(form, shortfalls))
        name = f"TFLite {scored.metadata['quantize']}" if kind == "TFLite" else kind
        checks, images = {f"{name}, held out": parity}, work.images
        if beside:
            few = images.held_out
            few = few.at(comparison.evenly(len(few.images), _FEW))
            saved = work.scorer_of_saved_model()
            as_saved = images.parity(few, saved.predict(few.images), saved.threshold)
            checks = {"SavedModel, held out": as_saved, **checks}
        judged, results = images.judge(name, scored)
        if content is None:
            n_bytes, sha256 = files.size_of(work.saved_model), None
        else:
            n_bytes, sha256 = len(content), hashlib.sha256(content).hexdigest()
        export = Export(
            path=target,
            files=written,
            form=form,
            n_bytes=n_bytes,
            sha256=sha256,
            calibration=scored.calibration,
            checks={**checks, **judged},
            results=results,
            shortfalls=tuple(shortfalls),
        )
        if content is None:
            _put_folder(work, scored, export)
        else:
            _put_file(work, content, scored, export)
    return export


def _named(target: Path, kind: str) -> tuple[Path, ...]:
    """Returns a folder; or a file, its JSON, its card and its golden samples."""
    if kind == "SavedModel":
        return (target,)
    suffix = f".{kind.lower()}"
    if target.suffix.lower() != suffix:
        raise ValueError(
            f"The file to write needs the suffix {suffix}. Received: "
            f"path={str(target)!r}. Name it, for example, egan{suffix}."
        )
    golden = target.with_name(f"{target.stem}_golden")
    return target, target.with_suffix(".json"), target.with_suffix(".md"), golden


def _put_file(work: Work, content: bytes, scored: Any, export: Export) -> None:
    """Writes a file and what is beside it."""
    target, beside, card, golden = export.files
    work.say("Choosing golden samples")
    made = {file: work.folder / file.name for file in export.files}
    plain = type(scored)(content, plain_kernels=True)
    samples = comparison.write_golden(scored, plain, work.images, made[golden])
    about = {"name": target.name, "sha256": export.sha256, "bytes": len(content)}
    told = {**scored.metadata, "file": about, "golden": samples}
    made[target].write_bytes(content)
    work.tell(made[beside], made[card], told, export)
    files.sync(work.folder)
    # The JSON first, the model last: whatever stops this, an earlier model is not
    # the one whose SHA-256 stands in the JSON.
    for file in (beside, golden, card, target):
        put_in_place(made[file], file)


def _put_folder(work: Work, scored: Scorer, export: Export) -> None:
    """Writes a SavedModel, and what is told of it into its folder."""
    made = work.saved_model
    extra = made / _EXTRA
    extra.mkdir()
    work.tell(extra / "egan.json", extra / "egan.md", scored.metadata, export)
    files.sync(made)
    put_in_place(made, export.path)
