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
from egan_keras.exporting.comparison import Evidence, Images, Labelled
from egan_keras.exporting.model_card import Export, Provenance, describe, model_card
from egan_keras.exporting.tflite_graph import TFLiteGraph
from egan_keras.exporting.tflite_model import (
    NotFiniteError,
    TFLiteModel,
    finite,
    raw_scores,
)
from egan_keras.files import put_in_place
from egan_keras.text import printable
from egan_keras.thresholds import Calibration

if TYPE_CHECKING:
    from egan_keras.model import EGAN

# Where TensorFlow keeps files that belong to a SavedModel and are not its own.
_EXTRA = "assets.extra"
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
    written = (target, beside, card, golden)
    _check(written, quantize, representative)
    conversion.check_exportable(model, input_dtype, batch_size)
    provenance = provenance or Provenance()
    say = logs.tell if verbose else lambda step: None
    takes = {"input_dtype": input_dtype, "batch_size": batch_size}
    n_bytes = conversion.bytes_needed(model, with_tflite=True)
    with workplace(target, n_bytes) as folder:
        say("Scoring the images with the model")
        images = comparison.gather(model, representative, validation_data, test_data)
        say("Writing the SavedModel")
        saved = folder / "saved_model"
        conversion.write_saved_model(model, saved, threshold=model.threshold, **takes)
        attempts = _Attempts(model, images, provenance, takes, saved, say)
        scored, content, calibration, parity, shortfalls = attempts.make(quantize)
        if shortfalls and (parity is None or not force):
            raise ValueError(attempts.refusal(quantize, shortfalls, parity is not None))
        few, threshold = images.held_out.evenly(_FEW), images.threshold
        predict = conversion.saved_model_scorer(saved, **takes)
        name = f"TFLite {scored.metadata['quantize']}"
        judged, results = images.judge(name, scored.predict, scored.threshold)
        export = Export(
            path=target,
            files=written,
            form=quantize,
            n_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            calibration=calibration,
            checks={
                "SavedModel, held out": images.parity(few, predict, threshold),
                f"{name}, held out": parity,
                **judged,
            },
            results=results,
            shortfalls=tuple(shortfalls),
        )
        say("Choosing golden samples")
        plain = TFLiteModel(content, plain_kernels=True)
        samples = comparison.write_golden(scored, plain, images, folder / golden.name)
        about = {"name": target.name, "sha256": export.sha256, "bytes": len(content)}
        told = {**scored.metadata, "file": about, "golden": samples}
        made = {file: folder / file.name for file in written}
        made[target].write_bytes(content)
        _write_told(made[beside], made[card], told, provenance, export)
        files.sync(folder)
        # The JSON first, the model last: whatever stops this, an earlier model is not
        # the one whose SHA-256 stands in the JSON.
        for file in (beside, golden, card, target):
            put_in_place(made[file], file)
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
        test_data: Test images and labels, to report on only.
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
    provenance = provenance or Provenance()
    say = logs.tell if verbose else lambda step: None
    target, form = Path(path), "savedmodel"
    takes = {"input_dtype": input_dtype, "batch_size": batch_size}
    n_bytes = conversion.bytes_needed(model, with_tflite=False)
    with workplace(target, n_bytes) as folder:
        say("Scoring the images with the model")
        images = comparison.gather(model, None, validation_data, test_data)
        say("Writing the SavedModel")
        made = folder / "saved_model"
        conversion.write_saved_model(model, made, threshold=model.threshold, **takes)
        say("Scoring the images with the SavedModel")
        predict = conversion.saved_model_scorer(made, **takes)
        parity = images.parity(images.held_out, predict, model.threshold)
        shortfalls = parity.shortfalls(form)
        if shortfalls and not force:
            raise ValueError(
                "The SavedModel does not score as the model does; expected the same "
                f"within rounding. Received: {'; '.join(shortfalls)}. Nothing was "
                "written; force=True (--force) writes it all the same."
            )
        judged, results = images.judge("SavedModel", predict, model.threshold)
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
        told = describe(model, provenance, form, model.calibration, **takes)
        extra = made / _EXTRA
        extra.mkdir()
        _write_told(extra / "egan.json", extra / "egan.md", told, provenance, export)
        files.sync(made)
        put_in_place(made, target)
    return export


