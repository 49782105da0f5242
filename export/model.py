"""Loads an exported model so that a damaged file ends in a message, and scores.

    from model import load

    model = load("egan.tflite")
    score, is_minority = model.score(pixels)  # uint8 (height, width, 3)

Damaged files can end the process in which the runtime loads them. So the bytes are
checked first (`structure`), compared with the SHA-256 in the JSON beside the model if
there is one, and then loaded and run once by another process (`trial`).
"""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from description import (
    Description,
    ModelError,
    check_agreement,
    check_threshold,
    describe,
    read_beside,
)
from flatbuffer import DamagedError
from structure import check_structure
from threshold import threshold_in

SIGNATURE = "serving_default"
INPUT = "images"
SCORE = "score"
IS_MINORITY = "is_minority"
HEAT_MAP = "heat_map"
MAX_MODEL_BYTES = 2 * 1024**3
# What `trial` exits with when it could say what is wrong.
REFUSED = 2

_TRIAL = Path(__file__).with_name("trial.py")
_TRIAL_SECONDS = 120


class Result(NamedTuple):
    """A score (high = majority, low = minority), and 1 for minority or 0."""

    score: float
    is_minority: int


class Model:
    """A model in this process. Use `load`, which checks the file first.

    Several threads may use one; they take turns.

    Attributes:
        has_heat_maps: whether it tells where an image speaks for minority.

    Args:
        data: the .tflite file.
        description: what the file says of itself.
        threads: that share the work on one image.

    Raises:
        ModelError: if the runtime refuses the model, or it is not as described.
    """

    def __init__(self, data: bytes, description: Description, threads: int = 1) -> None:
        self.description = description
        # The runtime has one set of buffers.
        self._lock = threading.Lock()
        try:
            interpreter = Interpreter(model_content=data, num_threads=threads)
            interpreter.allocate_tensors()
            self._run = interpreter.get_signature_runner(SIGNATURE)
            inputs, outputs = (
                {name: tuple(map(int, found["shape"])) for name, found in details}
                for details in (
                    self._run.get_input_details().items(),
                    self._run.get_output_details().items(),
                )
            )
            dtype = self._run.get_input_details()[INPUT]["dtype"]
        except (ValueError, RuntimeError, KeyError, TypeError) as error:
            raise ModelError(_refused(description.path, error)) from error
        wanted = (1, description.height, description.width, 3)
        if inputs != {INPUT: wanted} or np.dtype(dtype) != description.dtype:
            raise ModelError(
                "The network's input is not the one the model describes; expected "
                f"{INPUT} {wanted} {description.dtype}. Received: {inputs} "
                f"{np.dtype(dtype)} in {str(description.path)!r}. Export the model "
                "again."
            )
        if not {SCORE, IS_MINORITY} <= outputs.keys():
            raise ModelError(
                f"The network has not the outputs {SCORE} and {IS_MINORITY}. "
                f"Received: {sorted(outputs)} in {str(description.path)!r}. Export the "
                "model again."
            )
        self.has_heat_maps = HEAT_MAP in outputs

    @property
    def size(self) -> tuple[int, int]:
        """The (height, width) of the images the model takes."""
        return self.description.height, self.description.width

    def score(self, image: np.ndarray) -> Result:
        """Score one image.

        Args:
            image: RGB pixels, uint8 (height, width, 3) of the model's size, 0..255.

        Raises:
            ValueError: if the image has another shape or type.
            ModelError: if the runtime fails or the score is not a number.
        """
        return self._answers(image)[0]

    def score_and_heat_map(self, image: np.ndarray) -> tuple[Result, np.ndarray]:
        """Score one image, and tell where it speaks for minority, float (h, w).

        0 is as telling as the most telling places of usual majority images, and 1 is
        enough to bring an image that is usual in all else to score 0. Arguments and
        errors are those of `score`.

        Raises:
            ModelError: if the model was exported without heat maps, too.
        """
        if not self.has_heat_maps:
            raise ModelError(
                "The model gives scores alone; expected one that `egan-keras export "
                f"--heat-map` wrote. Received: model={str(self.description.path)!r}. "
                "Export it again."
            )
        result, found = self._answers(image)
        return result, found[HEAT_MAP][0]

    def _answers(self, image: np.ndarray) -> tuple[Result, dict[str, np.ndarray]]:
        """Return the result, and all that the network puts out."""
        if image.shape != (*self.size, 3) or image.dtype != np.uint8:
            raise ValueError(
                f"The image does not fit the model; expected uint8 {(*self.size, 3)}. "
                f"Received: {image.dtype} {image.shape}. Resize it with "
                "images.decode_image(path, model.size)."
            )
        try:
            pixels = image[np.newaxis].astype(self.description.dtype)
            with self._lock:
                found = self._run(**{INPUT: pixels})
            score, is_minority = (
                float(found[name].reshape(())) for name in (SCORE, IS_MINORITY)
            )
        except (ValueError, RuntimeError, TypeError) as error:
            raise ModelError(_refused(self.description.path, error)) from error
        if not np.isfinite(score) or is_minority not in (0, 1):
            raise ModelError(
                f"The model answers score {score} and {IS_MINORITY} {is_minority}; "
                "expected a number, and 0 or 1. Received: "
                f"model={str(self.description.path)!r}. Copy the file again."
            )
        return Result(score, int(is_minority)), found


