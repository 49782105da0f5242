"""Whether the bytes of a .tflite file hang together, told before they are loaded.

The numbers of fields and types are those of the TensorFlow Lite schema, version 3.
"""

import math
from typing import NamedTuple

import numpy as np
from flatbuffer import DamagedError, File, Table

# No layer of a network for images needs more, but a flipped bit in a shape does.
MAX_TENSOR_BYTES = 1024**3
# A flipped bit makes scales of 1e35, with which the runtime writes where it must not.
MAX_SCALE = 1e9

_IDENTIFIER = b"TFL3"
_SCHEMA = 3
_ABSENT = -1
# Bits an element takes, by the schema's number of its type. Strings (5), resources
# (13) and variants (14) have no fixed size.
_BITS = {
    **{0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 8: 64, 9: 8, 10: 64, 11: 128},
    **{12: 64, 15: 32, 16: 16, 17: 4, 18: 16, 19: 2, 20: 4, 21: 8, 22: 8},
}
_WITHOUT_SIZE = (5, 13, 14)


class _Counts(NamedTuple):
    """How many of what a subgraph may refer to there are."""

    operator_codes: int
    tensors: int


def check_structure(data: bytes) -> dict[str, bytes]:
    """Check a model's tables, vectors, strings, indices and sizes of tensors.

    What the numbers in weights mean and whether the operators fit together is left to
    the runtime.

    Args:
        data: the whole .tflite file.

    Returns:
        The model's metadata, by name.

    Raises:
        DamagedError: if something lies outside the file, is no valid index, or has
            not the size its shape asks for.
    """
    model = File(data, _IDENTIFIER).root()
    version = model.number(0, "<I")
    if version != _SCHEMA:
        raise DamagedError(f"its schema has version {version}, not {_SCHEMA}")
    buffers = [_read_buffer(buffer, len(data)) for buffer in model.tables(4)]
    operator_codes = [_check_code(code) for code in model.tables(1)]
    model.text(3)
    n_tensors = [
        _check_subgraph(subgraph, buffers, len(operator_codes))
        for subgraph in model.tables(2)
    ]
    if not n_tensors:
        raise DamagedError("it holds no network")
    for signature in model.tables(7):
        _check_signature(signature, n_tensors)
    _check_indices("a list of metadata", model.numbers(5, "<i4"), len(buffers))
    metadata = {}
    for entry in model.tables(6):
        name, index = entry.text(0), entry.number(1, "<I")
        _check_indices(f"metadata {name!r}", [index], len(buffers))
        metadata[name] = buffers[index].tobytes()
    return metadata


def _read_buffer(buffer: Table, file_bytes: int) -> np.ndarray:
    """Return a buffer's bytes."""
    offset, size = buffer.number(1, "<Q"), buffer.number(2, "<Q")
    if offset + size > file_bytes:
        raise DamagedError(f"a buffer of {size} bytes at {offset} leaves the file")
    return buffer.numbers(0, "u1")


def _check_code(code: Table) -> None:
    """Check one kind of operator."""
    code.number(0, "<b")
    code.text(1)
    if code.number(2, "<i", 1) < 1 or code.number(3, "<i") < 0:
        raise DamagedError("the version or number of an operator is negative")


def _check_subgraph(
    subgraph: Table, buffers: list[np.ndarray], n_operator_codes: int
) -> int:
    """Check one network and return the number of its tensors."""
    n_tensors = 0
    for number, tensor in enumerate(subgraph.tables(0)):
        _check_tensor(f"tensor {number}", tensor, buffers)
        n_tensors += 1
    _check_indices("the network's input", subgraph.numbers(1, "<i4"), n_tensors)
    _check_indices("the network's output", subgraph.numbers(2, "<i4"), n_tensors)
    subgraph.text(4)
    counts = _Counts(n_operator_codes, n_tensors)
    for number, operator in enumerate(subgraph.tables(3)):
        _check_operator(f"operator {number}", operator, counts)
    return n_tensors


