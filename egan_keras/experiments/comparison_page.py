"""The report of a comparison as a page: what `report.md` holds, and its plots."""

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from egan_keras.evaluation import pages

# Of all plots of a page, in bytes; the others are named.
_MOST_BYTES = 3_600_000

Words = list[tuple[str, str]]  # a kind (strong, code or plain) and its text


def make_page(sections: Sequence[str], out: Path) -> str:
    """Returns the page of the sections of `report.md`, with the plots in it.

    Args:
        sections: of the Markdown that `comparison_report` writes, no other.
        out: the folder of the comparison.
    """
    blocks: list[dict[str, Any]] = []
    caption, room = "", _MOST_BYTES
    for text in re.split(r"\n\n+", "\n\n".join(sections)):
        if heading := re.fullmatch(r"(#+) (.*)", text):
            level, title = len(heading[1]), heading[2]
            caption = _plain(title)
            blocks.append({"kind": "heading", "level": level, "words": _words(title)})
        elif image := re.fullmatch(r"!\[(.*)\]\((.*)\)", text):
            path = out / image[2]
            room -= path.stat().st_size
            blocks.append(_image(_plain(image[1]), path, fits=room >= 0))
        elif text.startswith("|"):
            blocks.append(_table(text.splitlines(), caption))
        elif text.startswith("- "):
            items = [_words(line[2:]) for line in text.splitlines()]
            blocks.append({"kind": "list", "entries": items})
        elif text.startswith("    "):
            blocks.append({"kind": "code", "text": text.strip()})
        else:
            blocks.append({"kind": "paragraph", "words": _words(text)})
    title = f"Comparison of methods: {out.resolve().name}"
    return pages.render("comparison.html", title=title, blocks=blocks)


def _image(text: str, path: Path, *, fits: bool) -> dict[str, Any]:
    if fits:
        source = pages.png_uri(path.read_bytes())
        return {"kind": "image", "text": text, "source": source}
    left_out = f"{text}: see {path.parent.name}/{path.name}, for want of room here."
    return {"kind": "paragraph", "words": [("plain", left_out)]}


def _table(lines: Sequence[str], caption: str) -> dict[str, Any]:
    head, _, *rows = (
        [_words(cell.strip()) for cell in line.strip("|").split("|")] for line in lines
    )
    return {"kind": "table", "caption": caption, "head": head, "rows": rows}


def _words(text: str) -> Words:
    """Returns a text in parts by their markup, without it.

    >>> _words("a **b&#42;** `c`")
    [('plain', 'a '), ('strong', 'b*'), ('plain', ' '), ('code', 'c')]
    """
    kinds = {"*": "strong", "`": "code"}
    parts = re.split(r"(\*\*.+?\*\*|`.+?`)", text.replace("\n", " "))
    return [
        (kind, html.unescape(part.strip("*`") if kind != "plain" else part))
        for part, kind in ((part, kinds.get(part[:1], "plain")) for part in parts)
        if part
    ]


def _plain(text: str) -> str:
    return "".join(part for _, part in _words(text))
