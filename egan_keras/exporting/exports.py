"""`export_tflite` and `export_saved_model`: from a model to checked files."""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from egan_keras import files, logs, networks, thresholds
from egan_keras.exporting import comparison, conversion
from egan_keras.exporting.comparison import Evidence, Images, Labelled, Parity
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
_INPUT_DTYPES = ("uint8", "float32")
_FORCED = "; force=True (--force) writes it all the same"
_STALE = (
    "No guarantee: the threshold was set on scores before quantisation. Export with "
    "held-out majority images to set it on the quantised scores."
)
# What a SavedModel takes on the disk: Keras puts each weight into it twice, and the
# graph grows with their number.
_TIMES_WEIGHTS = 2.1
_BYTES_A_WEIGHT = 10_000
_LEAST_BYTES = 1_000_000
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
    target = Path(path)
    beside, card = target.with_suffix(".json"), target.with_suffix(".md")
    golden = target.with_name(f"{target.stem}_golden")
    written = (target, beside, card, golden)
    interface: dict[str, Any] = {"input_dtype": input_dtype, "batch_size": batch_size}
    options = {**interface, "heat_map": heat_map}
    given = representative, validation_data, test_data
    with _begun(model, written, quantize, given, provenance, options, verbose) as work:
        content, scored, parity = work.make(quantize)
        shortfalls = parity.shortfalls(quantize)
        if shortfalls and not force:
            raise ValueError(work.refusal(quantize, shortfalls))
        images, name = work.images, f"TFLite {scored.metadata['quantize']}"
        few = images.held_out
        few = few.at(comparison.evenly(len(few.images), _FEW))
        predict = conversion.saved_model_scorer(work.saved_model, **interface)
        as_saved = images.parity(few, predict(few.images), images.threshold)
        judged, results = images.judge(name, scored.predict, scored.threshold)
        checks = {"SavedModel, held out": as_saved, f"{name}, held out": parity}
        export = Export(
            path=target,
            files=written,
            form=quantize,
            n_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            calibration=scored.calibration,
            checks={**checks, **judged},
            results=results,
            shortfalls=tuple(shortfalls),
        )
        work.say("Choosing golden samples")
        made = {file: work.folder / file.name for file in written}
        plain = TFLiteModel(content, plain_kernels=True)
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
    with _begun(model, [target], "none", given, provenance, options, verbose) as work:
        made, images = work.saved_model, work.images
        work.say("Scoring the images with the SavedModel")
        predict = conversion.saved_model_scorer(made, **interface)
        held_out, threshold = images.held_out, images.threshold
        parity = images.parity(held_out, predict(held_out.images), threshold)
        shortfalls = parity.shortfalls(form)
        if shortfalls and not force:
            raise ValueError(
                "The SavedModel does not score as the model does; expected the same "
                f"within rounding. Received: {'; '.join(shortfalls)}. Nothing was "
                f"written{_FORCED}."
            )
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


@dataclasses.dataclass
class _Work:
    """An export under way: its SavedModel is in the folder, and images are scored."""

    model: "EGAN"
    images: Evidence
    provenance: Provenance
    options: dict[str, Any]
    folder: Path
    say: Callable[[str], None]

    @property
    def saved_model(self) -> Path:
        return self.folder / "saved_model"

    def make(self, form: str) -> tuple[bytes, TFLiteModel, Parity]:
        """Makes a .tflite file, in bytes and to score with, and compares it.

        A `NotFiniteError` if its scores are no numbers.
        """
        tries = " (a few times over)" if form == "int8" else ""
        self.say(f"Converting it to TFLite, {form}{tries}")
        known, images = self.images.representative, self.images.held_out
        threshold = self.images.threshold
        content = conversion.convert(
            self.saved_model,
            form,
            representative=known.images if known else None,
            labels=known.labels_or_calls(threshold) if known else None,
        )
        graph, calibration = TFLiteGraph(content), self.model.calibration
        if form != "none" and calibration is not None:
            calibration = self._set_again(calibration, content)
            # float16 has rounded the threshold, too.
            graph.threshold = calibration.threshold
        given = self.model, self.provenance, form, calibration
        told = describe(*given, **self.options)
        if form == "int8":
            told["integer_share"] = round(graph.integer_share, 3)
        graph.embed(told)
        content = graph.to_bytes()
        self.say("Scoring the images with the .tflite file")
        scored = TFLiteModel(content)
        scores = scored.predict(images.images)
        return content, scored, self.images.parity(images, scores, scored.threshold)

    def _set_again(self, calibration: Calibration, content: bytes) -> Calibration:
        """Sets the threshold on quantised scores, where there are held-out images."""
        held_out = self.images.validation
        if held_out is None or held_out.labels is None:
            return dataclasses.replace(calibration, confidence=None, guarantee=_STALE)
        scores = raw_scores(content, held_out.images, threads=os.cpu_count())
        return thresholds.calibrate(scores[:, 0], held_out.labels, **calibration.wish)

    def refusal(self, form: str, shortfalls: list[str]) -> str:
        """Says why an export is refused, and which form to take instead."""
        instead = "no other form does better"
        # The smallest first.
        for other in ("dynamic", "float16", "none")[form != "int8" :]:
            with contextlib.suppress(NotFiniteError):
                if other != form and not self.make(other)[-1].shortfalls(other):
                    instead = f"quantize={other!r} scores as the model does"
                    break
        return (
            f"As {form!r} the network does not score as the model does; expected "
            f"scores within tolerance. Received: {'; '.join(shortfalls)}. Nothing was "
            f"written: {instead}{_FORCED}."
        )

    def tell(
        self, beside: Path, card: Path, told: dict[str, Any], export: Export
    ) -> None:
        """Writes what a program and a person must know."""
        checks = {name: vars(each) for name, each in export.checks.items()}
        told = {**told, "checks": checks, "results": export.results}
        beside.write_text(json.dumps(told, indent=2, allow_nan=False) + "\n", "utf-8")
        card.write_text(model_card(told, self.provenance, export), "utf-8")


