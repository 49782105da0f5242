"""An export under way: what is checked before it, made in it, and told of it."""

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from egan_keras import files, logs, networks, thresholds
from egan_keras.exporting import comparison, conversion, onnx_file
from egan_keras.exporting.comparison import Evidence, Images, Labelled, Parity
from egan_keras.exporting.model_card import Export, Provenance, describe, model_card
from egan_keras.exporting.tflite_graph import TFLiteGraph
from egan_keras.exporting.tflite_model import (
    NotFiniteError,
    Scorer,
    TFLiteModel,
    raw_scores,
)
from egan_keras.keras_hooks import is_mixed
from egan_keras.text import printable
from egan_keras.thresholds import Calibration

if TYPE_CHECKING:
    from egan_keras.model import EGAN

_FORCED = "; force=True (--force) writes it all the same"
SAVED_MODEL, ONNX = "savedmodel", "onnx"
_IN_WORDS = {SAVED_MODEL: "SavedModel", ONNX: "ONNX file"}
_INPUT_DTYPES = ("uint8", "float32")
_STALE = (
    "No guarantee: the threshold was set on scores before quantisation. Export with "
    "held-out majority images to set it on the quantised scores."
)
# What a SavedModel takes on the disk: Keras puts each weight into it twice, and the
# graph grows with their number.
_TIMES_WEIGHTS = 2.1
_BYTES_A_WEIGHT = 10_000
_LEAST_BYTES = 1_000_000


@dataclasses.dataclass
class Work:
    """An export under way: its SavedModel is in the folder, and images are scored."""

    model: "EGAN"
    images: Evidence
    provenance: Provenance
    options: dict[str, Any]
    folder: Path
    say: Callable[[str], None]

    @property
    def saved_model(self) -> Path:
        """Its folder."""
        return self.folder / "saved_model"

    def make(self, form: str) -> tuple[bytes | None, Scorer, Parity]:
        """Makes an export and compares it with the model.

        Returns the bytes of the file, `None` of a SavedModel; what scores with it; and
        how its scores compare. A `NotFiniteError` if they are no numbers.
        """
        content: bytes | None = None
        if form == SAVED_MODEL:
            what, scored = "the SavedModel", self.scorer_of_saved_model()
        elif form == ONNX:
            what = "the .onnx file"
            self.say("Converting it to ONNX")
            told = self._told("none", self.model.calibration)
            content = onnx_file.convert(self.saved_model, told)
            scored = onnx_file.ONNXScorer(content)
        else:
            what, content = "the .tflite file", self._tflite(form)
            scored = TFLiteModel(content)
        self.say(f"Scoring the images with {what}")
        images = self.images.held_out
        scores = scored.predict(images.images)
        return content, scored, self.images.parity(images, scores, scored.threshold)

    def scorer_of_saved_model(self) -> Scorer:
        """Returns what scores with the SavedModel."""
        told = self._told(SAVED_MODEL, self.model.calibration)
        return conversion.SavedModelScorer(self.saved_model, told)

    def _told(self, form: str, calibration: Calibration | None) -> dict[str, Any]:
        return describe(self.model, self.provenance, form, calibration, **self.options)

    def _tflite(self, form: str) -> bytes:
        """Returns the bytes of a .tflite file, which tells of itself."""
        tries = " (a few times over)" if form == "int8" else ""
        self.say(f"Converting it to TFLite, {form}{tries}")
        known = self.images.representative
        content = conversion.convert(
            self.saved_model,
            form,
            representative=known and known.images,
            labels=known and known.labels_or_calls(self.images.threshold),
        )
        graph, calibration = TFLiteGraph(content), self.model.calibration
        if form != "none" and calibration is not None:
            calibration = self._set_again(calibration, content)
            # float16 has rounded the threshold, too.
            graph.threshold = calibration.threshold
        told = self._told(form, calibration)
        if form == "int8":
            told["integer_share"] = round(graph.integer_share, 3)
        graph.embed(told)
        return graph.to_bytes()

    def _set_again(self, calibration: Calibration, content: bytes) -> Calibration:
        """Sets the threshold on quantised scores, where there are held-out images."""
        held_out = self.images.validation
        if held_out is None:
            return dataclasses.replace(calibration, confidence=None, guarantee=_STALE)
        scores = raw_scores(content, held_out.images, threads=os.cpu_count())
        return thresholds.calibrate(scores[:, 0], held_out.labels, **calibration.wish)

    def refusal(self, form: str, shortfalls: list[str]) -> str:
        """Says why an export is refused, and which form of .tflite to take instead."""
        if form in _IN_WORDS:
            return (
                f"The {_IN_WORDS[form]} does not score as the model does; expected the "
                f"same within rounding. Received: {'; '.join(shortfalls)}. Nothing was "
                f"written{_FORCED}."
            )
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

    def tell(self, beside: Path, card: Path, told: dict, export: Export) -> None:
        """Writes what a program and a person must know."""
        checks = {name: vars(each) for name, each in export.checks.items()}
        told = {**told, "checks": checks, "results": export.results}
        files.write_json(beside, told, indent=2, allow_nan=False)
        card.write_text(model_card(told, self.provenance, export), "utf-8")


@contextlib.contextmanager
def begun(
    model: "EGAN",
    written: Sequence[Path],
    quantize: str,
    given: tuple[Images | Labelled | None, Labelled | None, Labelled | None],
    provenance: Provenance | None,
    options: dict[str, Any],
    verbose: int | str,
) -> Iterator[Work]:
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
        work = Work(model, images, provenance or Provenance(), options, folder, say)
        say("Writing the SavedModel")
        conversion.write_saved_model(
            model, work.saved_model, **options, to_convert=bool(beside)
        )
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
    if is_mixed(model.discriminator):
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
    """Refuses names that a file and what stands beside it cannot have."""
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
