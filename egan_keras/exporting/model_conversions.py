"""The .tflite files of one model, each with its threshold, and their comparisons."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from egan_keras import thresholds
from egan_keras.exporting import conversion, graph, metadata
from egan_keras.exporting.evidence import Evidence
from egan_keras.exporting.flatbuffer import integer_share
from egan_keras.exporting.parity import Parity
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


@dataclasses.dataclass
class ModelConversions:
    """What the conversions of one model have in common."""

    model: "EGAN"
    images: Evidence
    provenance: Provenance
    input_dtype: str
    batch_size: int | None
    folder: Path

    def file(self, form: str) -> tuple[bytes, Calibration | None]:
        """Returns a .tflite file with its metadata, and how its threshold was set."""
        calibration, held_out = self.model.calibration, self.images.validation
        if form == "none" or calibration is None:
            return self._converted(form, calibration), calibration
        if held_out is None:
            calibration = dataclasses.replace(
                calibration, confidence=None, guarantee=_STALE
            )
        else:
            before = TFLiteModel(self._converted(form, calibration))
            calibration = thresholds.calibrate(
                before.predict(held_out.images)[:, 0],
                held_out.labels,
                **calibration.wish,
            )
        if form == "float16":
            calibration = _of_sixteen_bits(calibration)
        return self._converted(form, calibration), calibration

    def parities(self, content: bytes) -> tuple[Parity, Parity | None]:
        """Compares a .tflite file with the model."""
        scored = TFLiteModel(content)
        return self.images.compare(scored.predict, scored.threshold)

    def saved_model_parities(self) -> tuple[Parity, Parity | None]:
        """Compares the SavedModel that is converted with the model."""
        saved = self._saved_model(self.images.threshold)
        return self.images.compare(
            scorer(saved, self.input_dtype, self.batch_size), self.images.threshold
        )

    def refusal(self, form: str, shortfalls: list[str]) -> str:
        """Says why an export is refused, and which form to take instead."""
        smaller_first = ("dynamic", "float16", "none")
        others = smaller_first if form == "int8" else smaller_first[1:]
        works = next(
            (
                other
                for other in others
                if other != form
                and not self.parities(self.file(other)[0])[0].shortfalls(other)
            ),
            None,
        )
        instead = (
            f"quantize={works!r} scores as the model does"
            if works
            else "no other form does better"
        )
        return (
            f"As {form!r} the network does not score as the model does; expected "
            f"scores within tolerance. Received: {'; '.join(shortfalls)}. Nothing was "
            f"written: {instead}; force=True (--force) writes it all the same."
        )

    def _converted(self, form: str, calibration: Calibration | None) -> bytes:
        threshold = calibration.threshold if calibration else 0.0
        saved = self._saved_model(threshold)
        known = self.images.representative
        content = conversion.convert(
            saved,
            form,
            representative=known and known.images,
            labels=known and known.labels_or_calls(self.images.threshold),
        )
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

    def _saved_model(self, threshold: float) -> Path:
        made = self.folder / f"saved_model_{threshold!r}"
        if not made.exists():
            graph.write_saved_model(
                self.model,
                made,
                threshold=threshold,
                input_dtype=self.input_dtype,
                batch_size=self.batch_size,
            )
        return made


def _of_sixteen_bits(calibration: Calibration) -> Calibration:
    """Rounds the threshold, which is stored as all numbers are, to the safe side."""
    exact, up = calibration.threshold, calibration.criterion == "sensitivity"
    rounded = np.float16(exact)
    if float(rounded) != exact and (float(rounded) > exact) != up:
        rounded = np.nextafter(rounded, np.float16(np.inf if up else -np.inf))
    return dataclasses.replace(calibration, threshold=float(rounded))