@contextlib.contextmanager
def _begun(
    model: "EGAN",
    written: Sequence[Path],
    quantize: str,
    given: tuple[Images | Labelled | None, Labelled | None, Labelled | None],
    provenance: Provenance | None,
    options: dict[str, Any],
    verbose: int | str,
) -> Iterator[_Work]:
    """Checks what is given, scores the images, and writes the SavedModel."""
    target, *beside = written
    _check(model, quantize, **options)
    if beside:
        _check_files(target, *beside)
    if quantize == "int8" and given[0] is None:
        raise ValueError(
            "The ranges of int8 are set on training images; expected some of both "
            "classes. Received: representative=None. Pass "
            "representative=(train.images, train.labels)."
        )
    say = logs.tell if verbose else lambda step: None
    n_bytes = _LEAST_BYTES + _BYTES_A_WEIGHT * len(model.discriminator.weights)
    times_weights = _TIMES_WEIGHTS + bool(beside)
    n_bytes += times_weights * 4 * model.discriminator.count_params()
    with workplace(target, n_bytes) as folder:
        say("Scoring the images with the model")
        images = comparison.gather(model, *given)
        work = _Work(model, images, provenance or Provenance(), options, folder, say)
        say("Writing the SavedModel")
        conversion.write_saved_model(model, work.saved_model, **options)
        yield work


def _check(
    model: "EGAN",
    quantize: str,
    input_dtype: str,
    batch_size: int | None,
    heat_map: bool,
) -> None:
    """Refuses models and options that cannot be exported."""
    backend, shape = keras.backend.backend(), model.image_shape
    if backend != "tensorflow":
        raise ValueError(
            "Models are exported by TensorFlow; expected KERAS_BACKEND=tensorflow, the "
            f"default. Received: KERAS_BACKEND={backend}. Save the model, and export "
            "it in a program (or by egan-keras export) that runs on TensorFlow."
        )
    if networks.is_mixed(model.discriminator):
        raise ValueError(
            "Models are exported in float32; expected one whose layers compute in it. "
            f"Received: a model of the policy {model.dtype_policy.name}. Export "
            "model.in_float32() in its place, after calibrating it: its scores differ."
        )
    if len(shape) != 3:
        raise ValueError(
            "A model that was built on features has no backbone to export; expected "
            f"one that takes images. Received: a model of inputs {(None, *shape)}. "
            "Build it with EGAN.from_backbones."
        )
    if heat_map:
        networks.ScoreAndHeatMap(model.discriminator)
    for problem, name, value, allowed in (
        ("Unknown form", "quantize", quantize, conversion.FORMS),
        ("Unknown type of pixels", "input_dtype", input_dtype, _INPUT_DTYPES),
        ("The batch is fixed at 1 image or free", "batch_size", batch_size, (1, None)),
    ):
        if value not in allowed:
            raise ValueError(
                f"{problem}; expected one of {', '.join(map(str, allowed))}. Received: "
                f"{name}={value!r}. Choose one of these."
            )


def _check_files(target: Path, *beside: Path) -> None:
    """Refuses names that a .tflite file and what stands beside it cannot have."""
    if target.suffix.lower() != ".tflite":
        raise ValueError(
            "The file to write needs the suffix .tflite. Received: "
            f"path={str(target)!r}. Name it, for example, egan.tflite."
        )
    *written, golden = target, *beside
    folders = [place for place in written if place.is_dir()]
    if folders or golden.is_file():
        problem = (
            "A file to write is a folder; expected a file"
            if folders
            else "The folder to write golden samples to is a file; expected a folder"
        )
        raise ValueError(
            f"{problem} or nothing. Received: {str([*folders, golden][0])!r}. Name "
            "another file."
        )


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
