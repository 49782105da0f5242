"""What every plot shares: colours and figures, names in them, and how it is saved."""

import warnings
from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from egan_keras.files import write_atomically
from egan_keras.text import printable

# Okabe and Ito's palette, told apart by colour-blind readers too.
MAJORITY = "#0072B2"
MINORITY = "#D55E00"
OPERATING_POINT = "#000000"
REFERENCE = "#7F7F7F"
LINES = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
CLASS_NAMES = ("majority", "minority")
CLASS_COLOURS = (MAJORITY, MINORITY)


def new_figure(width: float, height: float) -> Figure:
    """Returns a figure of a size in inches that is not known to pyplot.

    Without pyplot's global state it works in threads and is freed when unused.
    """
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def tidy(axes: Axes, x: str, y: str, title: str) -> None:
    """Labels an axes and lightens its frame."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, loc="left", fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)


def plain(name: object) -> str:
    r"""Returns a name as matplotlib shows it: no formula, and not left out of a legend.

    >>> plain("a$b.png")
    'a\\$b.png'
    """
    shown = printable(name).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def save(path: Path, draw: Callable[[], Figure]) -> bool:
    """Draws a plot and writes it, or warns that it cannot; nothing else fails for it.

    Args:
        path: the file, replaced only when complete; its folder is made if missing.
        draw: returns the figure.

    Returns:
        Whether it was written.
    """
    try:
        with warnings.catch_warnings():
            # That a font lacks the letters of a name.
            warnings.filterwarnings("ignore", "Glyph")
            figure = draw()
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, figure.savefig)
    # Whatever matplotlib, or reading an image to show, has to say.
    except Exception as error:
        reason = str(error) or type(error).__name__
        warnings.warn(f"The plot {path.name} could not be made: {reason}", stacklevel=2)
        return False
    return True
