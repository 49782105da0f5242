"""What every plot shares: colours and figures."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

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


def without_formulas(figure: Figure) -> Figure:
    """Returns a figure in which a name such as `$x$` is no formula."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return figure
