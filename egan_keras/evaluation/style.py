"""What plots, tables and pages share: their looks, names and numbers in them.

A page is one file of HTML, which asks the network for nothing.
"""

import base64
import contextlib
import io
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tabulate import tabulate

from egan_keras.files import write_atomically
from egan_keras.text import printable

PAGE = "report.html"
_TEMPLATES = Path(__file__).parent / "page"
_DPI = 90
# Okabe and Ito's palette, told apart by colour-blind readers too.
MAJORITY = "#0072B2"
MINORITY = "#D55E00"
OPERATING_POINT = "#000000"
REFERENCE = "#7F7F7F"
LINES = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
CLASSES = {"majority": MAJORITY, "minority": MINORITY}
_LONGEST_NAME = 20
NONE = "–"  # of a table's cell without a number


def new_figure(width: float, height: float) -> Figure:
    """Returns a figure of a size in inches that is not known to pyplot.

    Without pyplot's global state it works in threads and is freed when unused.
    """
    return Figure(figsize=(width, height), dpi=120, layout="constrained")


def tidy(axes: Axes, x: str, y: str, title: str) -> None:
    """Labels an axes and lightens its frame."""
    axes.set(xlabel=x, ylabel=y, axisbelow=True)
    axes.set_title(title, loc="left", fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="0.92", linewidth=0.8)


def plain(name: object) -> str:
    r"""Returns a name as matplotlib shows it: no formula, and not left out of a legend.

    >>> plain("a$b.png")
    'a\\$b.png'
    """
    shown = printable(name).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def caption(name: object) -> str:
    """Returns the end of a name as matplotlib shows it, to stand under an image."""
    shown = printable(name)
    if len(shown) > _LONGEST_NAME:
        shown = f"\u2026{shown[1 - _LONGEST_NAME :]}"
    return plain(shown)


def save(path: Path, draw: Callable[[], Figure]) -> bool:
    """Writes the plot that `draw` returns, replacing the file only when complete.

    One that cannot be made is warned of; nothing else fails for it. Returns whether it
    was written. Its folder is made if missing.
    """
    with without_failing(f"The plot {path.name}"), without_glyph_warnings():
        figure = draw()
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, figure.savefig)
        return True
    return False


def short(value: float | None, sign: str = "") -> str:
    """Returns a share with three decimals, without the zero before the point.

    `sign` is "+" for a difference of shares.

    >>> short(0.9541), short(1.0), short(-0.02), short(None), short(-0.0001, "+")
    ('.954', '1.000', '-.020', '–', '+.000')
    """
    if value is None or math.isnan(value):
        return NONE
    return re.sub(r"\b0\.", ".", f"{value:{sign}z.3f}")


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Returns a Markdown table of rows, whose names are escaped, by columns' heads.

    Its first column is text, the others are numbers.

    >>> print(table([{"method": "default", "AUROC": ".950"}]))
    | method   |   AUROC |
    |:---------|--------:|
    | default  |    .950 |
    """
    sides = ["left"] + ["right"] * (len(rows[0]) - 1)
    return tabulate(rows, "keys", "pipe", disable_numparse=True, colalign=sides)


def render(template: str, **values: Any) -> str:
    """Returns a page, of a template in `page/`.

    Whatever text a template shows is escaped, and `printable`; the only exceptions are
    what `data_uri` returns, and what it gives its script by `tojson`.
    """
    # Scoring starts without it.
    import jinja2
    import markupsafe

    def shown(value: Any) -> Any:
        if isinstance(value, str) and not isinstance(value, markupsafe.Markup):
            return printable(value)
        return value

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(values)


def as_png(figure: Figure) -> str:
    """Returns a figure as a data URI."""
    buffer = io.BytesIO()
    with without_glyph_warnings():
        figure.savefig(buffer, format="png", dpi=_DPI)
    return data_uri("png", buffer.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    """Returns a picture, a file of the kind `png` or `jpeg`, to be shown as it is."""
    import markupsafe

    encoded = base64.b64encode(content).decode()
    return markupsafe.Markup(f"data:image/{kind};base64,{encoded}")


@contextlib.contextmanager
def without_glyph_warnings() -> Iterator[None]:
    """Holds back that a font lacks the letters of a name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        yield


@contextlib.contextmanager
def without_failing(what: str) -> Iterator[None]:
    """Warns of what cannot be made, so that nothing else is lost for it."""
    try:
        yield
    # Whatever reading an image to show, drawing or a full disk has to say.
    except Exception as error:
        reason = str(error) or type(error).__name__
        # Behind this function, contextlib's and the `with`.
        warnings.warn(f"{what} could not be made: {reason}", stacklevel=3)
