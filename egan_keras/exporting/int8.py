"""From a float .tflite file to one of integers, whose scores stay what they were.

Three things keep them. Biases are corrected for the rounding of weights: a channel
whose inputs are far from 0 on average turns it into a shift, the same for every image,
and summed over the layers of MobileNetV2 such shifts are nine tenths of what 8 bits
cost. They are taken back as in Nagel et al. 2019 (arXiv 1906.04721), section 4.2, with
means of real images. What follows the last convolution stays float, with weights of 8
bits. The first layers, whose few weights see contrasts that 256 steps blur, stay float
as far as the scores of the images ask for it.
"""

import bisect
import contextlib
import copy
import io
import re
import warnings
from collections.abc import Iterable

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from keras import ops
from litert_quantizer import qtyping, quantizer

from egan_keras.exporting.tflite_graph import TFLiteGraph
from egan_keras.exporting.tflite_model import raw_scores

# An error of the scores by this part of their deviation over the majority changes
# about 0.4 % of the decisions at a specificity of 95 %.
_TOLERANCE = 0.05
# Float weights take four times the room of integers.
_LARGEST_FLOAT_PART = 0.12
# What is fast in integers. Others, such as products and sums with constants of batch
# normalisation, lose more with one step for all channels than they save.
_INTEGER_KINDS = (
    "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D MAX_POOL_2D PAD RELU "
    "RESHAPE"
).split()
_LARGEST_WEIGHT, _STEPS = 127, 255
# Half of what 32 bits hold.
_LARGEST_BIAS = 2**30
_SMALLEST = 1e-30
_SAME_PADDING = 0
_INSTEAD = "Export it in another form, or choose another backbone."


def quantize_int8(
    content: bytes, representative: np.ndarray, labels: np.ndarray | None = None
) -> bytes:
    """Quantises weights and activations of the backbone to 8 bits.

    The same file and images give the same bytes, and another threshold the same scores.
    Labels are needed where a third of the images or more are minority.
    """
    made = Int8Quantizer(content, representative, labels)
    before = raw_scores(content, representative)[:, 0]
    majority = before if labels is None else before[np.equal(labels, 0)]
    # The standard deviation of normal scores, whatever a few others are.
    spread = 1.4826 * np.median(np.abs(majority - np.median(majority)))

    def is_good(first: int) -> bool:
        after = raw_scores(made.quantized(first), representative)[:, 0]
        return np.std(after - before) <= _TOLERANCE * spread

    # The first start that is good; the last one where none is.
    starts = made.starts
    return made.quantized(starts[bisect.bisect_left(starts[:-1], True, key=is_good)])


