"""A .tflite file in the making: unpacked once, changed, packed when it is written."""

import copy
import json
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

METADATA_ENTRY = b"egan_keras"

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_FLOATS = {schema.TensorType.FLOAT32: "<f4", schema.TensorType.FLOAT16: "<f2"}


class TFLiteGraph:
    """The graph of a .tflite file, to be looked at and changed.

    Operators are known by their place in the order of execution, tensors by their
    number in the file.

    Args:
        content: The bytes of a .tflite file with one signature.

    Attributes:
        operators: As the file's schema has them.
        kinds: What each operator does, by the schema's names.
        convolutions: The places of convolutions.
        n_graphs: How many graphs the file has; branches and loops have their own.
    """

    def __init__(self, content: bytes) -> None:
        self._model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
        signature = self._model.signatureDefs[0]
        self._graph = self._model.subgraphs[signature.subgraphIndex]
        self._tensors = self._graph.tensors
        self._outputs = {each.name: each.tensorIndex for each in signature.outputs}
        self.n_graphs = len(self._model.subgraphs)
        self.operators = self._graph.operators
        self.kinds = [
            flatbuffer_utils.opcode_to_name(self._model, operator.opcodeIndex)
            for operator in self.operators
        ]
        self.convolutions = [
            place for place, kind in enumerate(self.kinds) if kind in _CONVOLUTIONS
        ]

    @property
    def threshold(self) -> float:
        """What the score is compared with, in the graph itself.

        Raises:
            ValueError: If the graph does not compute `is_minority` as `score` below a
                constant, as a number.
        """
        tensor = self.operators[self._comparison()].inputs[1]
        place = self._made_by().get(tensor)
        if place is not None and self.kinds[place] == "DEQUANTIZE":
            tensor = self.operators[place].inputs[0]
        return float(self.constant(tensor).item())

    @threshold.setter
    def threshold(self, value: float) -> None:
        """Sets it as a float32 in all forms; scores stay as they are."""
        place = self._comparison()
        shape = self.shape(self.operators[place].inputs[1])
        self.replace(place, 1, np.full(shape, value))

    @property
    def integer_share(self) -> float:
        """Share of the convolutions' multiplications that are of integers, 0..1."""
        all_of_them, integer = 0, 0
        for place in self.convolutions:
            operator = self.operators[place]
            _, height, width, _ = self.shape(operator.outputs[0])
            kernel = self.shape(operator.inputs[1])
            multiplications = height * width * int(np.prod(kernel))
            all_of_them += multiplications
            integer += multiplications * self.is_integer(operator.outputs[0])
        return integer / all_of_them if all_of_them else 0.0

    def embed(self, metadata: dict[str, Any]) -> None:
        """Puts metadata into the file."""
        buffer = schema.BufferT()
        text = json.dumps(metadata, allow_nan=False).encode()
        buffer.data = np.frombuffer(text, "uint8")
        self._model.buffers.append(buffer)
        entry = schema.MetadataT()
        entry.name, entry.buffer = METADATA_ENTRY, len(self._model.buffers) - 1
        self._model.metadata = [*(self._model.metadata or []), entry]

    def shorten_names(self) -> None:
        """Names tensors by number, except inputs and outputs.

        A path of layers for each is a twentieth of a small file.
        """
        kept = {*self._graph.inputs, *self._graph.outputs}
        for number, tensor in enumerate(self._tensors):
            if number not in kept:
                tensor.name = f"tensor_{number}".encode()

    def name(self, tensor: int) -> str:
        """Returns the name of a tensor."""
        return self._tensors[tensor].name.decode()

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Returns the shape of a tensor."""
        shape = self._tensors[tensor].shape
        return () if shape is None else tuple(int(size) for size in shape)

    def is_float(self, tensor: int) -> bool:
        """Returns whether a tensor holds float32 numbers."""
        return self._tensors[tensor].type == schema.TensorType.FLOAT32

    def is_integer(self, tensor: int) -> bool:
        """Returns whether a tensor holds numbers of 8 bits."""
        return self._tensors[tensor].type == schema.TensorType.INT8

    def constant(self, tensor: int) -> np.ndarray | None:
        """Returns a constant of floats as float32; `None` if the tensor is none."""
        if tensor < 0 or self._tensors[tensor].type not in _FLOATS:
            return None
        data = self._model.buffers[self._tensors[tensor].buffer].data
        if data is None or len(data) == 0:
            return None
        values = np.frombuffer(bytes(data), _FLOATS[self._tensors[tensor].type])
        return values.reshape(self.shape(tensor)).astype("float32")

    def replace(self, place: int, position: int, values: np.ndarray) -> None:
        """Lets an operator read other numbers, and leaves all others as they are.

        Args:
            place: The operator.
            position: Which of its inputs.
            values: Float array of that input's shape, kept as float32.
        """
        inputs = self.operators[place].inputs
        number = inputs[position]
        tensor = self._tensors[number]
        # Operators whose constants are equal share one tensor, tensors one buffer.
        uses = [[*each.inputs, *each.outputs].count(number) for each in self.operators]
        if sum(uses) > 1:
            tensor = copy.copy(tensor)
            tensor.name = f"tensor_{len(self._tensors)}".encode()
            self._tensors.append(tensor)
            inputs[position] = len(self._tensors) - 1
        if sum(each.buffer == tensor.buffer for each in self._tensors) > 1:
            self._model.buffers.append(schema.BufferT())
            tensor.buffer = len(self._model.buffers) - 1
        data = np.frombuffer(values.astype("float32").tobytes(), "uint8")
        self._model.buffers[tensor.buffer].data = data

    def copy(self) -> "TFLiteGraph":
        """Returns another one, which changes by itself."""
        return copy.deepcopy(self)

    def to_bytes(self) -> bytes:
        """Returns the file."""
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self._model))

    def _made_by(self) -> dict[int, int]:
        """Returns the operator that computes each tensor."""
        return {
            tensor: place
            for place, operator in enumerate(self.operators)
            for tensor in operator.outputs
        }

    def _comparison(self) -> int:
        """Returns the operator that compares the score with the threshold."""
        made_by = self._made_by()
        as_number = made_by[self._outputs[b"is_minority"]]
        place = made_by[self.operators[as_number].inputs[0]]
        kinds = self.kinds[as_number], self.kinds[place]
        compared = self.operators[place].inputs[0]
        if kinds != ("CAST", "LESS") or compared != self._outputs[b"score"]:
            raise ValueError(f"is_minority is computed by {' of '.join(kinds)}")
        return place
