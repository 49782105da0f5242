"""From a SavedModel to the bytes of an .onnx file, and scoring with one.

tf2onnx and onnxruntime come with `pip install 'egan-keras[onnx]'`.
"""

import importlib.util
import json
import logging
import os
from typing import Any

import numpy as np

from egan_keras.exporting.tflite_model import Scorer, scores_of

METADATA_ENTRY = "egan_keras"

_PACKAGES = ("onnx", "onnxruntime", "tf2onnx")
_BATCH_SIZE = 64
_ERRORS_ALONE = 3


def check_installed() -> None:
    """Raises an `ImportError` that says what to install where something lacks."""
    lacking = [name for name in _PACKAGES if not importlib.util.find_spec(name)]
    if lacking:
        raise ImportError(
            f"Exports to ONNX need packages that are not installed; expected "
            f"{', '.join(_PACKAGES)}. Received: none named {', '.join(lacking)}. "
            "Install them: pip install 'egan-keras[onnx]'."
        )


def convert(saved_model: str | os.PathLike, told: dict[str, Any]) -> bytes:
    """Converts a SavedModel of `write_saved_model`, which tells `told` of itself.

    A `ValueError` if the architecture has operators that ONNX lacks.
    """
    import onnx
    import tensorflow as tf
    import tf2onnx

    given = told["input"]
    images = tf.TensorSpec(given["shape"], given["dtype"], name=given["name"])
    loaded = tf.saved_model.load(os.fspath(saved_model))
    # It names what it cannot convert in its log alone, and goes on.
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    model, _ = tf2onnx.convert.from_function(
        loaded.serve, [images], custom_op_handlers={"Log1p": (_log1p, [])}
    )
    known = {each.domain: each.version for each in model.opset_import}
    lacking = {
        node.op_type
        for node in model.graph.node
        if not onnx.defs.has(node.op_type, known[node.domain], node.domain)
    }
    if lacking:
        raise ValueError(
            "A part has no operator in ONNX; expected one for each. Received: "
            f"{', '.join(sorted(lacking))}. Choose another backbone, or export a "
            "SavedModel."
        )
    if given["shape"][0] is None:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "n"
    text = json.dumps(told, allow_nan=False)
    onnx.helper.set_model_props(model, {METADATA_ENTRY: text})
    return model.SerializeToString()


class ONNXScorer(Scorer):
    """Scores images with onnxruntime, as an `EGAN` does with Keras.

    With plain kernels it computes operator by operator, without fusing any.
    """

    def __init__(self, content: bytes, *, plain_kernels: bool = False) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ALONE
        if plain_kernels:
            level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = level
        self._session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        entries = self._session.get_modelmeta().custom_metadata_map
        self.metadata = json.loads(entries[METADATA_ENTRY])

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Returns the scores (n, 1) of RGB pixels 0..255, (n, height, width, 3)."""
        given = self.metadata["input"]

        def run(part: np.ndarray) -> np.ndarray:
            return self._session.run(["score"], {given["name"]: part})[0]

        return scores_of(run, images, given["dtype"], given["shape"][0] or _BATCH_SIZE)


def _log1p(graph: Any, node: Any, name: str, arguments: list) -> None:
    """Makes log(1 + x), which ONNX has no operator for, of two that it has."""
    from tf2onnx.utils import make_name

    one = graph.make_const(make_name("one"), np.float32(1))
    node.type = "Log"
    graph.insert_new_node_on_input(node, "Add", [node.input[0], one.output[0]])
