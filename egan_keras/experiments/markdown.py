"""Numbers and tables in Markdown."""

from collections.abc import Sequence

NONE = "–"


def short(value: float | None) -> str:
    """Returns a share with three decimals, without the zero before the point.

    >>> short(0.9541), short(1.0), short(-0.02), short(None)
    ('.954', '1.000', '-.020', '–')
    """
    if value is None:
        return NONE
    text = f"{value:.3f}"
    return text if text.lstrip("-").startswith("1") else text.replace("0.", ".", 1)


def signed(value: float | None) -> str:
    """Returns a difference of shares with its sign.

    >>> signed(0.012), signed(-0.2), signed(-0.0001)
    ('+.012', '-.200', '+.000')
    """
    if value is None:
        return NONE
    value = round(value, 3) + 0.0  # no negative zero
    return short(value) if value < 0 else f"+{short(value)}"


def spread(mean: float | None, deviation: float | None) -> str:
    """Returns a mean, with a standard deviation where there is one.

    >>> spread(0.95, 0.01), spread(0.95, None)
    ('.950 ± .010', '.950')
    """
    return short(mean) if deviation is None else f"{short(mean)} ± {short(deviation)}"


def bold(text: str) -> str:
    """Returns a text in bold."""
    return f"**{text}**"


def escaped(text: str) -> str:
    """Returns a text whose names are no HTML and end no cell of a table.

    >>> escaped("**a<b|c**")
    '**a&#60;b&#124;c**'
    """
    return text.replace("&", "&#38;").replace("<", "&#60;").replace("|", "&#124;")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table whose first column is text and whose others are numbers.

    >>> print(table(["method", "AUROC"], [["default", ".950"]]))
    | method | AUROC |
    | --- | ---: |
    | default | .950 |
    """
    rules = ["---"] + ["---:"] * (len(head) - 1)
    lines = [head, rules, *([escaped(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
