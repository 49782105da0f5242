"""Colours of what commands print, where the terminal has them."""

import os
from typing import TextIO

# By what is shown in them: bold red, bold yellow, yellow, underlined cyan.
_COLOURS = {"error": "1;31", "warning": "1;33", "minority": "33", "address": "4;36"}


def coloured(text: str, kind: str, stream: TextIO) -> str:
    """Returns a text in the colour of an error, a warning, a minority or an address.

    Without one, if the stream is no terminal that has colours. In the environment
    NO_COLOR turns them off, and FORCE_COLOR on, wherever the stream leads.
    """
    has_colours = stream.isatty() and os.environ.get("TERM") != "dumb"
    # Windows' own consoles show them only after being told so.
    has_colours &= os.name != "nt" or "WT_SESSION" in os.environ
    if os.environ.get("NO_COLOR") or not (os.environ.get("FORCE_COLOR") or has_colours):
        return text
    return f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m"