def _check_tensor(name: str, tensor: Table, buffers: list[np.ndarray]) -> None:
    """Check one tensor's shape, type, buffer and quantisation."""
    shape = [int(size) for size in tensor.numbers(0, "<i4")]
    kind, index = tensor.number(1, "<b"), tensor.number(2, "<I")
    tensor.text(3)
    signature = tensor.numbers(7, "<i4")
    tensor.table(6)
    _check_indices(name, [index], len(buffers))
    if any(size < 0 for size in shape):
        raise DamagedError(f"{name} has shape {shape}")
    if len(signature) not in (0, len(shape)) or any(
        wanted not in (-1, size) for wanted, size in zip(signature, shape, strict=False)
    ):
        raise DamagedError(f"{name} has shape {shape} and shape {signature.tolist()}")
    if kind not in _BITS and kind not in _WITHOUT_SIZE:
        raise DamagedError(f"{name} has type {kind}, which does not exist")
    _check_quantization(name, tensor.table(4), shape)
    if kind in _WITHOUT_SIZE:
        return
    wanted = math.ceil(math.prod(shape) * _BITS[kind] / 8)
    if wanted > MAX_TENSOR_BYTES:
        raise DamagedError(
            f"{name} of shape {shape} needs {wanted} bytes, more than the "
            f"{MAX_TENSOR_BYTES} allowed"
        )
    is_sparse = tensor.table(6) is not None
    held = len(buffers[index])
    if held and not is_sparse and held != wanted:
        raise DamagedError(
            f"{name} of shape {shape} needs {wanted} bytes, but its buffer has {held}"
        )


def _check_quantization(name: str, table: Table | None, shape: list[int]) -> None:
    """Check that there is one scale, or one for each slice along an axis."""
    if table is None:
        return
    table.numbers(0, "<f4")
    table.numbers(1, "<f4")
    scales, zeros = table.numbers(2, "<f4"), table.numbers(3, "<i8")
    table.number(4, "<B")
    table.table(5)
    axis = table.number(6, "<i")
    if len(scales) > 1 and not (0 <= axis < len(shape) and len(scales) == shape[axis]):
        raise DamagedError(
            f"{name} of shape {shape} has {len(scales)} scales along axis {axis}"
        )
    if len(zeros) not in (0, 1, len(scales)):
        raise DamagedError(f"{name} has {len(scales)} scales, {len(zeros)} zero points")
    # Written so that NaN is refused too.
    if not ((scales >= 0) & (scales <= MAX_SCALE)).all():
        raise DamagedError(f"{name} has a scale outside 0..{MAX_SCALE:g}")


def _check_operator(name: str, operator: Table, counts: _Counts) -> None:
    """Check one operator's kind, tensors and options."""
    _check_indices(name, [operator.number(0, "<I")], counts.operator_codes)
    inputs = operator.numbers(1, "<i4")
    _check_indices(f"{name}'s input", inputs[inputs != _ABSENT], counts.tensors)
    for what, field in (("output", 2), ("intermediate tensor", 8)):
        indices = operator.numbers(field, "<i4")
        _check_indices(f"{name}'s {what}", indices, counts.tensors)
    for kind, options in ((3, 4), (11, 12)):
        if (operator.number(kind, "<B") == 0) != (operator.table(options) is None):
            raise DamagedError(f"{name} has options without a type, or the reverse")
    operator.numbers(5, "u1")
    operator.number(6, "<b")
    operator.numbers(7, "u1")
    if operator.number(9, "<Q") or operator.number(10, "<Q"):
        raise DamagedError(f"{name} keeps options outside the tables")


def _check_signature(signature: Table, n_tensors: list[int]) -> None:
    """Check the names by which a network is called."""
    name, subgraph = signature.text(2), signature.number(4, "<I")
    _check_indices(f"signature {name!r}", [subgraph], len(n_tensors))
    for field in (0, 1):
        for entry in signature.tables(field):
            _check_indices(
                f"{entry.text(0)!r} of signature {name!r}",
                [entry.number(1, "<I")],
                n_tensors[subgraph],
            )


def _check_indices(name: str, indices: np.ndarray | list[int], count: int) -> None:
    """Check that indices are those of something that is there."""
    for index in indices:
        if not 0 <= index < count:
            raise DamagedError(f"{name} refers to number {index} of {count}")
