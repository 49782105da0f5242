"""Scoring with a .tflite file that this package wrote."""

import hashlib
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from egan_keras import data, schemas
from egan_keras.data.lazy import LazyRows, in_batches
from egan_keras.exporting.flatbuffer import threshold_in
from egan_keras.exporting.metadata import read_metadata
from egan_keras.exporting.parity import NotFiniteError
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
_MOST_BYTES = 2 * 1024**3
_MOST_JSON_BYTES = 16 * 1024**2
# What the runtime, or reading the graph, makes of a damaged or foreign file.
_UNUSABLE = (
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    struct.error,
)


class TFLiteModel:
    """Scores images with LiteRT, as an `EGAN` does with Keras.

    Several threads may use one; they take turns.

    Args:
        content: The bytes of a .tflite file that `export_tflite` wrote.
        threads: Threads to use; `None` takes as many as there are processors.
        plain_kernels: Whether to compute with LiteRT's own kernels alone, without
            the faster ones that it takes where the processor has them.
        path: The file, for messages.

    Raises:
        ValueError: If the bytes are no such model, or what they tell of it is not
            what its network does.
    """

    def __init__(
        self,
        content: bytes,
        *,
        threads: int | None = None,
        plain_kernels: bool = False,
        path: Path | None = None,
    ) -> None:
        self.metadata = read_metadata(content, path)
        self._name = f"{len(content)} bytes" if path is None else repr(str(path))
        # The runtime has one set of buffers.
        self._lock = threading.Lock()
        try:
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
            shape = [int(side) for side in details["shape"][1:]]
            dtype = np.dtype(details["dtype"])
            self._batch_is_free = details["shape_signature"][0] < 0
            threshold = threshold_in(content)
        except _UNUSABLE as error:
            raise ValueError(
                "The network of the TFLite model cannot be used; expected one from "
                f"`images` to `score` and `is_minority`. Received: {self._name} "
                f"({type(error).__name__}: {error}). Copy or export it again."
            ) from error
        told = self.metadata["input"]
        if (told["shape"][1:], told["dtype"]) != (shape, dtype.name):
            raise ValueError(
                "The network of the TFLite model takes other images than the file "
                f"tells; expected {told['dtype']} {told['shape'][1:]}. Received: "
                f"{dtype.name} {shape} in {self._name}. Export it again."
            )
        if np.float32(threshold) != np.float32(self.threshold):
            raise ValueError(
                "The TFLite model tells another threshold than its network has in it; "
                f"expected {threshold:.9g}. Received: threshold.threshold="
                f"{self.threshold:.9g} in {self._name}. Export it again."
            )
        self._dtype, self.image_shape = dtype, tuple(shape)

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
        images = data.check_images(images, image_shape=self.image_shape)
        parts = in_batches(images, batch_size)
        return np.concatenate([self._outputs(part)["score"] for part in parts])

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """Returns the scores of images scored at once, float32 (n, 1)."""
        return self.outputs(images)["score"]

    def outputs(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Returns `score` and `is_minority`, each float32 (n, 1).

        Raises:
            ValueError: If the images are none for this model, or a score is no finite
                number.
        """
        return self._outputs(data.check_images(images, image_shape=self.image_shape))

    def _outputs(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        if self._dtype == np.uint8:
            pixels = np.rint(pixels)
        pixels = pixels.astype(self._dtype)
        size = len(pixels) if self._batch_is_free else 1
        parts = []
        for start in range(0, len(pixels), size):
            with self._lock:
                parts.append(self._runner(images=pixels[start : start + size]))
        found = {
            name: np.concatenate([part[name] for part in parts])
            for name in ("score", "is_minority")
        }
        if not np.isfinite(found["score"]).all():
            raise NotFiniteError(
                "The TFLite model answers with scores that are no numbers; expected "
                f"finite ones. Received: {found['score'][:3, 0]} ... of {self._name}. "
                "Copy the file again, or export it again in another form."
            )
        return found


def load_tflite(path: str | os.PathLike) -> TFLiteModel:
    """Loads a .tflite file that `export_tflite` wrote.

    Where the JSON that was written beside it is there, the file must be the same as
    then, and both must tell the same. It is tried in another process first, because a
    damaged file can crash the process in which LiteRT loads it.

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
    n_bytes = path.stat().st_size
    if n_bytes > _MOST_BYTES:
        raise ValueError(
            f"The model file is too large; expected at most {_MOST_BYTES} bytes. "
            f"Received: path={str(path)!r} of {n_bytes} bytes. Name a .tflite file."
        )
    content = path.read_bytes()
    _check_beside(path, content, read_metadata(content, path))
    _try_in_another_process(path)
    return TFLiteModel(content, path=path)


def _check_beside(path: Path, content: bytes, inside: dict) -> None:
    """Refuses a file that is not the one that the JSON beside it describes."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return
    try:
        told = schemas.read(beside, schemas.BESIDE, _MOST_JSON_BYTES)
    except ValueError as error:
        raise ValueError(
            "The JSON beside the model does not describe it; expected the file that "
            f"was written with it. Received: {str(beside)!r} ({error}). Copy it again, "
            "or move it away."
        ) from error
    expected, found = told["file"]["sha256"], hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(
            "The model is not the one that the JSON beside it was written with; "
            f"expected SHA-256 {expected}. Received: {str(path)!r}, {found}. Copy both "
            "again."
        )
    other = [name for name in inside if told.get(name) != inside[name]]
    if other:
        raise ValueError(
            "The JSON beside the model tells other things than the model itself; "
            f"expected the same {', '.join(other)}. Received: {str(beside)!r}, which "
            "was changed. Copy both again."
        )


def _try_in_another_process(path: Path) -> None:
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _TRIAL, os.fspath(path)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TRIAL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        reason = f"a trial did not end in {_TRIAL_SECONDS} seconds"
    else:
        if not tried.returncode:
            return
        said = tried.stderr.strip().splitlines()
        reason = said[-1] if said else f"exit code {tried.returncode}"
    raise ValueError(
        "The TFLite model cannot be loaded; expected a file as `egan-keras export` "
        f"wrote it. Received: {str(path)!r} ({reason}). Copy or export it again."
    )
