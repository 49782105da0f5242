"""The .tflite files of one model, each with its threshold, and their comparisons."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from egan_keras import thresholds
from egan_keras.exporting import conversion, graph, metadata
from egan_keras.exporting.evidence import Comparison, Evidence
from egan_keras.exporting.flatbuffer import integer_share, with_threshold
from egan_keras.exporting.parity import NotFiniteError, Parity
from egan_keras.exporting.provenance import Provenance
from egan_keras.exporting.saved_model import scorer
from egan_keras.exporting.tflite_model import TFLiteModel
from egan_keras.thresholds import Calibration

if TYPE_CHECKING:
    from egan_keras.model import EGAN

_STALE = (
    "No guarantee: the threshold was set on scores before quantisation. Export with "
    "held-out majority images to set it on the quantised scores."
)
NO_NUMBERS = "scores that are no numbers"

# One image at a time, a SavedModel takes ten times as long as a .tflite file.
_FEW = 200


@dataclasses.dataclass
class ModelConversions:
    """What the conversions of one model have in common."""

    model: "EGAN"
    images: Evidence
    provenance: Provenance
    input_dtype: str
    batch_size: int | None
    folder: Path
    say: Callable[[str], None]

    def file(self, form: str) -> tuple[bytes, Calibration | None]:
        """Returns a .tflite file with its metadata, and how its threshold was set."""
        saved_model = self._saved_model()
        tries = " (a few times over)" if form == "int8" else ""
        self.say(f"Converting it to TFLite, {form}{tries}")
        known = self.images.representative
        content = conversion.convert(
            saved_model,
            form,
            representative=known and known.images,
            labels=known and known.labels_or_calls(self.images.threshold),
        )
        calibration = self.model.calibration
        if form != "none" and calibration is not None:
            # float16 has rounded the threshold, too.
            before = with_threshold(content, calibration.threshold)
            before = TFLiteModel(self._described(before, form, calibration))
            calibration = self._set_again(before, calibration)
            content = with_threshold(content, calibration.threshold)
        return self._described(content, form, calibration), calibration

    def _set_again(
        self, quantised: TFLiteModel, calibration: Calibration
    ) -> Calibration:
        """Sets the threshold on quantised scores, where there are held-out images."""
        held_out = self.images.validation
        if held_out is None:
            return dataclasses.replace(calibration, confidence=None, guarantee=_STALE)
        scores = quantised.predict(held_out.images)[:, 0]
        return thresholds.calibrate(scores, held_out.labels, **calibration.wish)

    def compare(self, content: bytes) -> Comparison:
        """Compares a .tflite file with the model, and judges it."""
        scored = TFLiteModel(content)
        self.say("Scoring the images with the .tflite file")
        return self.images.compare(scored.predict, scored.threshold)

    def saved_model_parity(self) -> Parity:
        """Compares the SavedModel that is converted with the model, on a few images."""
        images = self.images.held_out.evenly(_FEW)
        predict = scorer(self._saved_model(), self.input_dtype, self.batch_size)
        threshold = self.images.threshold
        return images.compare(predict(images.images)[:, 0], threshold, threshold)

    def refusal(self, form: str, shortfalls: list[str]) -> str:
        """Says why an export is refused, and which form to take instead."""
        smaller_first = ("dynamic", "float16", "none")
        others = smaller_first if form == "int8" else smaller_first[1:]
        works = next(
            (
                other
                for other in others
                if other != form and not self._shortfalls(other)
            ),
            None,
        )
        instead = (
            f"quantize={works!r} scores as the model does"
            if works
            else "no other form does better"
        )
        forced = "; force=True (--force) writes it all the same"
        if NO_NUMBERS in shortfalls:
            forced = ""
        return (
            f"As {form!r} the network does not score as the model does; expected "
            f"scores within tolerance. Received: {'; '.join(shortfalls)}. Nothing was "
            f"written: {instead}{forced}."
        )

    def _shortfalls(self, form: str) -> list[str]:
        try:
            scored = TFLiteModel(self.file(form)[0])
            parity = self.images.compare_held_out(scored.predict, scored.threshold)
        except NotFiniteError:
            return [NO_NUMBERS]
        return parity.shortfalls(form)

    def _described(
        self, content: bytes, form: str, calibration: Calibration | None
    ) -> bytes:
        described = metadata.describe(
            self.model,
            self.provenance,
            form=form,
            input_dtype=self.input_dtype,
            batch_size=self.batch_size,
            calibration=calibration,
        )
        if form == "int8":
            described["integer_share"] = round(integer_share(content), 3)
        return metadata.embed(content, described)

    def _saved_model(self) -> Path:
        made = self.folder / "saved_model"
        if not made.exists():
            self.say("Writing the SavedModel")
            graph.write_saved_model(
                self.model,
                made,
                threshold=self.images.threshold,
                input_dtype=self.input_dtype,
                batch_size=self.batch_size,
            )
        return made
