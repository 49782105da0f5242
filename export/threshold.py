"""The threshold that a model's network has in it, which no description can change.

The numbers of fields and operators are those of the TensorFlow Lite schema, version 3.
"""

import numpy as np
from flatbuffer import DamagedError, File, Table

_CAST, _LESS, _DEQUANTIZE = 53, 58, 6
_DTYPES = {0: "<f4", 1: "<f2"}


def threshold_in(data: bytes) -> float:
    """Return the constant below which the network calls a score minority.

    Args:
        data: a whole .tflite file that `structure.check_structure` has passed.

    Raises:
        DamagedError: if the network does not compute `is_minority` as `score` below a
            constant, as a number.
    """
    model = File(data, b"TFL3").root()
    try:
        return _threshold(model)
    except (LookupError, ValueError, TypeError, StopIteration) as error:
        raise DamagedError(
            "its network does not compare the score with one threshold"
        ) from error


def _threshold(model: Table) -> float:
    signature = next(model.tables(7))
    graph = list(model.tables(2))[signature.number(4, "<I")]
    kinds = [_kind(code) for code in model.tables(1)]
    outputs = {entry.text(0): entry.number(1, "<I") for entry in signature.tables(1)}
    made_by = {
        int(tensor): operator
        for operator in graph.tables(3)
        for tensor in operator.numbers(2, "<i4")
    }

    def inputs_of(tensor: int, kind: int) -> list[int]:
        operator = made_by[tensor]
        if kinds[operator.number(0, "<I")] != kind:
            raise ValueError
        return operator.numbers(1, "<i4").tolist()

    (called,) = inputs_of(outputs["is_minority"], _CAST)
    compared, constant = inputs_of(called, _LESS)
    if compared != outputs["score"]:
        raise ValueError
    if constant in made_by:
        (constant,) = inputs_of(constant, _DEQUANTIZE)
    tensor = list(graph.tables(0))[constant]
    buffer = list(model.tables(4))[tensor.number(2, "<I")]
    (threshold,) = np.frombuffer(
        buffer.numbers(0, "u1").tobytes(), _DTYPES[tensor.number(1, "<b")]
    )
    return float(threshold)


def _kind(code: Table) -> int:
    """Return the number of a kind of operator, which was a byte once."""
    return max(code.number(0, "<b"), code.number(3, "<i"))
