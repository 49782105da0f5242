"""`export_tflite` and `export_saved_model`: from a model to checked files."""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egan_keras import files, logs, thresholds
from egan_keras.exporting import comparison, conversion
from egan_keras.exporting.comparison import Evidence, Images, Labelled, finite
from egan_keras.exporting.model_card import Export, Provenance, describe, model_card
from egan_keras.exporting.tflite_graph import TFLiteGraph
from egan_keras.exporting.tflite_model import NotFiniteError, TFLiteModel, raw_scores
from egan_keras.files import put_in_place
from egan_keras.text import printable
from egan_keras.thresholds import Calibration

if TYPE_CHECKING:
    from egan_keras.model import EGAN

# Where TensorFlow keeps files that belong to a SavedModel and are not its own.
_EXTRA = "assets.extra"
_NO_NUMBERS = "scores that are no numbers"
_STALE = (
    "No guarantee: the threshold was set on scores before quantisation. Export with "
    "held-out majority images to set it on the quantised scores."
)
# One image at a time, a SavedModel takes ten times as long as a .tflite file.
_FEW = 200


def export_tflite(
    model: "EGAN",
    path: str | os.PathLike,
    *,
    quantize: str = "none",
    representative: Images | Labelled | None = None,
    validation_data: Labelled | None = None,
    test_data: Labelled | None = None,
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
    beside, card = target.with_suffix(".json"), target.with_suffix(".md")
    golden = target.with_name(f"{target.stem}_golden")
    _check_options(target, quantize, representative)
    _check_places((target, beside, card), golden)
    conversion.check_exportable(model, input_dtype, batch_size)
    provenance, say = provenance or Provenance(), _telling(verbose)
    takes = {"input_dtype": input_dtype, "batch_size": batch_size}
    # The SavedModel that is converted, and the file.
    n_bytes = conversion.saved_model_bytes(model) + conversion.weights_bytes(model)
    with workplace(target, n_bytes) as folder:
        say("Scoring the images with the model")
        images = comparison.gather(model, representative, validation_data, test_data)
        say("Writing the SavedModel")
        saved = folder / "saved_model"
        conversion.write_saved_model(model, saved, threshold=model.threshold, **takes)
        conversions = _Conversions(model, images, provenance, takes, saved, say)
        try:
            content, calibration = conversions.file(quantize)
            say("Scoring the images with the .tflite file")
            scored = TFLiteModel(content)
            name = f"TFLite {scored.metadata['quantize']}"
            checks, results = images.compare(name, scored.predict, scored.threshold)
        except NotFiniteError as error:
            raise ValueError(conversions.refusal(quantize, [_NO_NUMBERS])) from error
        shortfalls = checks[f"{name}, held out"].shortfalls(quantize)
        if shortfalls and not force:
            raise ValueError(conversions.refusal(quantize, shortfalls))
        few = images.held_out.evenly(_FEW)
        scores = finite(conversion.saved_model_scorer(saved, **takes)(few.images))
        parity = images.parity(few, scores, images.threshold)
        export = Export(
            path=target,
            files=(target, beside, card, golden),
            form=quantize,
            n_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            calibration=calibration,
            checks={"SavedModel, held out": parity, **checks},
            results=results,
            shortfalls=tuple(shortfalls),
        )
        say("Choosing golden samples")
        plain = TFLiteModel(content, plain_kernels=True)
        samples = comparison.write_golden(scored, plain, images, folder / golden.name)
        (folder / target.name).write_bytes(content)
        more = {
            "file": {
                "name": target.name,
                "sha256": export.sha256,
                "bytes": len(content),
            },
            "golden": samples,
        }
        places = folder / beside.name, folder / card.name
        _write_told(*places, scored.metadata, provenance, export, more)
        files.sync(folder)
        # The JSON first, the model last: whatever stops this, an earlier model is not
        # the one whose SHA-256 stands in the JSON.
        for file in (beside, golden, card, target):
            put_in_place(folder / file.name, file)
    return export


def export_saved_model(
    model: "EGAN",
    path: str | os.PathLike,
    *,
    validation_data: Labelled | None = None,
    test_data: Labelled | None = None,
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
    conversion.check_exportable(model, input_dtype, batch_size)
    provenance, say = provenance or Provenance(), _telling(verbose)
    target, form, calibration = Path(path), "savedmodel", model.calibration
    takes = {"input_dtype": input_dtype, "batch_size": batch_size}
    with workplace(target, conversion.saved_model_bytes(model)) as folder:
        say("Scoring the images with the model")
        images = comparison.gather(model, None, validation_data, test_data)
        say("Writing the SavedModel")
        made = folder / "saved_model"
        conversion.write_saved_model(model, made, threshold=model.threshold, **takes)
        say("Scoring the images with the SavedModel")
        predict = conversion.saved_model_scorer(made, **takes)
        checks, results = images.compare("SavedModel", predict, model.threshold)
        shortfalls = checks["SavedModel, held out"].shortfalls(form)
        if shortfalls and not force:
            raise ValueError(
                "The SavedModel does not score as the model does; expected the same "
                f"within rounding. Received: {'; '.join(shortfalls)}. Nothing was "
                "written; force=True (--force) writes it all the same."
            )
        export = Export(
            path=target,
            files=(target,),
            form=form,
            n_bytes=files.size_of(made),
            calibration=calibration,
            checks=checks,
            results=results,
            shortfalls=tuple(shortfalls),
        )
        told = describe(model, provenance, form, calibration, **takes)
        extra = made / _EXTRA
        extra.mkdir()
        places = extra / "egan.json", extra / "egan.md"
        _write_told(*places, told, provenance, export)
        files.sync(made)
        put_in_place(made, target)
    return export


@dataclasses.dataclass
class _Conversions:
    """The .tflite files that a model can become."""

    model: "EGAN"
    images: Evidence
    provenance: Provenance
    takes: dict[str, Any]
    saved_model: Path
    say: Callable[[str], None]

    def file(self, form: str) -> tuple[bytes, Calibration | None]:
        """Returns a .tflite file with its metadata, and how its threshold was set."""
        tries = " (a few times over)" if form == "int8" else ""
        self.say(f"Converting it to TFLite, {form}{tries}")
        known = self.images.representative
        content = conversion.convert(
            self.saved_model,
            form,
            representative=known and known.images,
            labels=known and known.labels_or_calls(self.images.threshold),
        )
        graph = TFLiteGraph(content)
        calibration = self.model.calibration
        if form != "none" and calibration is not None:
            calibration = self._set_again(calibration, content)
            # float16 has rounded the threshold, too.
            graph.threshold = calibration.threshold
        told = describe(self.model, self.provenance, form, calibration, **self.takes)
        if form == "int8":
            told["integer_share"] = round(graph.integer_share, 3)
        graph.embed(told)
        return graph.to_bytes(), calibration

    def _set_again(self, calibration: Calibration, content: bytes) -> Calibration:
        """Sets the threshold on quantised scores, where there are held-out images."""
        held_out = self.images.validation
        if held_out is None:
            return dataclasses.replace(calibration, confidence=None, guarantee=_STALE)
        scores = finite(raw_scores(content, held_out.images, threads=os.cpu_count()))
        return thresholds.calibrate(scores, held_out.labels, **calibration.wish)

    def refusal(self, form: str, shortfalls: list[str]) -> str:
        """Says why an export is refused, and which form to take instead."""
        others = ("dynamic", "float16", "none")[0 if form == "int8" else 1 :]
        others = (other for other in others if other != form)
        works = next((other for other in others if self._is_sound(other)), None)
        instead = (
            f"quantize={works!r} scores as the model does"
            if works
            else "no other form does better"
        )
        forced = "; force=True (--force) writes it all the same"
        if _NO_NUMBERS in shortfalls:
            forced = ""
        return (
            f"As {form!r} the network does not score as the model does; expected "
            f"scores within tolerance. Received: {'; '.join(shortfalls)}. Nothing was "
            f"written: {instead}{forced}."
        )

    def _is_sound(self, form: str) -> bool:
        held_out = self.images.held_out
        try:
            scored = TFLiteModel(self.file(form)[0])
            scores = scored.predict(held_out.images)[:, 0]
        except NotFiniteError:
            return False
        parity = self.images.parity(held_out, scores, scored.threshold)
        return not parity.shortfalls(form)


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


def _check_places(places: tuple[Path, ...], golden: Path) -> None:
    """Refuses folders where files go, and the reverse, before any work."""
    for place in places:
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


def _write_told(
    beside: Path,
    card: Path,
    told: dict[str, Any],
    provenance: Provenance,
    export: Export,
    more: dict[str, Any] | None = None,
) -> None:
    """Writes what a program and a person must know."""
    checks = {name: dataclasses.asdict(each) for name, each in export.checks.items()}
    results = {"checks": checks, "results": export.results}
    text = json.dumps({**told, **(more or {}), **results}, indent=2, allow_nan=False)
    beside.write_text(text + "\n", "utf-8")
    card.write_text(model_card(told, provenance, export), "utf-8")


@contextlib.contextmanager
def workplace(target: Path, n_bytes: float) -> Iterator[Path]:
    """Gives a temporary folder beside a target, where there is so much space.

    What a killed export left there is removed.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(
            "A file stands where the folder to write to would be; expected a folder "
            f"or nothing. Received: path={str(target)!r}. Name another one."
        ) from error
    with files.leftovers(target) as left:
        for folder in left:
            shutil.rmtree(folder, ignore_errors=True)
            print(f"Removed what a killed export had left: {printable(folder)}")
    files.check_space(target, n_bytes, "an export")
    with files.telling_full_disk(target), files.workplace(target) as folder:
        yield folder


def _telling(verbose: int | str) -> Callable[[str], None]:
    """Returns what names a step as it begins, or says nothing."""
    return logs.tell if verbose else (lambda step: None)
