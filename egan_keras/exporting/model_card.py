"""What an export tells: to programs in JSON, to people as a model card and in print."""

import dataclasses
import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from egan_keras import schemas
from egan_keras.exporting.comparison import Parity
from egan_keras.text import for_markdown, printable
from egan_keras.thresholds import Calibration
from egan_keras.version import __version__

if TYPE_CHECKING:
    from egan_keras.model import EGAN

_UNCALIBRATED = Calibration(
    threshold=0.0,
    criterion="uncalibrated",
    target=None,
    confidence=None,
    n_majority=0,
    n_minority=0,
    guarantee="No guarantee: the threshold was not calibrated.",
)
_COLUMNS = (
    "",
    "images",
    "largest difference",
    "rank correlation",
    "AUROC change",
    "changed decisions",
)
_METRICS = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "f1": "F1",
    "balanced_accuracy": "balanced accuracy",
}
# Of so few minority images the card warns.
_FEW = 50
_CARD = """\
# Model card: {name}

An eGAN discriminator (arXiv 2104.04162) that scores images: high for the majority, \
low for the minority.

- Pairing (encoder -> discriminator): {pairing}
- Recipe: {recipe}
- Form: {form}, {export.kilobytes}
{sha256}- Written by egan_keras {told[package_version]}

## Intended use

To find images of {minority} (minority) among images of {majority} (majority), taken \
like those it was trained on. A person should look at what it finds: it sorts and \
alerts, it does not decide alone.

## Input and output

`{given[name]}`: {given[dtype]}, {count} of {given[shape][1]} x {given[shape][2]} RGB \
pixels, 0..255, without any normalisation: that is inside. Images of another size are \
stretched to this one.

`score`: {told[outputs][score]}.

`is_minority`: {told[outputs][is_minority]}.

## Threshold

{told[threshold][threshold]:.9g}, inside the model. {guarantee} This holds for images \
drawn like the held-out ones.

## Training data

{data}

## Results of this export

{results}

## The export against the model

{checks}

## Limits

{few}- Another camera, light, crop or file format shifts scores: calibrate again on \
images taken there.
- An image of neither class has a score too; nothing tells that it is neither.
- Scores are no probabilities.
"""


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Where a model comes from: what its metadata and model card tell.

    Attributes:
        majority: Names of the classes that are the majority.
        minority: Names of the classes that are the minority.
        n_majority: Majority images in training; `None` if not known.
        n_minority: Minority images in training; `None` if not known.
        seed: Seed of the training.
        gray_range: Values that were black and white in its images of more than 8 bits;
            `None` takes all that their type can hold.
    """

    majority: tuple[str, ...] = ("majority",)
    minority: tuple[str, ...] = ("minority",)
    n_majority: int | None = None
    n_minority: int | None = None
    seed: int | None = None
    gray_range: tuple[float, float] | None = None


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
        lines = [f"{printable(self.path)} ({self.kilobytes})", "", self._table(), ""]
        if self.calibration:
            lines.append(f"threshold {self.calibration.threshold:.6g}")
            lines.append(self.calibration.guarantee)
        else:
            lines.append("threshold 0, not calibrated")
        if self.results:
            shown = ", ".join(
                f"{_METRICS[name]} {self.results[name]:.3f}"
                for name in ("auroc", "sensitivity", "specificity")
                if name in self.results
            )
            lines.append(f"On {self.test_images}, at this threshold: {shown}")
        if self.shortfalls:
            lines.append(f"Beyond tolerance: {'; '.join(self.shortfalls)}.")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    @property
    def kilobytes(self) -> str:
        """Its size for people."""
        return f"{self.n_bytes / 1e3:,.0f} kB"

    def _table(self) -> str:
        sides = ("left", *["right"] * (len(_COLUMNS) - 1))
        return tabulate(
            self.rows, tablefmt="plain", disable_numparse=True, colalign=sides
        )

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Returns the checks in words, the headings first."""
        rows = [_COLUMNS]
        for name, parity in self.checks.items():
            change = parity.auroc_change
            rows.append(
                (
                    name,
                    f"{parity.n_images:,}",
                    f"{parity.largest_difference:.2g}",
                    f"{parity.rank_correlation:.4f}",
                    "one class" if change is None else f"{change:+.4f}",
                    f"{parity.changed_decisions:.2%}",
                )
            )
        return rows

    @property
    def test_images(self) -> str:
        """How many test images there were, in words."""
        return (
            f"{self.results['n_majority']:,} majority and "
            f"{self.results['n_minority']:,} minority test images"
        )


