"""A network converted for LiteRT as a function of arrays, without TensorFlow."""

import os

import numpy as np
from ai_edge_litert.interpreter import Interpreter

_THREADS_VARIABLE = "OMP_NUM_THREADS"


def threads() -> int:
    """Returns how many threads to compute with.

    That is what OMP_NUM_THREADS says, which engines set for their workers, else one
    for each processor.
    """
    told = os.environ.get(_THREADS_VARIABLE, "")
    return int(told) if told.isdecimal() and int(told) else os.cpu_count() or 1


class LiteRTFunction:
    """A converted network of images, of a free batch; for one thread at a time."""

    def __init__(self, content: bytes) -> None:
        self._interpreter = Interpreter(model_content=content, num_threads=threads())
        self._interpreter.allocate_tensors()
        given = self._interpreter.get_input_details()[0]
        self.image_shape = tuple(int(side) for side in given["shape_signature"][1:])
        self._input = given["index"]
        details = self._interpreter.get_output_details()
        # Named Identity, Identity_1 and so on, and in any order.
        names = sorted(details, key=lambda x: (len(x["name"]), x["name"]))
        self._outputs = [each["index"] for each in names]
        self._count = 0

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """Returns what the network puts out for images (n, h, w, 3), pixels 0..255."""
        if len(images) != self._count:
            self._count = len(images)
            self._interpreter.resize_tensor_input(self._input, images.shape)
            self._interpreter.allocate_tensors()
        self._interpreter.set_tensor(self._input, np.asarray(images, np.float32))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]
