"""Scoring with a .tflite file that this package wrote."""

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from egan_keras import data, litert, logs, schemas
from egan_keras.data.lazy import LazyRows, in_batches
from egan_keras.exporting.tflite_graph import METADATA_ENTRY, TFLiteGraph
from egan_keras.thresholds import Calibration

_BATCH_SIZE = 16
_LOADING = """
import sys
from ai_edge_litert.interpreter import Interpreter
with open(sys.argv[1], "rb") as file:
    interpreter = Interpreter(model_content=file.read())
interpreter.allocate_tensors()
interpreter.invoke()
"""
_LOADING_SECONDS = 120
_MOST_BYTES = 2 * 1024**3
_MOST_JSON_BYTES = 16 * 1024**2
# The list of classes may be long.
_MOST_METADATA_BYTES = 1024**2


class NotFiniteError(ValueError):
    """Scores of an export that are NaN or infinite."""


class Scorer:
    """What scores images by an exported file, which tells of itself in `metadata`."""

    metadata: dict[str, Any]

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns the scores (n, 1) of RGB pixels 0..255, (n, height, width, 3)."""
        raise NotImplementedError

    @property
    def calibration(self) -> Calibration | None:
        """How the threshold was set; `None` if it was not."""
        values = dict(self.metadata["threshold"])
        return Calibration.from_dict(values) if values.pop("calibrated") else None

    @property
    def threshold(self) -> float:
        """An image whose score is below it is called minority."""
        return self.metadata["threshold"]["threshold"]


class TFLiteModel(Scorer):
    """Scores images with LiteRT, as an `EGAN` does with Keras.

    Several threads may use one; they take turns.

    Args:
        content: The bytes of a .tflite file that `export_tflite` wrote.
        threads: Threads to use; `None` takes `litert.threads()`.
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
        self._name = _named(content, path)
        # The runtime has one set of buffers.
        self._lock = threading.Lock()
        kernels = "BUILTIN_WITHOUT_DEFAULT_DELEGATES" if plain_kernels else "AUTO"
        problem = "network is damaged; expected `images`, `score` and `is_minority`"
        with _refusing(problem, self._name):
            interpreter = Interpreter(
                model_content=content,
                num_threads=threads or litert.threads(),
                experimental_op_resolver_type=OpResolverType[kernels],
            )
            self._runner = interpreter.get_signature_runner()
            details = self._runner.get_input_details()["images"]
            shape = [int(side) for side in details["shape"][1:]]
            self._dtype = np.dtype(details["dtype"])
            self._batch_is_free = details["shape_signature"][0] < 0
            self.judges_places = "heat_map" in self._runner.get_output_details()
            threshold = TFLiteGraph(content).threshold
        given, wrong = self.metadata["input"], ""
        told, found = f"{given['dtype']} {given['shape'][1:]}", self._dtype.name
        if told != f"{found} {shape}":
            wrong = f"other images, {told}, than the network takes, {found} {shape}"
        elif np.float32(threshold) != np.float32(self.threshold):
            wrong = f"threshold.threshold={self.threshold:.9g} for {threshold:.9g}"
        if wrong:
            raise ValueError(
                "The TFLite model tells other things than its network has; expected "
                f"the same. Received: {wrong} in {self._name}. Export it again."
            )
        self.image_shape = tuple(shape)

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
        """
        images = data.check_images(images, image_shape=self.image_shape)
        parts = logs.shown(in_batches(images, batch_size), len(images), size=len)
        return np.concatenate([self._outputs(part)["score"] for part in parts])

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """Returns the scores of images scored at once, float32 (n, 1)."""
        return self.outputs(images)["score"]

    def outputs(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Returns `score`, `is_minority`, each float32 (n, 1), and any `heat_map`."""
        images = data.check_images(images, image_shape=self.image_shape)
        return self._outputs(np.asarray(images))

    def scores_and_heat_maps(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns scores (n, 1) and heat maps (n, h, w) of images scored at once.

        Raises:
            ValueError: If the file has no heat maps.
        """
        if not self.judges_places:
            raise ValueError(
                "The TFLite model gives scores alone; expected one that was exported "
                f"with heat_map=True (--heat-map). Received: {self._name}. Export it "
                "again."
            )
        found = self.outputs(images)
        return found["score"], found["heat_map"]

    def _outputs(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        size = len(pixels) if self._batch_is_free else 1
        parts = []
        for part in in_batches(as_type(pixels, self._dtype), size):
            with self._lock:
                parts.append(self._runner(images=part))
        names = parts[0]
        found = {name: np.concatenate([part[name] for part in parts]) for name in names}
        finite(found["score"], f"The TFLite model of {self._name}")
        return found


def load_tflite(path: str | os.PathLike[str]) -> TFLiteModel:
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
    _load_in_another_process(path)
    return TFLiteModel(content, path=path)


def read_metadata(content: bytes, path: Path | None = None) -> dict[str, Any]:
    """Returns what a .tflite file tells of itself, if it is whole and one of ours."""
    received = _named(content, path)
    if content[4:8] != b"TFL3":
        raise ValueError(
            "The file is no TFLite model; expected the identifier TFL3 in its first "
            f"eight bytes. Received: {received}, which begin with {content[:8]!r}. "
            "Export the run again."
        )
    text = b"{}"
    with _refusing("file is damaged; expected it as it was written", received):
        # Nothing but this entry: the file may be damaged elsewhere.
        model = schema.Model.GetRootAsModel(content, 0)
        for entry in map(model.Metadata, range(model.MetadataLength())):
            if entry.Name() == METADATA_ENTRY:
                text = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
                break
    problem = (
        "file does not tell its size and threshold as exports of this package do; "
        f"expected its entry {METADATA_ENTRY.decode()!r} in format "
        f"{schemas.FORMAT!r}, version {schemas.FORMAT_VERSION}"
    )
    with _refusing(problem, received):
        if len(text) > _MOST_METADATA_BYTES:
            raise ValueError(
                f"it has {len(text)} bytes, more than {_MOST_METADATA_BYTES}"
            )
        return schemas.parse(text, schemas.METADATA)


def raw_scores(
    content: bytes, images: np.ndarray, threads: int | None = None
) -> np.ndarray:
    """Returns scores, float32 (n, 1), of a file that need not tell of itself yet."""
    interpreter = Interpreter(model_content=content, num_threads=threads)
    runner = interpreter.get_signature_runner()
    dtype = runner.get_input_details()["images"]["dtype"]
    return scores_of(lambda part: runner(images=part)["score"], images, dtype, 1)


def scores_of(
    run: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    dtype: Any,
    batch_size: int,
) -> np.ndarray:
    """Returns the scores (n, 1) that `run` gives batches of pixels of a type."""
    parts = logs.shown(in_batches(images, batch_size), len(images), size=len)
    return finite(np.concatenate([run(as_type(part, dtype)) for part in parts]))


def as_type(pixels: np.ndarray, dtype: Any) -> np.ndarray:
    """Returns pixels, whole numbers where the type has no others."""
    return (np.rint(pixels) if np.dtype(dtype) == np.uint8 else pixels).astype(dtype)


def finite(scores: np.ndarray, of_what: str = "The export") -> np.ndarray:
    """Returns scores; raises a `NotFiniteError` where one is NaN or infinite."""
    if not np.isfinite(scores).all():
        raise NotFiniteError(
            f"{of_what} answers with scores that are no numbers; expected finite ones. "
            f"Received: {np.sum(~np.isfinite(scores))} of {len(scores)} NaN or "
            "infinite. Check whether training diverged, copy the file again, or export "
            "it in another form."
        )
    return scores


@contextlib.contextmanager
def _refusing(problem: str, received: str) -> Iterator[None]:
    """Tells of a damaged file, which LiteRT answers with errors of many types."""
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(
            f"The TFLite model cannot be used: its {problem}. Received: {received} "
            f"({kind}{error}). Copy it again, or export it by this version."
        ) from error


def _named(content: bytes, path: Path | None) -> str:
    return f"{len(content)} bytes" if path is None else repr(str(path))


def _check_beside(path: Path, content: bytes, inside: dict[str, Any]) -> None:
    """Refuses a file that is not the one that the JSON beside it describes."""
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return
    problem = "JSON does not describe it; expected the file that was written with it"
    with _refusing(problem, repr(str(beside))):
        told = schemas.read(beside, schemas.BESIDE, _MOST_JSON_BYTES)
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


def _load_in_another_process(path: Path) -> None:
    command = [sys.executable, "-c", _LOADING, os.fspath(path)]
    options: dict[str, Any] = {
        "capture_output": True,
        "text": True,
        "errors": "replace",
    }
    problem = "file cannot be loaded; expected it as it was written"
    with _refusing(problem, repr(str(path))):
        try:
            subprocess.run(command, check=True, timeout=_LOADING_SECONDS, **options)
        except subprocess.TimeoutExpired:
            reason = f"loading it did not end in {_LOADING_SECONDS} seconds"
            raise ValueError(reason) from None
        except subprocess.CalledProcessError as error:
            said = error.stderr.strip().splitlines()
            reason = said[-1] if said else f"exit code {error.returncode}"
            raise ValueError(reason) from None
