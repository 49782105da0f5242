"""From a model to a SavedModel, and from that to the bytes of a .tflite file."""

import errno
import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from keras import ops

from egan_keras import networks
from egan_keras.exporting.int8 import quantize_int8
from egan_keras.exporting.tflite_model import Scorer, scores_of
from egan_keras.features.inference import SIGNATURE, save_function

if TYPE_CHECKING:
    from egan_keras.model import EGAN

FORMS = ("none", "float16", "dynamic", "int8")
# More take memory and hardly less time.
_BATCH_SIZE = 16


def write_saved_model(
    model: "EGAN",
    folder: str | os.PathLike,
    input_dtype: str,
    batch_size: int | None,
    heat_map: bool = False,
    *,
    to_convert: bool = True,
) -> None:
    """Writes the discriminator and its threshold as a SavedModel.

    Its endpoint is as `export_saved_model` says, which has the same arguments;
    `to_convert` is as in `save_function`. An `OSError` says why it cannot be written.
    """
    discriminator, threshold = model.discriminator, model.threshold
    both = networks.ScoreAndHeatMap(discriminator) if heat_map else None
    images = tf.TensorSpec((batch_size, *model.image_shape), input_dtype, name="images")

    def serve(images):
        pixels, of_places = ops.cast(images, "float32"), {}
        if both is None:
            scores = discriminator(pixels, training=False)
        else:
            scores, of_places["heat_map"] = both(pixels)
        # A number, because the browser's runtime takes no bool.
        is_minority = ops.cast(scores < threshold, "float32")
        return {"score": scores, "is_minority": is_minority, **of_places}

    try:
        save_function(serve, images, folder, to_convert=to_convert)
    except tf.errors.OpError as error:
        said = " ".join(str(error.message).split())
        is_full = "No space left" in said or "quota" in said
        raise OSError(
            errno.ENOSPC if is_full else errno.EIO,
            f"TensorFlow cannot write the SavedModel ({said[-200:]})",
            os.fspath(folder),
        ) from error


class SavedModelScorer(Scorer):
    """Scores images with a SavedModel, as an `EGAN` does with Keras.

    What it is to tell of itself is as `model_card.describe` returns it.
    """

    def __init__(self, folder: str | os.PathLike, told: dict[str, Any]) -> None:
        # Its functions do not keep it alive, nor its variables.
        self._loaded = tf.saved_model.load(os.fspath(folder))
        self.metadata = told

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns the scores (n, 1) of RGB pixels 0..255, (n, height, width, 3)."""
        given = self.metadata["input"]

        def run(part: np.ndarray) -> np.ndarray:
            return self._loaded.serve(tf.constant(part))["score"].numpy()

        return scores_of(run, images, given["dtype"], given["shape"][0] or _BATCH_SIZE)


def convert(
    saved_model: str | os.PathLike,
    form: str,
    *,
    representative: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> bytes:
    """Converts a SavedModel with TFLite's built-in operators alone.

    The representative images (n, h, w, 3), 0..255, set the ranges of int8; without
    labels, most of them are of the majority. A `ValueError` if the architecture has
    operators that TFLite lacks, or none that int8 is for.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(
        os.fspath(saved_model), signature_keys=[SIGNATURE]
    )
    if form in ("float16", "dynamic"):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form == "float16":
        converter.target_spec.supported_types = [tf.float16]
    try:
        content = converter.convert()
    # It answers with errors of many types.
    except Exception as error:
        problem = "TFLite's converter failed; expected a network that it can convert"
        said = (str(error).strip().splitlines() or [""])[0][:300]
        received = f"{type(error).__name__}: {said}"
        if named := sorted(set(re.findall(r"'tfl?\.(\w+)' op", str(error)))):
            problem = "A part has no built-in operator in TFLite; expected one for each"
            received = ", ".join(named)
        raise ValueError(
            f"{problem}. Received: {received}. Choose another backbone, or export a "
            "SavedModel."
        ) from error
    return quantize_int8(content, representative, labels) if form == "int8" else content
