"""A tiny model exported to .tflite with all that travels with one, in seconds."""

import hashlib
import json
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from PIL import Image

HEIGHT, WIDTH = 24, 32
THRESHOLD = -0.8


class _Tiny(tf.Module):
    """Two convolutions and a dense layer with seeded weights, scores around 0."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._first = tf.constant(random.normal(0, 0.3, (3, 3, 3, 8)), tf.float32)
        self._each = tf.constant(random.normal(0, 0.3, (3, 3, 8, 1)), tf.float32)
        self._last = tf.constant(random.normal(0, 2, (8, 1)), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, HEIGHT, WIDTH, 3), name="images")])
    def serve(self, images):
        hidden = tf.nn.relu6(tf.nn.conv2d(images / 255 - 0.5, self._first, 2, "SAME"))
        hidden = tf.nn.depthwise_conv2d(hidden, self._each, [1, 1, 1, 1], "SAME")
        score = tf.reduce_mean(hidden, (1, 2)) @ self._last
        return {"score": score, "is_minority": tf.cast(score < THRESHOLD, tf.float32)}


def export_tiny(folder: Path, quantize: str = "float32") -> Path:
    """Writes tiny.tflite, tiny.json and tiny_golden/*.png; returns the model's path."""
    random = np.random.default_rng(1)
    coarse = random.integers(0, 256, (16, HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    images = coarse.repeat(8, axis=1).repeat(8, axis=2)
    metadata = _metadata(quantize)
    data = _add_metadata(_convert(folder, images, quantize), json.dumps(metadata))
    path = folder / "tiny.tflite"
    path.write_bytes(data)
    beside = {
        **metadata,
        "file": {
            "name": path.name,
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
        },
        "golden": {"tolerance": 0.001, "images": _golden(data, folder, images[:4])},
    }
    path.with_suffix(".json").write_text(json.dumps(beside))
    return path


def _convert(folder: Path, images: np.ndarray, quantize: str) -> bytes:
    module = _Tiny()
    saved = str(folder / "saved")
    tf.saved_model.save(module, saved, signatures={"serving_default": module.serve})
    converter = tf.lite.TFLiteConverter.from_saved_model(saved)
    if quantize == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            ("serving_default", {"images": image[None].astype(np.float32)})
            for image in images
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
    return converter.convert()


def _add_metadata(data: bytes, text: str) -> bytes:
    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(data))
    buffer = schema.BufferT()
    buffer.data = list(text.encode())
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"egan_keras", len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _golden(data: bytes, folder: Path, images: np.ndarray) -> list[dict]:
    run = Interpreter(model_content=data).get_signature_runner("serving_default")
    dtype = run.get_input_details()["images"]["dtype"]
    (folder / "tiny_golden").mkdir()
    samples = []
    for number, image in enumerate(images):
        name = f"tiny_golden/{number:02d}.png"
        Image.fromarray(image).save(folder / name)
        found = run(images=image[None].astype(dtype))
        samples.append(
            {
                "file": name,
                "score": float(found["score"][0, 0]),
                "is_minority": int(found["is_minority"][0, 0]),
            }
        )
    return samples


def _metadata(quantize: str) -> dict:
    return {
        "format": "egan-keras",
        "format_version": 1,
        "package_version": "0.1.0",
        "quantize": quantize,
        "pairing": "tiny->tiny",
        "recipe": "default",
        "input": {
            "name": "images",
            "dtype": "uint8" if quantize == "int8" else "float32",
            "shape": [1, HEIGHT, WIDTH, 3],
            "colour_order": "RGB",
            "range": [0, 255],
            "resize": "stretch",
        },
        "classes": {"majority": ["good"], "minority": ["scratched", "dented"]},
        "threshold": {
            "calibrated": True,
            "threshold": THRESHOLD,
            "guarantee": "At least 95% of majority images score at or above it.",
        },
    }
