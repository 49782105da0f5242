"""Names and messages written for people, escaped for the place they are shown in."""

import re
import unicodedata
from collections.abc import Sequence

# Control characters, among them those that begin a terminal's commands; what turns the
# direction of writing; and the halves of bytes that are no text.
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def printable(name: object) -> str:
    r"""Returns a name in one line without what a terminal would act upon.

    >>> printable("a\x1b[2J\nb")
    'a\\x1b[2J\\nb'
    >>> printable("Müller 照片.png")
    'Müller 照片.png'
    """
    return "".join(map(_escaped, str(name)))


def first_few(names: Sequence[object], most: int | None = 5) -> str:
    """Returns names as `printable` does, with commas; dots stand for those left out.

    Args:
        names: of any length.
        most: how many are named; None is all.

    >>> first_few(["a", "b", "c"], 2)
    'a, b, ...'
    """
    shown = [printable(name) for name in names[:most]]
    return ", ".join([*shown, "..."] if len(shown) < len(names) else shown)


def counted(names: Sequence[object], what: str = "") -> str:
    """Returns how many names there are, of what, and the first three of them.

    >>> counted(["a", "b", "c", "d"], "files")
    '4 files (a, b, c, ...)'
    """
    return " ".join(filter(None, [str(len(names)), what, f"({first_few(names, 3)})"]))


def for_markdown(name: object) -> str:
    """Returns a name that Markdown and the HTML in it show as it is.

    >>> for_markdown("<b>a|b</b>")
    '&#60;b&#62;a&#124;b&#60;/b&#62;'
    >>> for_markdown("_my_name_")
    '&#95;my_name&#95;'
    """
    # An underscore within a word is no markup.
    markup = r"[&<>|`*\[\]\\#~$]|(?<![^\W_])_|_(?![^\W_])"
    return re.sub(markup, lambda found: f"&#{ord(found[0])};", printable(name))


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _UNPRINTABLE:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
