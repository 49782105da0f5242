"""From a model to a SavedModel, and from that to the bytes of a .tflite file."""

import errno
import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from egan_keras import networks
from egan_keras.data.lazy import in_batches
from egan_keras.exporting.quantization import quantize_int8

if TYPE_CHECKING:
    from egan_keras.model import EGAN

# What TensorFlow Serving and LiteRT call the only thing that a model does.
SIGNATURE = "serving_default"
FORMS = ("none", "float16", "dynamic", "int8")
INPUT_DTYPES = ("uint8", "float32")
# What a SavedModel takes on the disk: Keras puts each weight into it twice, and the
# graph grows with their number.
_TIMES_WEIGHTS = 2.1
_BYTES_A_WEIGHT = 10_000
_LEAST_BYTES = 1_000_000
_BATCH_SIZE = 64


def check_exportable(model: "EGAN", input_dtype: str, batch_size: int | None) -> None:
    """Refuses models and options that cannot be exported, before any work."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Models are exported by TensorFlow; expected KERAS_BACKEND=tensorflow, the "
            f"default. Received: KERAS_BACKEND={keras.backend.backend()}. Save the "
            "model, and export it in a program (or by egan-keras export) that runs on "
            "TensorFlow; its scores are the same."
        )
    if networks.is_mixed(model.discriminator):
        raise ValueError(
            "Models are exported in float32; expected one whose layers compute in it. "
            f"Received: a model of the policy {model.dtype_policy.name}. Export "
            "model.in_float32() in its place, after calibrating it: its scores differ."
        )
    if len(model.image_shape) != 3:
        raise ValueError(
            "A model that was built on features has no backbone to export; expected "
            "one that takes images. Received: a model of inputs "
            f"{(None, *model.image_shape)}. Build it with EGAN.from_backbones."
        )
    if input_dtype not in INPUT_DTYPES:
        raise ValueError(
            f"Unknown type of pixels; expected one of {', '.join(INPUT_DTYPES)}. "
            f"Received: input_dtype={input_dtype!r}."
        )
    if batch_size not in (1, None):
        raise ValueError(
            "The batch is fixed at 1 image or free; expected batch_size=1 or None. "
            f"Received: batch_size={batch_size!r}."
        )


def bytes_needed(model: "EGAN", *, with_tflite: bool) -> float:
    """Returns about how many bytes a SavedModel takes, and a .tflite file beside it."""
    weights = 4 * model.discriminator.count_params()
    graph = _LEAST_BYTES + _BYTES_A_WEIGHT * len(model.discriminator.weights)
    return graph + (_TIMES_WEIGHTS + with_tflite) * weights


def write_saved_model(
    model: "EGAN",
    folder: str | os.PathLike,
    *,
    threshold: float,
    input_dtype: str,
    batch_size: int | None,
) -> None:
    """Writes the discriminator and its threshold as a SavedModel.

    Its endpoint `serve`, also the signature `serving_default`, takes `images`, RGB
    pixels 0..255 (n, height, width, 3), and gives `score`, float32 (n, 1), and
    `is_minority`, float32 (n, 1), 1 where the score is below the threshold.

    Args:
        model: An `EGAN`.
        folder: Where to write; an `OSError` says where it cannot be.
        threshold: An image is minority when its score is below it.
        input_dtype: `"uint8"` or `"float32"`.
        batch_size: 1 for a fixed batch, `None` for a free one.
    """
    discriminator = model.discriminator

    def serve(images):
        scores = discriminator(ops.cast(images, "float32"), training=False)
        # A number, because the browser's runtime takes no bool.
        is_minority = ops.cast(scores < threshold, "float32")
        return {"score": scores, "is_minority": is_minority}

    archive = keras.export.ExportArchive()
    archive.track(discriminator)
    images = tf.TensorSpec((batch_size, *model.image_shape), input_dtype, name="images")
    archive.add_endpoint("serve", serve, input_signature=[images])
    try:
        archive.write_out(folder, verbose=False)
    except tf.errors.OpError as error:
        said = " ".join(str(error.message).split())
        is_full = "No space left" in said or "quota" in said
        raise OSError(
            errno.ENOSPC if is_full else errno.EIO,
            f"TensorFlow cannot write the SavedModel ({said[-200:]})",
            os.fspath(folder),
        ) from error


def saved_model_scorer(
    folder: str | os.PathLike, input_dtype: str, batch_size: int | None
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns what gives the scores (n, 1) of images by a SavedModel."""
    # Its functions do not keep it alive, nor its variables.
    loaded = tf.saved_model.load(os.fspath(folder))

    def predict(images: np.ndarray) -> np.ndarray:
        parts = in_batches(images, batch_size or _BATCH_SIZE)
        scored = (loaded.serve(tf.constant(part.astype(input_dtype))) for part in parts)
        return np.concatenate([outputs["score"].numpy() for outputs in scored])

    return predict


def convert(
    saved_model: str | os.PathLike,
    form: str,
    *,
    representative: np.ndarray | None = None,
    labels: np.ndarray | None = None,
) -> bytes:
    """Converts a SavedModel with TFLite's built-in operators alone.

    Args:
        saved_model: Its folder.
        form: `"none"` for float32, `"float16"` for weights of 16 bits, `"dynamic"`
            for weights of 8 bits, `"int8"` for weights and activations of 8 bits.
        representative: Images (n, h, w, 3), 0..255, whose activations set the ranges
            of int8.
        labels: Of these images, (n,), 0 = majority; `None` if most are.

    Raises:
        ValueError: If the architecture has operators that TFLite lacks, or none that
            int8 is for.
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
            problem = (
                "The architecture cannot be converted: TFLite has no built-in operator "
                "for a part of it; expected built-in operators alone"
            )
            received = ", ".join(named)
        raise ValueError(
            f"{problem}. Received: {received}. Choose another backbone, or export a "
            "SavedModel."
        ) from error
    if form == "int8":
        return quantize_int8(content, representative, labels)
    return content
