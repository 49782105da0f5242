"""What an export tells: to programs in JSON, to people as a model card and in print."""

import dataclasses
import html
from collections.abc import Sequence
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

_NOT_CALIBRATED = "No guarantee: the threshold was not calibrated."
_UNCALIBRATED = Calibration(0.0, "uncalibrated", None, None, 0, 0, _NOT_CALIBRATED)
_COLUMNS = (
    ", images, largest difference, rank correlation, AUROC change, changed decisions"
).split(", ")
_METRICS = (
    "auroc average_precision sensitivity specificity precision f1 balanced_accuracy"
).split()
_IN_WORDS = {"auroc": "AUROC", "f1": "F1"}
_HEAT_MAP = (
    "float32 (n, height, width): where an image speaks for minority; 0 is as telling "
    "as the most telling places of usual majority images, 1 takes an else usual image "
    "from the middle of the majority to score 0"
)
_TEST_IMAGES = "{n_majority:,} majority and {n_minority:,} minority test images"
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
{heat_map}
## Threshold

{told[threshold][threshold]:.9g}, inside the model. {guarantee} This holds for images \
drawn like the held-out ones.

## Training data

{n_majority} majority images ({majority}) and {n_minority} minority images \
({minority}){ratio}.

## Results of this export

{results}

## The export against the model

{checks}

## Limits

{limit}- Another camera, light, crop or file format shifts scores: calibrate again on \
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
        sides = ["left", *["right"] * (len(_COLUMNS) - 1)]
        options = {"disable_numparse": True, "colalign": sides}
        table = tabulate(self.rows, tablefmt="plain", **options)
        lines = [f"{printable(self.path)} ({self.kilobytes})", "", table, ""]
        if known := self.calibration:
            lines += [f"threshold {known.threshold:.6g}", known.guarantee]
        else:
            lines.append("threshold 0, not calibrated")
        if self.results:
            shown = ", ".join(
                f"{_in_words(name)} {self.results[name]:.3f}"
                for name in ("auroc", "sensitivity", "specificity")
                if name in self.results
            )
            images = _TEST_IMAGES.format(**self.results)
            lines.append(f"On {images}, at this threshold: {shown}")
        if self.shortfalls:
            lines.append(f"Beyond tolerance: {'; '.join(self.shortfalls)}.")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    @property
    def kilobytes(self) -> str:
        """Its size for people."""
        return f"{self.n_bytes / 1e3:,.0f} kB"

    @property
    def rows(self) -> list[Sequence[str]]:
        """The checks in words, the headings first."""
        rows: list[Sequence[str]] = [_COLUMNS]
        for name, parity in self.checks.items():
            change = parity.auroc_change
            row = (
                name,
                f"{parity.n_images:,}",
                f"{parity.largest_difference:.2g}",
                f"{parity.rank_correlation:.4f}",
                "one class" if change is None else f"{change:+.4f}",
                f"{parity.changed_decisions:.2%}",
            )
            rows.append(row)
        return rows


def describe(
    model: "EGAN",
    provenance: Provenance,
    form: str,
    calibration: Calibration | None,
    *,
    input_dtype: str,
    batch_size: int | None,
    heat_map: bool = False,
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
            **({"heat_map": _HEAT_MAP} if heat_map else {}),
        },
        "classes": {
            role: list(getattr(provenance, role)) for role in ("majority", "minority")
        },
        "threshold": {
            "calibrated": calibration is not None,
            **(calibration or _UNCALIBRATED).to_dict(),
        },
        "package_version": __version__,
    }


def model_card(told: dict[str, Any], provenance: Provenance, export: Export) -> str:
    """Returns in Markdown what a stranger must know before using an exported model."""
    given, form, few = told["input"], told["quantize"], provenance.n_minority
    if "integer_share" in told:
        form += (
            f" ({told['integer_share']:.0%} of the multiplications in convolutions "
            "are of integers; the first layers and the head stay in float)"
        )
    limit, ratio = "", ""
    if few == 0:
        limit = (
            "- It has seen no minority image: it finds what is unlike the majority.\n"
        )
    elif few is not None and few < _FEW:
        limit = (
            f"- It has seen {few} minority image{'' if few == 1 else 's'}: minority "
            "images that look unlike them may score high.\n"
        )
    if few and provenance.n_majority:
        ratio = f": 1 to {provenance.n_majority / few:,.0f}"
    counts = {
        "n_majority": "An unknown number of",
        "n_minority": "an unknown number of",
    }
    for name in counts:
        if (count := getattr(provenance, name)) is not None:
            counts[name] = f"{count:,}"
    classes = {
        role: ", ".join(map(for_markdown, names))
        for role, names in told["classes"].items()
    }
    checks = _markdown(export.rows)
    if beyond := "; ".join(export.shortfalls):
        checks += f"\n\nBeyond tolerance: {beyond}. Use with care."
    heat_map = told["outputs"].get("heat_map")
    return _CARD.format(
        heat_map=f"\n`heat_map`: {heat_map}.\n" if heat_map else "",
        **counts,
        **classes,
        told=told,
        given=given,
        export=export,
        name=for_markdown(export.path.name),
        pairing=for_markdown(told["pairing"]),
        recipe=for_markdown(told["recipe"]),
        form=form,
        sha256=f"- SHA-256 of the file: {export.sha256}\n" if export.sha256 else "",
        count="one image" if given["shape"][0] == 1 else "images",
        guarantee=for_markdown(told["threshold"]["guarantee"]),
        ratio=ratio,
        results=_results(export.results),
        checks=checks,
        limit=limit,
    )


def _results(results: dict[str, Any] | None) -> str:
    if results is None:
        return (
            "None: the export was given no test images, so nothing is known of how it "
            "does on images that took no part in training and calibration."
        )
    rows = [("metric", "value", "95 % interval")]
    for name in [name for name in _METRICS if name in results]:
        value, (low, high) = results[name], results["ci95"][name]
        rows.append((_in_words(name), f"{value:.3f}", f"{low:.3f} to {high:.3f}"))
    text = (
        f"Measured with it on {_TEST_IMAGES.format(**results)}, which took no part in "
        f"training or calibration, at its threshold {results['threshold']:.9g}.\n\n"
        f"{_markdown(rows)}"
    )
    if "always_minority_f1" in results:
        f1 = results["always_minority_f1"]
        text += f"\n\nAlways answering minority would have an F1 of {f1:.3f}."
    return text


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    heading, *others = rows
    ruled = [heading, ["---"] * len(heading), *others]
    return "\n".join(f"| {' | '.join(row)} |" for row in ruled)


def _in_words(metric: str) -> str:
    return _IN_WORDS.get(metric, metric.replace("_", " "))
