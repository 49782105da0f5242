"""The command line: `egan-keras`, also `python -m egan_keras`.

Its files import Keras and TensorFlow only once the arguments have been read.
"""

from egan_keras.cli.commands import main

__all__ = ["main"]
