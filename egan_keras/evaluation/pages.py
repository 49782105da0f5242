"""Pages in HTML: one file each, which asks the network for nothing."""

import base64
import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from egan_keras.text import printable

PAGE = "report.html"
_TEMPLATES = Path(__file__).parent / "page"
_DPI = 90


def render(template: str, **values: Any) -> str:
    """Returns a page.

    Whatever text a template shows is escaped, and `printable`; the only exceptions are
    what `data_uri` returns, and what it gives its script by `tojson`.

    Args:
        template: name of a file in `page/`.
        **values: what it shows.
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