@dataclasses.dataclass
class _Attempts:
    """Makes .tflite files of one model."""

    model: "EGAN"
    images: Evidence
    provenance: Provenance
    takes: dict[str, Any]
    saved_model: Path
    say: Callable[[str], None]

    def make(self, form: str) -> tuple:
        """Makes a file and compares it with the model.

        Returns it to score with and as bytes, how its threshold was set, how it
        compares (`None` if its scores are no numbers) and where it falls short.
        """
        tries = " (a few times over)" if form == "int8" else ""
        self.say(f"Converting it to TFLite, {form}{tries}")
        known, images = self.images.representative, self.images.held_out
        content = conversion.convert(
            self.saved_model,
            form,
            representative=known and known.images,
            labels=known and known.labels_or_calls(self.images.threshold),
        )
        try:
            graph, calibration = TFLiteGraph(content), self.model.calibration
            if form != "none" and calibration is not None:
                calibration = self._set_again(calibration, content)
                # float16 has rounded the threshold, too.
                graph.threshold = calibration.threshold
            told = describe(
                self.model, self.provenance, form, calibration, **self.takes
            )
            if form == "int8":
                told["integer_share"] = round(graph.integer_share, 3)
            graph.embed(told)
            content = graph.to_bytes()
            self.say("Scoring the images with the .tflite file")
            scored = TFLiteModel(content)
            parity = self.images.parity(images, scored.predict, scored.threshold)
        except NotFiniteError:
            return None, content, None, None, ["scores that are no numbers"]
        return scored, content, calibration, parity, parity.shortfalls(form)

    def _set_again(self, calibration: Calibration, content: bytes) -> Calibration:
        """Sets the threshold on quantised scores, where there are held-out images."""
        held_out = self.images.validation
        if held_out is None:
            return dataclasses.replace(calibration, confidence=None, guarantee=_STALE)
        scores = finite(raw_scores(content, held_out.images, threads=os.cpu_count()))
        return thresholds.calibrate(scores[:, 0], held_out.labels, **calibration.wish)

    def refusal(self, form: str, shortfalls: list[str], is_forcible: bool) -> str:
        """Says why an export is refused, and which form to take instead."""
        smallest_first = ("dynamic", "float16", "none")[form != "int8" :]
        others = [other for other in smallest_first if other != form]
        works = next((other for other in others if not self.make(other)[-1]), None)
        instead = f"quantize={works!r} scores as the model does"
        forced = "; force=True (--force) writes it all the same"
        return (
            f"As {form!r} the network does not score as the model does; expected "
            f"scores within tolerance. Received: {'; '.join(shortfalls)}. Nothing was "
            f"written: {instead if works else 'no other form does better'}"
            f"{forced if is_forcible else ''}."
        )


def _check(written: tuple[Path, ...], quantize: str, representative: object) -> None:
    """Refuses what cannot be done, before any work."""
    target, golden = written[0], written[-1]
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
    for place in written:
        problem = "A file to write is a folder; expected a file"
        if place == golden:
            problem = (
                "The folder to write golden samples to is a file; expected a folder"
            )
        if place.exists() and place.is_dir() != (place == golden):
            raise ValueError(
                f"{problem} or nothing. Received: {str(place)!r}. Name another file."
            )


def _write_told(
    beside: Path,
    card: Path,
    told: dict[str, Any],
    provenance: Provenance,
    export: Export,
) -> None:
    """Writes what a program and a person must know."""
    checks = {name: dataclasses.asdict(each) for name, each in export.checks.items()}
    told = {**told, "checks": checks, "results": export.results}
    beside.write_text(json.dumps(told, indent=2, allow_nan=False) + "\n", "utf-8")
    card.write_text(model_card(told, provenance, export), "utf-8")


@contextlib.contextmanager
def workplace(target: Path, n_bytes: float) -> Iterator[Path]:
    """Gives a folder beside a target, after removing what a killed export left."""
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
