"""A .tflite file in the making: unpacked once, changed, packed when it is written."""

import copy
import json
import math
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

METADATA_ENTRY = b"egan_keras"

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_FLOATS = {schema.TensorType.FLOAT32: "<f4", schema.TensorType.FLOAT16: "<f2"}


class TFLiteGraph:
    """The graph of a .tflite file with one signature, to be looked at and changed.

    Operators are known by their place in the order of execution, tensors by their
    number; both are as the schema of such files has them, and so is what an operator
    does, `kinds`. Branches and loops have graphs of their own, which `n_graphs` counts.
    """

    def __init__(self, content: bytes) -> None:
        self._model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
        signature = self._model.signatureDefs[0]
        self._graph = self._model.subgraphs[signature.subgraphIndex]
        self._outputs = {each.name: each.tensorIndex for each in signature.outputs}
        self.n_graphs = len(self._model.subgraphs)
        self.operators, self.tensors = self._graph.operators, self._graph.tensors
        codes = [operator.opcodeIndex for operator in self.operators]
        self.kinds = [flatbuffer_utils.opcode_to_name(self._model, at) for at in codes]
        self.convolutions = [
            place for place, kind in enumerate(self.kinds) if kind in _CONVOLUTIONS
        ]

    @property
    def threshold(self) -> float:
        """What the score is compared with; a `ValueError` if it is not compared so."""
        place, made_by = self._comparison()
        tensor = self.operators[place].inputs[1]
        if tensor in made_by and self.kinds[made_by[tensor]] == "DEQUANTIZE":
            tensor = self.operators[made_by[tensor]].inputs[0]
        return float(self.constant(tensor).item())

    @threshold.setter
    def threshold(self, value: float) -> None:
        """Sets it as a float32 in all forms; scores stay as they are."""
        place, _ = self._comparison()
        shape = self.shape(self.operators[place].inputs[1])
        self.replace(place, 1, np.full(shape, value))

    @property
    def integer_share(self) -> float:
        """Share of the convolutions' multiplications that are of integers, 0..1."""
        work, of_integers = 0, 0
        for place in self.convolutions:
            operator = self.operators[place]
            kernel, output = operator.inputs[1], operator.outputs[0]
            sides = [*self.shape(kernel), *self.shape(output)[1:3]]
            work += math.prod(sides)
            of_integers += math.prod(sides) * self.is_integer(output)
        return of_integers / work if work else 0.0

    def embed(self, metadata: dict[str, Any]) -> None:
        """Puts metadata into the file."""
        text = json.dumps(metadata, allow_nan=False).encode()
        entry = schema.MetadataT()
        entry.name, entry.buffer = METADATA_ENTRY, self._add_buffer()
        self._model.buffers[entry.buffer].data = np.frombuffer(text, "uint8")
        self._model.metadata = [*(self._model.metadata or []), entry]

    def shorten_names(self) -> None:
        """Names inner tensors by number: paths of layers fill a twentieth of a file."""
        kept = {*self._graph.inputs, *self._graph.outputs}
        for number, tensor in enumerate(self.tensors):
            if number not in kept:
                tensor.name = f"tensor_{number}".encode()

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Returns the shape of a tensor."""
        shape = self.tensors[tensor].shape
        return () if shape is None else tuple(int(size) for size in shape)

    def is_integer(self, tensor: int) -> bool:
        """Returns whether a tensor holds numbers of 8 bits."""
        return self.tensors[tensor].type == schema.TensorType.INT8

    def constant(self, tensor: int) -> np.ndarray | None:
        """Returns a constant of floats as float32; `None` if the tensor is none."""
        dtype = _FLOATS.get(self.tensors[tensor].type) if tensor >= 0 else None
        data = dtype and self._model.buffers[self.tensors[tensor].buffer].data
        if data is None or len(data) == 0:
            return None
        values = np.frombuffer(bytes(data), dtype).reshape(self.shape(tensor))
        return values.astype("float32")

    def replace(self, place: int, position: int, values: np.ndarray) -> None:
        """Lets one operator read other numbers, of the same shape, at an input."""
        inputs = self.operators[place].inputs
        number = inputs[position]
        tensor = self.tensors[number]
        # Operators whose constants are equal share one tensor, tensors one buffer.
        uses = [[*each.inputs, *each.outputs].count(number) for each in self.operators]
        if sum(uses) > 1:
            tensor = copy.copy(tensor)
            inputs[position] = len(self.tensors)
            tensor.name = f"tensor_{len(self.tensors)}".encode()
            self.tensors.append(tensor)
        if sum(each.buffer == tensor.buffer for each in self.tensors) > 1:
            tensor.buffer = self._add_buffer()
        data = np.frombuffer(values.astype("float32").tobytes(), "uint8")
        self._model.buffers[tensor.buffer].data = data

    def to_bytes(self) -> bytes:
        """Returns the file."""
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self._model))

    def _add_buffer(self) -> int:
        self._model.buffers.append(schema.BufferT())
        return len(self._model.buffers) - 1

    def _comparison(self) -> tuple[int, dict[int, int]]:
        """Returns what compares the score with the threshold, and makers of tensors."""
        made_by = {
            tensor: place
            for place, operator in enumerate(self.operators)
            for tensor in operator.outputs
        }
        as_number = made_by[self._outputs[b"is_minority"]]
        place = made_by[self.operators[as_number].inputs[0]]
        kinds = self.kinds[as_number], self.kinds[place]
        compared = self.operators[place].inputs[0]
        if kinds != ("CAST", "LESS") or compared != self._outputs[b"score"]:
            raise ValueError(f"is_minority is computed by {' of '.join(kinds)}")
        return place, made_by
