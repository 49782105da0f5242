"""One worker of a training on several machines, run by tests/test_workers.py.

    TF_CONFIG=... python tests/worker_run.py WEIGHTS IMAGES.npz OUT.npz CASE

Without TF_CONFIG one process does all. CASE is JSON: arguments of `from_backbones`,
`compile` and `fit`; `backup`, a folder; `dies_after`, epochs; `as_dataset`; `seed`.
"""

import contextlib
import json
import os
import signal
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import egan_keras as ek
from egan_keras import features

TINY = "MobileNet:alpha=0.25"


class Die(keras.callbacks.Callback):
    """Ends the process as a power failure does."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epochs:
            os.kill(os.getpid(), signal.SIGKILL)


def count_images() -> list[int]:
    """Returns a list to which the numbers of images are added that pass a stem."""
    counts, call = [], features.StemFunction.__call__

    def counting(self, images):
        counts.append(len(images))
        return call(self, images)

    features.StemFunction.__call__ = counting
    return counts


def training_data(arrays, as_dataset: bool) -> tuple:
    """Returns what `fit` is given."""
    images, labels = arrays["images"], arrays["labels"]
    if not as_dataset:
        return images, labels
    return (tf.data.Dataset.from_tensor_slices((images, labels)).batch(10),)


def main() -> None:
    """Trains, validates, calibrates, scores and saves."""
    weights, images_path, out, case = sys.argv[1:]
    case = json.loads(case)
    strategy = None
    if "TF_CONFIG" in os.environ:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    arrays = np.load(images_path)
    images, labels = arrays["images"], arrays["labels"]
    keras.utils.set_random_seed(case.get("seed", 0))
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = ek.EGAN.from_backbones(
            TINY, TINY, image_shape=(32, 32, 3), weights=weights, **case["build"]
        )
        model.compile(metrics=["accuracy"], **case["compile"])
    callbacks = []
    if "backup" in case:
        callbacks.append(keras.callbacks.BackupAndRestore(case["backup"]))
    if "dies_after" in case:
        callbacks.append(Die(case["dies_after"]))
    counts = count_images()
    history = model.fit(
        *training_data(arrays, case.get("as_dataset", False)),
        verbose=2,
        validation_data=(images[:75], labels[:75]),
        callbacks=callbacks,
        **case["fit"],
    )
    in_fit = sum(counts)
    logs = history.history
    # Upside down they are images that training did not see.
    held_out = images[:, ::-1], labels
    results = {
        "logs": [logs[name] for name in sorted(logs)],
        "evaluated": model.evaluate(images, labels, verbose=0),
        "threshold": model.calibrate(*held_out, specificity=0.9).threshold,
        "scores": model.predict(images, verbose=0),
    }
    # What is shuffled from here on.
    order = tf.data.Dataset.range(50).shuffle(50)
    results["order"] = list(order.as_numpy_iterator())
    for number, weight in enumerate(model.trainable_weights):
        results[f"weight_{number}"] = keras.ops.convert_to_numpy(weight)
    model.save(out.replace(".npz", ".keras"))
    np.savez(
        out, names=sorted(logs), epochs=history.epoch, images_in_fit=in_fit, **results
    )


if __name__ == "__main__":
    main()
