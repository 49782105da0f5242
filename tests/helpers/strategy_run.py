"""Training on several replicas that share a processor, run by tests/test_strategies.py.

    python tests/helpers/strategy_run.py WEIGHTS IMAGES.npz OUT.npz CASE

CASE is JSON: `replicas`, 0 for no strategy at all, and arguments of `from_backbones`,
`compile` and `fit`.
"""

import contextlib
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import egan_keras as ek

TINY = "MobileNet:alpha=0.25"


def mirrored(replicas: int):
    """Returns a strategy of so many devices, before TensorFlow starts."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * replicas
    tf.config.set_logical_device_configuration(cpu, parts)
    devices = [f"CPU:{number}" for number in range(replicas)]
    return tf.distribute.MirroredStrategy(devices)


def noise(model, strategy) -> list[np.ndarray]:
    """Returns what each replica's generator would add to a latent vector."""
    layer = model.generator.tail.get_layer("noise")
    drawn = strategy.run(lambda: layer(tf.zeros((3, 2)), training=True))
    return [each.numpy() for each in strategy.experimental_local_results(drawn)]


def main() -> None:
    """Trains, validates, calibrates, scores, saves and loads."""
    weights, images_path, out, case = sys.argv[1:]
    case = json.loads(case)
    strategy = mirrored(case["replicas"]) if case["replicas"] else None
    arrays = np.load(images_path)
    images, labels = arrays["images"], arrays["labels"]
    keras.utils.set_random_seed(0)
    scope = strategy.scope if strategy else contextlib.nullcontext
    with scope():
        model = ek.EGAN.from_backbones(
            TINY, TINY, image_shape=(32, 32, 3), weights=weights, **case["build"]
        )
        model.compile(metrics=["accuracy"], **case["compile"])
    history = model.fit(
        images,
        labels,
        verbose=0,
        validation_data=(images[:75], labels[:75]),
        shuffle=False,
        **case["fit"],
    ).history
    # Upside down they are images that training did not see.
    held_out = images[:, ::-1], labels
    results = {
        "logs": [history[name] for name in sorted(history)],
        "evaluated": model.evaluate(images, labels, verbose=0),
        "threshold": model.calibrate(*held_out, specificity=0.9).threshold,
        "scores": model.predict(images, verbose=0),
    }
    path = out.replace(".npz", ".keras")
    model.save(path)
    with scope():
        loaded = keras.saving.load_model(path)
    results["loaded_scores"] = loaded.predict(images, verbose=0)
    results["loaded_threshold"] = loaded.threshold
    for number, weight in enumerate(model.trainable_weights):
        results[f"weight_{number}"] = keras.ops.convert_to_numpy(weight)
    if strategy and model.recipe.latent_noise:
        results["noise"] = noise(model, strategy)
    # A loaded model can be trained on.
    loaded.fit(images, labels, verbose=0, **{**case["fit"], "epochs": 1})
    np.savez(out, names=sorted(history), **results)


if __name__ == "__main__":
    main()
