"""From a float .tflite file to one that computes with integers of 8 bits.

Three things keep the scores what they were. Biases are corrected for the rounding of
weights. What follows the last convolution stays float, with weights of 8 bits. The
first layers, whose few weights see contrasts that 256 steps blur, stay float as far as
the scores of the representative images ask for it.
"""

import bisect
import contextlib
import io
import re
import warnings

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import qtyping, quantizer

from egan_keras.exporting.bias_correction import (
    Activations,
    correct_biases,
    observe,
)
from egan_keras.exporting.flatbuffer import Flatbuffer

# An error of the scores by this part of their deviation over the majority changes
# about 0.4 % of the decisions at a specificity of 95 %.
_TOLERANCE = 0.05
# Float weights take four times the room of integers.
_LARGEST_FLOAT_PART = 0.12

# What is fast in integers. Others, such as products and sums with constants of batch
# normalisation, lose more with one step for all channels than they save.
_INTEGER_KINDS = (
    "ADD",
    "AVERAGE_POOL_2D",
    "CONCATENATION",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "MAX_POOL_2D",
    "PAD",
    "RELU",
    "RESHAPE",
)


def quantize_int8(
    content: bytes, representative: np.ndarray, labels: np.ndarray | None = None
) -> bytes:
    """Quantises weights and activations of the backbone to 8 bits.

    Inputs and outputs keep their names and types. The same file and images give the
    same bytes, and another threshold in the file the same scores.

    Args:
        content: The bytes of a float .tflite file: one input, `images`, pixels 0..255,
            uint8 or float32; one of its outputs is `score`, float32 (1, 1).
        representative: Training images of both classes, uint8 (n, h, w, 3), about a
            hundred. They set ranges and means of activations, and how many layers stay
            float.
        labels: Of these images, (n,), 0 = majority. Needed where a third of them or
            more are minority.

    Raises:
        ValueError: If images or labels do not fit the model, or it has no convolution.
    """
    _check_images(content, representative, labels)
    content, graph = _with_short_names(content)
    activations = observe(content, representative)
    before = _scores(content, representative)
    spread = _deviation(before if labels is None else before[np.asarray(labels) == 0])
    integer = _operators_before_the_head(graph)

    def quantized_from(first: int) -> bytes:
        places = [place for place in integer if place >= first]
        return _quantized(content, activations, places)

    def is_good(first: int) -> bool:
        after = _scores(quantized_from(first), representative)
        return np.std(after - before) <= _TOLERANCE * spread

    # The first start that is good; the last one where none is.
    starts = _places_to_start(graph)
    return quantized_from(starts[bisect.bisect_left(starts[:-1], True, key=is_good)])


def quantize_after(
    content: bytes, n_float_layers: int, representative: np.ndarray
) -> bytes:
    """Quantises as `quantize_int8` does, with so many convolutions left in float.

    Args:
        content: The bytes of a float .tflite file with one input, `images`.
        n_float_layers: How many of the first convolutions stay float.
        representative: As for `quantize_int8`.

    Raises:
        ValueError: If the images do not fit the model, or it has no convolution.
    """
    _check_images(content, representative, None)
    content, graph = _with_short_names(content)
    first = graph.convolutions[n_float_layers]
    places = [place for place in _operators_before_the_head(graph) if place >= first]
    return _quantized(content, observe(content, representative), places)


def _with_short_names(content: bytes) -> tuple[bytes, Flatbuffer]:
    graph = Flatbuffer(content)
    if not graph.convolutions:
        raise ValueError(
            "The model has no convolution; expected a backbone to quantise. Received: "
            f"operators={sorted(set(graph.kinds))}. Export it with another form."
        )
    graph.shorten_names()
    return graph.to_bytes(), graph


