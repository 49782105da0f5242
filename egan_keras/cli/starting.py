"""Starting Keras without the messages of TensorFlow's start."""

import os
import sys
import tempfile

from egan_keras.backend import import_keras

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def start_keras() -> None:
    """Imports Keras and finds the devices, silently.

    TensorFlow writes some messages before it heeds its own TF_CPP_MIN_LOG_LEVEL, so
    they are held back. They are shown if starting fails, or where that variable is
    set; otherwise it is set to 2, errors only.
    """
    if LOG_LEVEL in os.environ:
        import_keras()
        return
    os.environ[LOG_LEVEL] = "2"
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        started = False
        try:
            import_keras().ops.zeros(1)
            started = True
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            if not started:
                held_back.seek(0)
                sys.stderr.write(held_back.read().decode(errors="replace"))
