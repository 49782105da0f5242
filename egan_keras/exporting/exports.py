"""`export_tflite`, `export_onnx`, `export_saved_model`: files that are checked."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egan_keras import files
from egan_keras.exporting import comparison, conversion, onnx_file
from egan_keras.exporting.comparison import Images, Labelled, Parity
from egan_keras.exporting.model_card import Export, Provenance, describe
from egan_keras.exporting.tflite_model import TFLiteModel
from egan_keras.exporting.work import FORCED, Work, begun
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
    written = _named(Path(path), ".tflite")
    options: dict[str, Any] = {"input_dtype": input_dtype, "batch_size": batch_size}
    options["heat_map"] = heat_map
    given = representative, validation_data, test_data
    with begun(model, written, quantize, given, provenance, options, verbose) as work:
        content, scored, parity = work.make(quantize)
        shortfalls = parity.shortfalls(quantize)
        if shortfalls and not force:
            raise ValueError(work.refusal(quantize, shortfalls))
        plain = TFLiteModel(content, plain_kernels=True)
        name = f"TFLite {scored.metadata['quantize']}"
        return _write(work, written, name, content, scored, plain, parity, quantize)


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
    written = _named(Path(path), ".onnx")
    options: dict[str, Any] = {"input_dtype": input_dtype, "batch_size": batch_size}
    options["heat_map"] = heat_map
    given = representative, validation_data, test_data
    with begun(model, written, "none", given, provenance, options, verbose) as work:
        work.say("Converting it to ONNX")
        told = describe(model, work.provenance, "none", model.calibration, **options)
        content = onnx_file.convert(work.saved_model, told)
        scored = onnx_file.ONNXScorer(content)
        work.say("Scoring the images with the .onnx file")
        held_out = work.images.held_out
        scores = scored.predict(held_out.images)
        parity = work.images.parity(held_out, scores, scored.threshold)
        if (shortfalls := parity.shortfalls("onnx")) and not force:
            raise ValueError(_refusal("ONNX file", shortfalls))
        plain = onnx_file.ONNXScorer(content, plain_kernels=True)
        return _write(work, written, "ONNX", content, scored, plain, parity, "onnx")


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
    target, form = Path(path), "savedmodel"
    interface: dict[str, Any] = {"input_dtype": input_dtype, "batch_size": batch_size}
    options = {**interface, "heat_map": heat_map}
    given = None, validation_data, test_data
    with begun(model, [target], "none", given, provenance, options, verbose) as work:
        made, images = work.saved_model, work.images
        work.say("Scoring the images with the SavedModel")
        predict = conversion.saved_model_scorer(made, **interface)
        held_out, threshold = images.held_out, images.threshold
        parity = images.parity(held_out, predict(held_out.images), threshold)
        shortfalls = parity.shortfalls(form)
        if shortfalls and not force:
            raise ValueError(_refusal("SavedModel", shortfalls))
        judged, results = images.judge("SavedModel", predict, threshold)
        export = Export(
            path=target,
            files=(target,),
            form=form,
            n_bytes=files.size_of(made),
            calibration=model.calibration,
            checks={"SavedModel, held out": parity, **judged},
            results=results,
            shortfalls=tuple(shortfalls),
        )
        told = describe(model, work.provenance, form, model.calibration, **options)
        extra = made / _EXTRA
        extra.mkdir()
        work.tell(extra / "egan.json", extra / "egan.md", told, export)
        files.sync(made)
        put_in_place(made, target)
    return export


def _named(target: Path, suffix: str) -> tuple[Path, Path, Path, Path]:
    """Returns the file, its JSON, its card and its golden samples, by their names."""
    if target.suffix.lower() != suffix:
        raise ValueError(
            f"The file to write needs the suffix {suffix}. Received: "
            f"path={str(target)!r}. Name it, for example, egan{suffix}."
        )
    golden = target.with_name(f"{target.stem}_golden")
    return target, target.with_suffix(".json"), target.with_suffix(".md"), golden


def _refusal(what: str, shortfalls: list[str]) -> str:
    return (
        f"The {what} does not score as the model does; expected the same within "
        f"rounding. Received: {'; '.join(shortfalls)}. Nothing was written{FORCED}."
    )


def _write(
    work: Work,
    written: tuple[Path, Path, Path, Path],
    name: str,
    content: bytes,
    scored: Any,
    plain: Any,
    parity: Parity,
    form: str,
) -> Export:
    """Judges a file that was made and compared, and writes it and what is beside it.

    `scored` scores with it, and `plain` the same with plain kernels.
    """
    target, beside, card, golden = written
    images = work.images
    few = images.held_out
    few = few.at(comparison.evenly(len(few.images), _FEW))
    names = "input_dtype", "batch_size"
    interface: dict[str, Any] = {name: work.options[name] for name in names}
    predict = conversion.saved_model_scorer(work.saved_model, **interface)
    as_saved = images.parity(few, predict(few.images), images.threshold)
    judged, results = images.judge(name, scored.predict, scored.threshold)
    checks = {"SavedModel, held out": as_saved, f"{name}, held out": parity}
    export = Export(
        path=target,
        files=written,
        form=form,
        n_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        calibration=scored.calibration,
        checks={**checks, **judged},
        results=results,
        shortfalls=tuple(parity.shortfalls(form)),
    )
    work.say("Choosing golden samples")
    made = {file: work.folder / file.name for file in written}
    samples = comparison.write_golden(scored, plain, images, made[golden])
    about = {"name": target.name, "sha256": export.sha256, "bytes": len(content)}
    told = {**scored.metadata, "file": about, "golden": samples}
    made[target].write_bytes(content)
    work.tell(made[beside], made[card], told, export)
    files.sync(work.folder)
    # The JSON first, the model last: whatever stops this, an earlier model is not
    # the one whose SHA-256 stands in the JSON.
    for file in (beside, golden, card, target):
        put_in_place(made[file], file)
    return export