def describe(
    model: "EGAN",
    provenance: Provenance,
    form: str,
    calibration: Calibration | None,
    *,
    input_dtype: str,
    batch_size: int | None,
) -> dict[str, Any]:
    """Returns what an export tells of itself, as an object that JSON can hold."""
    gray_range = provenance.gray_range
    return {
        "format": schemas.FORMAT,
        "format_version": schemas.FORMAT_VERSION,
        "quantize": "float32" if form == "none" else form,
        "pairing": model.pairing,
        "recipe": str(model.recipe),
        "seed": provenance.seed,
        "input": {
            "name": "images",
            "dtype": input_dtype,
            "shape": [batch_size, *model.image_shape],
            "colour_order": "RGB",
            "range": [0, 255],
            "resize": "stretch",
            **({"gray_range": list(gray_range)} if gray_range else {}),
        },
        "outputs": {
            "score": "float32 (n, 1): high = majority, low = minority",
            "is_minority": "float32 (n, 1): 1 where score < threshold, else 0",
        },
        "classes": {
            "majority": list(provenance.majority),
            "minority": list(provenance.minority),
        },
        "threshold": {
            "calibrated": calibration is not None,
            **(calibration or _UNCALIBRATED).to_dict(),
        },
        "package_version": __version__,
    }


def model_card(told: dict[str, Any], provenance: Provenance, export: Export) -> str:
    """Returns in Markdown what a stranger must know before using an exported model.

    Args:
        told: What `describe` returned.
        provenance: What the model was trained on.
        export: What was written, and how it compares with the model.
    """
    classes = {
        role: ", ".join(map(for_markdown, names))
        for role, names in told["classes"].items()
    }
    form, few = told["quantize"], provenance.n_minority
    if "integer_share" in told:
        form += (
            f" ({told['integer_share']:.0%} of the multiplications in convolutions "
            "are of integers; the first layers and the head stay in float)"
        )
    limit = (
        f"- It has seen {few} minority image{'' if few == 1 else 's'}: minority images "
        "that look unlike them may score high.\n"
    )
    return _CARD.format(
        told=told,
        given=told["input"],
        export=export,
        **classes,
        name=for_markdown(export.path.name),
        pairing=for_markdown(told["pairing"]),
        recipe=for_markdown(told["recipe"]),
        form=form,
        sha256=f"- SHA-256 of the file: {export.sha256}\n" if export.sha256 else "",
        count="one image" if told["input"]["shape"][0] == 1 else "images",
        guarantee=for_markdown(told["threshold"]["guarantee"]),
        data=_data(classes, provenance),
        results=_results(export),
        checks=_checks(export),
        few=limit if few is not None and few < _FEW else "",
    )


def _data(classes: dict[str, str], provenance: Provenance) -> str:
    counts = provenance.n_majority, provenance.n_minority
    majority, minority = (
        "an unknown number of" if count is None else f"{count:,}" for count in counts
    )
    text = (
        f"{majority} majority images ({classes['majority']}) and {minority} minority "
        f"images ({classes['minority']})"
    )
    if all(counts):
        text += f": 1 to {counts[0] / counts[1]:,.0f}"
    return f"{text[0].upper()}{text[1:]}."


def _results(export: Export) -> str:
    results = export.results
    if results is None:
        return (
            "None: the export was given no test images, so nothing is known of how it "
            "does on images that took no part in training and calibration."
        )
    lines = [
        f"Measured with it on {export.test_images}, which took no part in training or "
        f"calibration, at its threshold {results['threshold']:.9g}.",
        "",
        "| metric | value | 95 % interval |",
        "|---|---|---|",
    ]
    for name, words in _METRICS.items():
        if name in results:
            low, high = results["ci95"][name]
            lines.append(f"| {words} | {results[name]:.3f} | {low:.3f} to {high:.3f} |")
    if "always_minority_f1" in results:
        value = results["always_minority_f1"]
        lines += ["", f"Always answering minority would have an F1 of {value:.3f}."]
    return "\n".join(lines)


def _checks(export: Export) -> str:
    heading, *rows = export.rows
    lines = [heading, ["---"] * len(heading), *rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if export.shortfalls:
        text += f"\n\nBeyond tolerance: {'; '.join(export.shortfalls)}. Use with care."
    return text
