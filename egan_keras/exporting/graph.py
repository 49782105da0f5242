"""The graph that leaves: the discriminator with its threshold, as a SavedModel."""

import errno
import os
from typing import TYPE_CHECKING

import keras
import tensorflow as tf
from keras import ops

from egan_keras import networks

if TYPE_CHECKING:
    from egan_keras.model import EGAN

# What TensorFlow Serving and LiteRT call the only thing that a model does.
SIGNATURE = "serving_default"
INPUT_DTYPES = ("uint8", "float32")
# What a SavedModel takes on the disk: Keras puts each weight into it twice, and the
# graph grows with their number.
_TIMES_WEIGHTS = 2.1
_BYTES_A_WEIGHT = 10_000
_LEAST_BYTES = 1_000_000


def check_exportable(model: "EGAN", input_dtype: str, batch_size: int | None) -> None:
    """Refuses what cannot be exported, before any work.

    Raises:
        ValueError: If Keras does not run on TensorFlow, the model computes in 16 bits
            or does not take images, or an option is unknown.
    """
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
    shape = model.image_shape
    if len(shape) != 3:
        raise ValueError(
            "A model that was built on features has no backbone to export; expected "
            f"one that takes images. Received: a model of inputs {(None, *shape)}. "
            "Build it with EGAN.from_backbones."
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


def weights_bytes(model: "EGAN") -> int:
    """Returns how many bytes the weights that leave take, in float32."""
    return 4 * model.discriminator.count_params()


def saved_model_bytes(model: "EGAN") -> float:
    """Returns about how many bytes `write_saved_model` will write."""
    count = len(model.discriminator.weights)
    graph = _LEAST_BYTES + _BYTES_A_WEIGHT * count
    return graph + _TIMES_WEIGHTS * weights_bytes(model)


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
        folder: Where to write.
        threshold: An image is minority when its score is below it.
        input_dtype: `"uint8"` or `"float32"`.
        batch_size: 1 for a fixed batch, `None` for a free one.

    Raises:
        OSError: If it cannot be written.
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
