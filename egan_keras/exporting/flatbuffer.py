"""A float .tflite file as operators and tensors that can be read and changed."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

_KINDS = {
    number: name
    for name, number in vars(schema.BuiltinOperator).items()
    if isinstance(number, int)
}
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


class Flatbuffer:
    """The one graph of a .tflite file.

    Operators are known by their place in the order of execution, tensors by their
    number in the file.

    Args:
        content: The bytes of a .tflite file.

    Raises:
        ValueError: If the file holds several graphs.
    """

    def __init__(self, content: bytes) -> None:
        self._model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
        if len(self._model.subgraphs) != 1:
            raise ValueError(
                "A model with branches or loops cannot be quantised; expected one "
                f"graph. Received: {len(self._model.subgraphs)} graphs. Choose another "
                "backbone."
            )
        graph = self._model.subgraphs[0]
        self.operators = graph.operators
        self._tensors = graph.tensors
        self.kinds = [self._kind(operator) for operator in self.operators]
        self.convolutions = [
            place for place, kind in enumerate(self.kinds) if kind in CONVOLUTIONS
        ]

    def _kind(self, operator) -> str:
        code = self._model.operatorCodes[operator.opcodeIndex]
        return _KINDS[max(code.builtinCode, code.deprecatedBuiltinCode)]

    def shorten_names(self) -> None:
        """Names tensors by number, except inputs and outputs.

        A path of layers for each is a twentieth of a small file.
        """
        graph = self._model.subgraphs[0]
        kept = {*graph.inputs, *graph.outputs}
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
        """Returns a float32 constant, `None` if the tensor is none."""
        if tensor < 0 or not self.is_float(tensor):
            return None
        data = self._model.buffers[self._tensors[tensor].buffer].data
        if data is None or len(data) == 0:
            return None
        return np.frombuffer(bytes(data), "float32").reshape(self.shape(tensor)).copy()

    def replace(self, place: int, position: int, values: np.ndarray) -> None:
        """Gives an operator another constant, and leaves all others as they are.

        Args:
            place: The operator.
            position: Which of its inputs.
            values: float array of that input's shape.
        """
        operator = self.operators[place]
        number = operator.inputs[position]
        tensor = self._tensors[number]
        # Operators whose constants are equal share one tensor, tensors one buffer.
        if sum(list(each.inputs).count(number) for each in self.operators) > 1:
            copy = schema.TensorT()
            copy.__dict__.update(tensor.__dict__)
            copy.name = f"tensor_{len(self._tensors)}".encode()
            self._tensors.append(copy)
            operator.inputs = np.array(operator.inputs, "int32")
            operator.inputs[position] = len(self._tensors) - 1
            tensor = copy
        if sum(each.buffer == tensor.buffer for each in self._tensors) > 1:
            self._model.buffers.append(schema.BufferT())
            tensor.buffer = len(self._model.buffers) - 1
        data = np.frombuffer(values.astype("float32").tobytes(), "uint8")
        self._model.buffers[tensor.buffer].data = data

    def put_constant(self, place: int, position: int, value: float) -> None:
        """Lets an operator read a float32 number of its own in place of an input."""
        operator = self.operators[place]
        shape = self.shape(operator.inputs[position])
        values = np.full(shape, value, "float32")
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), "uint8")
        self._model.buffers.append(buffer)
        tensor = schema.TensorT()
        tensor.name = f"tensor_{len(self._tensors)}".encode()
        tensor.type = schema.TensorType.FLOAT32
        tensor.shape = list(shape)
        tensor.buffer = len(self._model.buffers) - 1
        self._tensors.append(tensor)
        operator.inputs[position] = len(self._tensors) - 1

    def output(self, name: str) -> int:
        """Returns the tensor that the signature calls so."""
        outputs = self._model.signatureDefs[0].outputs
        return next(each.tensorIndex for each in outputs if each.name == name.encode())

    def place_of(self, tensor: int) -> int:
        """Returns the operator that computes a tensor."""
        return next(
            place
            for place, operator in enumerate(self.operators)
            if tensor in operator.outputs
        )

    def to_bytes(self) -> bytes:
        """Returns the file."""
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self._model))


def with_threshold(content: bytes, threshold: float) -> bytes:
    """Returns a .tflite file with another threshold; its scores stay as they are.

    Args:
        content: The bytes of a .tflite file whose `is_minority` is `score` below a
            constant, as a number.
        threshold: What the score is compared with, as a float32 in all forms.

    Raises:
        ValueError: If the file is none of that kind.
    """
    graph = Flatbuffer(content)
    as_number = graph.place_of(graph.output("is_minority"))
    place = graph.place_of(graph.operators[as_number].inputs[0])
    compared = graph.operators[place]
    if graph.kinds[place] != "LESS" or compared.inputs[0] != graph.output("score"):
        raise ValueError(
            "The graph does not compare its score with a threshold; expected LESS. "
            f"Received: {graph.kinds[place]}. Export the model again."
        )
    graph.put_constant(place, 1, threshold)
    return graph.to_bytes()


def threshold_in(content: bytes) -> float:
    """Returns the threshold in a .tflite file's graph, a float32.

    Args:
        content: The bytes of a .tflite file.

    Raises:
        ValueError: If the file does not compute `is_minority` as `score` below a
            constant, as a number.
    """
    model = schema.Model.GetRootAsModel(content, 0)
    signature = model.SignatureDefs(0)
    graph = model.Subgraphs(signature.SubgraphIndex())
    operators = [graph.Operators(place) for place in range(graph.OperatorsLength())]
    made_by = {
        int(tensor): operator
        for operator in operators
        for tensor in operator.OutputsAsNumpy()
    }
    outputs = {
        entry.Name(): entry.TensorIndex()
        for entry in map(signature.Outputs, range(signature.OutputsLength()))
    }

    def kind_of(operator) -> str:
        code = model.OperatorCodes(operator.OpcodeIndex())
        return _KINDS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]

    as_number = made_by[outputs[b"is_minority"]]
    compared = made_by[as_number.Inputs(0)]
    constant = compared.Inputs(1)
    kinds = kind_of(as_number), kind_of(compared)
    if kinds != ("CAST", "LESS") or compared.Inputs(0) != outputs[b"score"]:
        raise ValueError(f"is_minority is computed by {' of '.join(kinds)}")
    if constant in made_by and kind_of(made_by[constant]) == "DEQUANTIZE":
        constant = made_by[constant].Inputs(0)
    tensor = graph.Tensors(constant)
    dtype = {schema.TensorType.FLOAT32: "<f4", schema.TensorType.FLOAT16: "<f2"}
    values = model.Buffers(tensor.Buffer()).DataAsNumpy()
    (threshold,) = values.view(dtype[tensor.Type()])
    return float(threshold)


def integer_share(content: bytes) -> float:
    """Returns the share of a model's multiplications that are of 8-bit integers.

    Args:
        content: The bytes of a .tflite file.

    Returns:
        Multiplications of convolutions of integers by those of all convolutions, 0..1;
        0 if there is no convolution.
    """
    graph = Flatbuffer(content)
    all_of_them, integer = 0, 0
    for place in graph.convolutions:
        operator = graph.operators[place]
        output = operator.outputs[0]
        kernel = graph.shape(operator.inputs[1])
        _, height, width, _ = graph.shape(output)
        multiplications = height * width * int(np.prod(kernel))
        all_of_them += multiplications
        integer += multiplications * graph.is_integer(output)
    return integer / all_of_them if all_of_them else 0.0