def load(path: str | os.PathLike, *, threads: int = 1, trust: bool = False) -> Model:
    """Check a model file and load it.

    Args:
        path: the .tflite file.
        threads: that share the work on one image.
        trust: leave out the trial in another process.

    Raises:
        FileNotFoundError: if there is no such file.
        ChangedModelError: if the JSON beside it describes another file, or this one
            otherwise than it does itself.
        ModelError: if the file is damaged or none that egan_keras exported.
    """
    path = Path(path)
    data = read(path)
    beside = read_beside(path, data)
    description = check(path, data)
    check_agreement(beside, description)
    if not trust:
        try_in_child(path, data)
    return Model(data, description, threads)


def read(path: Path) -> bytes:
    """Return the bytes of a model file.

    Raises:
        FileNotFoundError: if there is no such file.
        ModelError: if it is larger than any model.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no such model file. Received: model={str(path)!r}. Name a "
            ".tflite file written by `egan-keras export`."
        )
    if path.stat().st_size > MAX_MODEL_BYTES:
        raise ModelError(
            f"The model file is larger than {MAX_MODEL_BYTES} bytes. Received: "
            f"model={str(path)!r}. Name a .tflite file."
        )
    return path.read_bytes()


def check(path: Path, data: bytes) -> Description:
    """Check the structure of a model's bytes and return what they say of the model.

    Raises:
        ModelError: if they are damaged, not from egan_keras, or tell another threshold
            than the network has in it.
    """
    try:
        metadata = check_structure(data)
        description = describe(path, metadata)
        check_threshold(description, threshold_in(data))
    except DamagedError as error:
        raise ModelError(
            f"The file is no undamaged .tflite model: {error}. Received: "
            f"model={str(path)!r}. Copy the file again."
        ) from error
    return description


def try_in_child(path: Path, data: bytes) -> None:
    """Let another process load the model and score one image.

    Args:
        path: the model, for messages.
        data: its bytes.

    Raises:
        ModelError: if that process fails, crashes, or does not end.
    """
    try:
        child = subprocess.run(
            [sys.executable, str(_TRIAL), str(path)],
            input=data,
            capture_output=True,
            timeout=_TRIAL_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"A trial of the model did not end in {_TRIAL_SECONDS} seconds. Received: "
            f"model={str(path)!r}. Copy the file again, or leave out the trial with "
            "--trust (in Python: trust=True)."
        ) from error
    said = child.stderr.decode(errors="replace").strip().splitlines() or [""]
    if child.returncode == REFUSED:
        raise ModelError(said[-1])
    if child.returncode:
        how = f"exit code {child.returncode}: {said[-1]}"
        if child.returncode < 0:
            how = f"signal {-child.returncode}, a crash"
        raise ModelError(
            f"The model ended the process that tried it ({how}). Received: "
            f"model={str(path)!r}. Copy the file again."
        )


def _refused(path: Path, error: Exception) -> str:
    """Return a message in one line for what the runtime raised."""
    said = " ".join(str(error).split()).rstrip(".")
    return (
        f"The runtime refuses the model: {said}. Received: model={str(path)!r}. Copy "
        "the file again, or update ai-edge-litert."
    )