def _check_images(
    content: bytes, images: np.ndarray, labels: np.ndarray | None
) -> None:
    interpreter = Interpreter(model_content=content)
    expected = tuple(int(side) for side in interpreter.get_input_details()[0]["shape"])
    shape = np.shape(images)
    if len(shape) != 4 or shape[1:] != expected[1:] or len(images) == 0:
        raise ValueError(
            "Representative images do not fit the model; expected one or more of shape "
            f"{expected[1:]}. Received: shape={shape}. Pass training images as the "
            "model takes them."
        )
    if labels is None:
        return
    if np.shape(labels) != shape[:1] or not np.any(np.asarray(labels) == 0):
        raise ValueError(
            "Labels do not fit the representative images; expected one for each, and "
            f"0 for some. Received: shape={np.shape(labels)}, "
            f"values={np.unique(labels).tolist()}. Pass the labels of these images."
        )


def _scores(content: bytes, images: np.ndarray) -> np.ndarray:
    """Returns the scores of images, (n,)."""
    runner = Interpreter(model_content=content).get_signature_runner()
    dtype = runner.get_input_details()["images"]["dtype"]
    return np.array(
        [runner(images=image[None].astype(dtype))["score"].item() for image in images]
    )


def _deviation(scores: np.ndarray) -> float:
    """Returns the standard deviation of normal scores, whatever a few others are."""
    return 1.4826 * float(np.median(np.abs(scores - np.median(scores))))


def _operators_before_the_head(graph: Flatbuffer) -> list[int]:
    """Returns operators that can be of integers and that a convolution depends on."""
    needed = set()
    found = []
    for place in reversed(range(graph.convolutions[0], len(graph.operators))):
        operator = graph.operators[place]
        is_convolution = place in graph.convolutions
        if not is_convolution and not needed & set(operator.outputs):
            continue
        needed |= set(operator.inputs)
        has_constant = any(
            graph.constant(tensor) is not None for tensor in operator.inputs
        )
        if is_convolution or (
            graph.kinds[place] in _INTEGER_KINDS and not has_constant
        ):
            found.append(place)
    return found[::-1]


def _places_to_start(graph: Flatbuffer) -> list[int]:
    """Returns the convolutions that may be the first of integers."""
    weights = [
        np.prod(graph.shape(graph.operators[place].inputs[1]))
        for place in graph.convolutions
    ]
    before = np.cumsum(weights) - weights
    allowed = np.count_nonzero(before <= _LARGEST_FLOAT_PART * np.sum(weights))
    return graph.convolutions[:allowed]


def _quantized(content: bytes, activations: Activations, places: list[int]) -> bytes:
    """Quantises some operators, and the weights of the head's matrix products."""
    graph = Flatbuffer(content)
    convolutions = [place for place in places if place in graph.convolutions]
    corrected = correct_biases(content, activations, convolutions)
    tool = quantizer.Quantizer(bytearray(corrected))
    tool.add_dynamic_config(".*", qtyping.TFLOperationName.FULLY_CONNECTED, 8)
    for kind in sorted({graph.kinds[place] for place in places}):
        names = [
            re.escape(graph.name(graph.operators[place].outputs[0]))
            for place in places
            if graph.kinds[place] == kind
        ]
        tool.add_static_config(
            f"^({'|'.join(names)});?$", qtyping.TFLOperationName(kind), 8, 8
        )
    ranges = {
        graph.name(tensor): {
            "min": np.full((1,) * len(graph.shape(tensor)), low, "float32"),
            "max": np.full((1,) * len(graph.shape(tensor)), high, "float32"),
        }
        for tensor, (low, high) in activations.ranges.items()
    }
    # Its progress bars cannot be turned off, and it warns of its own use of memory.
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            result = tool.quantize(
                ranges, enable_progress_bar=False, enable_progress_report=False
            )
        # It answers with errors of many types.
        except Exception as error:
            raise ValueError(
                "The quantiser failed; expected a network that it can quantise. "
                f"Received: {type(error).__name__}: {str(error)[:300]}. Export it in "
                "another form, or choose another backbone."
            ) from error
    return bytes(result.quantized_model)