class Int8Quantizer:
    """A float .tflite file, to be quantised from some convolution on.

    Of training images it takes the ranges of tensors, 0 among them, and the mean maps
    that convolutions read, (height, width, channels).
    """

    def __init__(
        self, content: bytes, images: np.ndarray, labels: np.ndarray | None = None
    ) -> None:
        self.graph = TFLiteGraph(content)
        if self.graph.n_graphs != 1 or not self.graph.convolutions:
            raise ValueError(
                "The model has branches or loops, or it has no convolution; expected a "
                f"backbone to quantise. Received: {self.graph.n_graphs} graphs, "
                f"operators={sorted(set(self.graph.kinds))}. {_INSTEAD}"
            )
        self.graph.shorten_names()
        kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        # Faster kernels would leave out tensors.
        interpreter = Interpreter(
            model_content=content,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=kernels,
        )
        shape = tuple(map(int, interpreter.get_input_details()[0]["shape"][1:]))
        known = np.zeros(len(images)) if labels is None else np.asarray(labels)
        fits = np.shape(images)[1:] == shape and known.shape == (len(images),)
        if not fits or not np.any(known == 0):
            raise ValueError(
                "Representative images or their labels do not fit the model; of images "
                f"expected one or more of shape {shape}, of labels expected one for "
                f"each, and 0 for some. Received: images of shape {np.shape(images)}, "
                f"labels of shape {known.shape}, values={np.unique(known).tolist()}. "
                "Pass training images of both classes as the model takes them."
            )
        self._observe(interpreter, images)

    @property
    def starts(self) -> list[int]:
        """The convolutions that may be the first of integers."""
        operators, places = self.graph.operators, self.graph.convolutions
        shapes = [self.graph.shape(operators[place].inputs[1]) for place in places]
        weights = [np.prod(shape) for shape in shapes]
        before = np.cumsum(weights) - weights
        return places[: np.sum(before <= _LARGEST_FLOAT_PART * np.sum(weights))]

    def quantized(self, first: int) -> bytes:
        """Returns the file with integers from an operator up to the head.

        Of the head, the weights of matrix products are quantised alone.
        """
        graph = self.graph
        names = [tensor.name.decode() for tensor in graph.tensors]
        places = [place for place in self._before_the_head() if place >= first]
        corrected = self.corrected(set(places) & set(graph.convolutions))
        tool = quantizer.Quantizer(bytearray(corrected.to_bytes()))
        tool.add_dynamic_config(".*", qtyping.TFLOperationName.FULLY_CONNECTED, 8)
        for place in places:
            pattern = f"^{re.escape(names[graph.operators[place].outputs[0]])};?$"
            kind = qtyping.TFLOperationName(graph.kinds[place])
            tool.add_static_config(pattern, kind, 8, 8)
        ranges = {}
        for tensor, ends in self.ranges.items():
            ends = np.reshape(ends, (2, *[1] * len(graph.shape(tensor))))
            low, high = ends.astype("float32")
            ranges[names[tensor]] = {"min": low, "max": high}
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
                    f"Received: {type(error).__name__}: {str(error)[:300]}. {_INSTEAD}"
                ) from error
        return bytes(result.quantized_model)

    def corrected(self, places: Iterable[int]) -> TFLiteGraph:
        """Returns the graph with biases that take back what rounding will shift.

        Weights of the convolutions at `places` will be rounded by output channel.
        """
        graph = copy.deepcopy(self.graph)
        for place in sorted(places):
            read, *constants = graph.operators[place].inputs
            # -1 stands for a bias that there is not.
            weights, bias = map(graph.constant, [*constants, -1][:2])
            if weights is None or bias is None:
                continue
            is_depthwise = graph.kinds[place] == "DEPTHWISE_CONV_2D"
            # A view with the output channel first.
            channels = np.moveaxis(weights, -1 if is_depthwise else 0, 0)
            largest = np.abs(channels).max(axis=(1, 2, 3), keepdims=True)
            step = np.maximum(largest, _SMALLEST) / _LARGEST_WEIGHT
            rounding = np.moveaxis(channels - np.round(channels / step) * step, 0, -1)
            options = graph.operators[place].builtinOptions
            mean = self.means[read][None]
            how = {
                "strides": (options.strideH, options.strideW),
                "padding": "same" if options.padding == _SAME_PADDING else "valid",
                "dilation_rate": (options.dilationHFactor, options.dilationWFactor),
            }
            if is_depthwise:
                kernel = rounding.reshape(*weights.shape[1:3], mean.shape[-1], -1)
                shift = ops.depthwise_conv(mean, kernel.astype("float64"), **how)
            elif weights.shape[-1] == mean.shape[-1]:
                shift = ops.conv(mean, rounding.astype("float64"), **how)
            else:  # a convolution of groups reads a part of the channels
                continue
            bias += np.mean(shift, axis=(0, 1, 2))
            # A bias is counted in steps of the weights times steps of the input. Where
            # a channel is all but constant, it would need more than 32 bits hold, so
            # one weight is made large enough.
            input_step = max(np.ptp(self.ranges[read]) / _STEPS, _SMALLEST)
            needed = np.abs(bias) * _LARGEST_WEIGHT / (_LARGEST_BIAS * input_step)
            small = largest.ravel() < needed
            channels[small, 0, 0, 0] = needed[small]
            graph.replace(place, 1, weights)
            graph.replace(place, 2, bias)
        return graph

    def _observe(self, interpreter: Interpreter, images: np.ndarray) -> None:
        """Runs the float model on images, and notes what is inside."""
        interpreter.allocate_tensors()
        entry = interpreter.get_input_details()[0]
        operators = self.graph.operators
        read = {operators[place].inputs[0] for place in self.graph.convolutions}
        details = interpreter.get_tensor_details()
        floats = {each["index"] for each in details if each["dtype"] == np.float32}
        computed = {tensor for each in operators for tensor in each.outputs} & floats
        self.ranges = dict.fromkeys(computed | read, (0.0, 0.0))
        self.means = dict.fromkeys(read, 0.0)
        for image in images:
            interpreter.set_tensor(entry["index"], image[None].astype(entry["dtype"]))
            interpreter.invoke()
            for tensor, ends in self.ranges.items():
                values = interpreter.get_tensor(tensor)
                ends = *ends, float(values.min()), float(values.max())
                self.ranges[tensor] = min(ends), max(ends)
                if tensor in read:
                    self.means[tensor] += values[0].astype("float64") / len(images)

    def _before_the_head(self) -> list[int]:
        """Returns operators that can be of integers and that a convolution needs."""
        graph, needed, found = self.graph, set(), []
        for place in reversed(range(graph.convolutions[0], len(graph.operators))):
            operator = graph.operators[place]
            is_convolution = place in graph.convolutions
            if not is_convolution and not needed & set(operator.outputs):
                continue
            needed |= set(operator.inputs)
            constants = [graph.constant(tensor) for tensor in operator.inputs]
            is_fast = graph.kinds[place] in _INTEGER_KINDS
            if is_convolution or (is_fast and all(each is None for each in constants)):
                found.append(place)
        return found[::-1]
