"""Runs the command line: `python -m egan_keras`."""

import sys

from egan_keras.cli import main

if __name__ == "__main__":
    sys.exit(main())
