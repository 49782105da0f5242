"""What an export came to: its threshold, and how its scores compare."""

import dataclasses
import html
from pathlib import Path
from typing import Any

from egan_keras.exporting.parity import Parity
from egan_keras.text import printable
from egan_keras.thresholds import Calibration

_COLUMNS = (
    "",
    "images",
    "largest difference",
    "rank correlation",
    "AUROC change",
    "changed decisions",
)
METRICS = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "F1",
    "balanced_accuracy": "balanced accuracy",
}


@dataclasses.dataclass(frozen=True)
class Export:
    """An export that was written and checked.

    Attributes:
        path: The .tflite file, or the folder of the SavedModel.
        files: It and what stands beside it.
        form: `"savedmodel"`, or the form of the .tflite file.
        n_bytes: Its size.
        sha256: Of the .tflite file; `None` for a folder.
        calibration: How its threshold was set; `None` if it was not.
        checks: How its scores compare with the model's, by the rows of the table.
        results: Its own metrics on the test images at its threshold, with 95%
            intervals as `ci95`; `None` without test images.
        shortfalls: In words, where it is beyond tolerance; empty unless it was
            written by force.
    """

    path: Path
    files: tuple[Path, ...]
    form: str
    n_bytes: int
    calibration: Calibration | None
    checks: dict[str, Parity]
    results: dict[str, Any] | None = None
    sha256: str | None = None
    shortfalls: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Returns the checks as an aligned table, and the threshold."""
        size = f"{self.n_bytes / 1e3:,.0f} kB"
        lines = [f"{printable(self.path)} ({size})", "", *table(self.checks), ""]
        if self.calibration:
            lines.append(f"threshold {self.calibration.threshold:.6g}")
            lines.append(self.calibration.guarantee)
        else:
            lines.append("threshold 0, not calibrated")
        if self.results:
            lines.append(
                f"On {self.results['n_majority']:,} majority and "
                f"{self.results['n_minority']:,} minority test images, at this "
                "threshold: "
                + ", ".join(
                    f"{METRICS[name]} {self.results[name]:.3f}"
                    for name in ("auroc", "sensitivity", "specificity")
                    if name in self.results
                )
            )
        if self.shortfalls:
            lines.append(f"Beyond tolerance: {'; '.join(self.shortfalls)}.")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def cells(checks: dict[str, Parity]) -> list[tuple[str, ...]]:
    """Returns the checks in words, a tuple a row, the headings first."""
    return [_COLUMNS, *(_row(name, parity) for name, parity in checks.items())]


def table(checks: dict[str, Parity]) -> list[str]:
    """Returns the checks as the lines of an aligned table."""
    rows = cells(checks)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" if number == 0 else f"{cell:>{width}}"
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def to_json(checks: dict[str, Parity]) -> dict[str, Any]:
    """Returns the checks as an object that JSON can hold."""
    return {name: dataclasses.asdict(parity) for name, parity in checks.items()}


def _row(name: str, parity: Parity) -> tuple[str, ...]:
    change = parity.auroc_change
    return (
        name,
        f"{parity.n_images:,}",
        f"{parity.largest_difference:.2g}",
        f"{parity.rank_correlation:.4f}",
        "one class" if change is None else f"{change:+.4f}",
        f"{parity.changed_decisions:.2%}",
    )
