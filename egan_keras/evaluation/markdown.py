"""Numbers and tables in Markdown."""

import math
import re
from collections.abc import Mapping, Sequence

from tabulate import tabulate

NONE = "–"


def short(value: float | None, sign: str = "") -> str:
    """Returns a share with three decimals, without the zero before the point.

    Args:
        value: the share; None or NaN where there is none.
        sign: `"+"` for a difference of shares.

    Example:
        >>> short(0.9541), short(1.0), short(-0.02), short(None), short(-0.0001, "+")
        ('.954', '1.000', '-.020', '–', '+.000')
    """
    if value is None or math.isnan(value):
        return NONE
    return re.sub(r"\b0\.", ".", f"{value:{sign}z.3f}")


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Returns a table whose first column is text and whose others are numbers.

    Args:
        rows: what is shown, by the columns' heads; names are escaped.

    Example:
        >>> print(table([{"method": "default", "AUROC": ".950"}]))
        | method   |   AUROC |
        |:---------|--------:|
        | default  |    .950 |
    """
    sides = ["left"] + ["right"] * (len(rows[0]) - 1)
    return tabulate(rows, "keys", "pipe", disable_numparse=True, colalign=sides)
