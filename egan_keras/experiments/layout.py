"""How tables are laid out: one for each task and pairing, a column for each count."""

import string
from collections.abc import Callable, Iterator, Sequence

from egan_keras.experiments.grid import Cell, Pairing
from egan_keras.experiments.markdown import NONE, table
from egan_keras.experiments.methods import Method
from egan_keras.experiments.outcomes import Outcomes

_LETTERS = string.ascii_uppercase + string.ascii_lowercase


def by_task(outcomes: Outcomes) -> Iterator[tuple[str, list[Cell]]]:
    """Yields a title and the cells of each task, of each pairing apart."""
    for task in outcomes.tasks:
        for pairing in outcomes.pairings:
            cells = [
                cell
                for cell in outcomes.cells
                if (cell.task, cell.pairing) == (task, pairing)
            ]
            if cells:
                yield f"{task.name}{mark(pairing, outcomes)}", cells


def cell_table(
    outcomes: Outcomes,
    cells: Sequence[Cell],
    entry: Callable[[Outcomes, Cell, Method], str],
    methods: Sequence[Method] | None = None,
) -> str:
    """Returns a table of methods by minority counts.

    Args:
        outcomes: what was measured.
        cells: the cells of one task and pairing.
        entry: writes what a method did in a cell.
        methods: the methods; None takes all that ran in one of the cells.
    """
    rows = []
    for method in outcomes.methods if methods is None else methods:
        ran = [method in outcomes.aurocs(cell) for cell in cells]
        entries = [
            entry(outcomes, cell, method) if has_run else NONE
            for cell, has_run in zip(cells, ran, strict=True)
        ]
        if any(ran):
            rows.append([method.name, *entries])
    return table(["method", *(str(cell.count) for cell in cells)], rows)


def name_cell(cell: Cell, outcomes: Outcomes) -> str:
    """Returns a cell's name, with its pairing's letter where there are several."""
    return f"{cell}{mark(cell.pairing, outcomes)}"


def mark(pairing: Pairing, outcomes: Outcomes) -> str:
    """Returns the letter that stands for a pairing, nothing where there is one."""
    several = len(outcomes.pairings) > 1
    return f" ({_LETTERS[outcomes.pairings.index(pairing)]})" if several else ""
