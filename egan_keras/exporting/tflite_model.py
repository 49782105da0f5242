"""Scoring with a .tflite file that this package wrote."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from egan_keras.data import check_images
from egan_keras.data.lazy import LazyRows, in_batches
from egan_keras.exporting.metadata import read_metadata
from egan_keras.thresholds import Calibration

_BATCH_SIZE = 32
_TRIAL = """
import sys
from ai_edge_litert.interpreter import Interpreter
with open(sys.argv[1], "rb") as file:
    interpreter = Interpreter(model_content=file.read())
interpreter.allocate_tensors()
interpreter.invoke()
"""
_TRIAL_SECONDS = 120


class TFLiteModel:
    """Scores images with LiteRT, as an `EGAN` does with Keras.

    Args:
        content: The bytes of a .tflite file that `export_tflite` wrote.
        threads: Threads to use; `None` takes as many as there are processors.
        plain_kernels: Whether to compute with LiteRT's own kernels alone, without
            the faster ones that it takes where the processor has them.

    Raises:
        ValueError: If the bytes are no such model.
    """

    def __init__(
        self,
        content: bytes,
        *,
        threads: int | None = None,
        plain_kernels: bool = False,
    ) -> None:
        self.metadata = read_metadata(content)
        interpreter = Interpreter(
            model_content=content,
            num_threads=threads or os.cpu_count(),
            experimental_op_resolver_type=(
                OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
                if plain_kernels
                else OpResolverType.AUTO
            ),
        )
        self._runner = interpreter.get_signature_runner()
        details = self._runner.get_input_details()["images"]
        self._dtype = np.dtype(details["dtype"])
        self._batch_is_free = details["shape_signature"][0] < 0
        self.image_shape = tuple(int(side) for side in details["shape"][1:])

    @property
    def calibration(self) -> Calibration | None:
        """How the threshold was set; `None` if it was not."""
        values = dict(self.metadata["threshold"])
        return Calibration.from_dict(values) if values.pop("calibrated") else None

    @property
    def threshold(self) -> float:
        """An image whose score is below it is called minority."""
        return self.metadata["threshold"]["threshold"]

    def predict(
        self,
        images: np.ndarray | LazyRows,
        *,
        batch_size: int = _BATCH_SIZE,
        verbose: int = 0,
    ) -> np.ndarray:
        """Returns the scores, float32 (n, 1), low = minority.

        Args:
            images: RGB pixels 0..255, (n, height, width, 3), uint8 or float.
            batch_size: Images scored at once where the model's batch is free.
            verbose: Ignored; for `evaluate`, which calls Keras models alike.

        Raises:
            ValueError: If they are not images as described.
        """
        images = check_images(images, image_shape=self.image_shape)
        return np.concatenate(
            [self.predict_on_batch(part) for part in in_batches(images, batch_size)]
        )

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """Returns the scores of images scored at once, float32 (n, 1)."""
        return self.outputs(images)["score"]

    def outputs(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Returns `score` and `is_minority`, each float32 (n, 1)."""
        pixels = np.asarray(images)
        if self._dtype == np.uint8 and pixels.dtype != np.uint8:
            pixels = np.clip(np.rint(pixels), 0, 255)
        pixels = pixels.astype(self._dtype)
        size = len(pixels) if self._batch_is_free else 1
        parts = [
            self._runner(images=pixels[start : start + size])
            for start in range(0, len(pixels), size)
        ]
        return {
            name: np.concatenate([part[name] for part in parts])
            for name in ("score", "is_minority")
        }


def load_tflite(path: str | os.PathLike) -> TFLiteModel:
    """Loads a .tflite file that `export_tflite` wrote.

    Where the JSON that was written beside it is there, the file must be the same as
    then. It is tried in another process first, because a damaged file can crash the
    process in which LiteRT loads it.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the file is damaged, changed, or another kind of model.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            "There is no such model file; expected a .tflite file. Received: "
            f"path={str(path)!r}. Check the path."
        )
    content = path.read_bytes()
    read_metadata(content)
    _check_unchanged(path, content)
    _try_in_another_process(path)
    return TFLiteModel(content)


def _check_unchanged(path: Path, content: bytes) -> None:
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return
    try:
        expected = json.loads(beside.read_text("utf-8"))["file"]["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            "The JSON beside the model does not describe it; expected the file that "
            f"was written with it. Received: {str(beside)!r}. Copy it again, or move "
            "it away."
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(
            "The model is not the one that the JSON beside it was written with; "
            f"expected SHA-256 {expected}. Received: {str(path)!r}, {found}. Copy both "
            "again."
        )


def _try_in_another_process(path: Path) -> None:
    tried = subprocess.run(
        [sys.executable, "-c", _TRIAL, os.fspath(path)],
        capture_output=True,
        text=True,
        timeout=_TRIAL_SECONDS,
    )
    if tried.returncode:
        said = tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"]
        raise ValueError(
            "The TFLite model cannot be loaded; expected a file as `egan-keras export` "
            f"wrote it. Received: {str(path)!r} ({said[-1]}). Copy or export it again."
        )
