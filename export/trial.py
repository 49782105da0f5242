"""Loads the model on the standard input and scores one image.

`model.try_in_child` runs this as another process, which a damaged model may crash. The
argument is the model's path, for messages.
"""

import os
import sys
from pathlib import Path

import numpy as np
from model import REFUSED, Model, ModelError, check


def main() -> int:
    """Return 0 if the model works, `REFUSED` after a message if it is refused."""
    _limit_memory()
    path, data = Path(sys.argv[1]), sys.stdin.buffer.read()
    try:
        model = Model(data, check(path, data))
        # Every value a pixel can have, so that no layer sees only zeros.
        model.score(np.resize(np.arange(256, dtype=np.uint8), (*model.size, 3)))
    except ModelError as error:
        print(error, file=sys.stderr)
        return REFUSED
    return 0


def _limit_memory() -> None:
    """Let this process, not another one, fail if the model asks for all memory."""
    try:
        import resource

        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard == resource.RLIM_INFINITY or hard > machine:
            resource.setrlimit(resource.RLIMIT_DATA, (machine, hard))
    except (ImportError, AttributeError, ValueError, OSError):
        return  # Not every system can limit it.


if __name__ == "__main__":
    sys.exit(main())
