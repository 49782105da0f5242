"""The model card: what a stranger must know before using an exported model."""

from typing import Any

from egan_keras.exporting.provenance import Provenance
from egan_keras.exporting.result import METRICS, Export, cells
from egan_keras.text import for_markdown


def model_card(metadata: dict[str, Any], provenance: Provenance, export: Export) -> str:
    """Returns the model card in Markdown.

    Args:
        metadata: What `metadata.describe` returned.
        provenance: What the model was trained on.
        export: What was written, and how it compares with the model.
    """
    sections = {
        f"Model card: {for_markdown(export.path.name)}": _summary(metadata, export),
        "Intended use": _intended_use(metadata),
        "Input and output": _interface(metadata),
        "Threshold": _threshold(metadata),
        "Training data": _data(metadata, provenance),
        "Results of this export": _results(export),
        "The export against the model": _checks(export),
        "Limits": _limits(provenance),
    }
    return "\n".join(
        f"{'#' if number == 0 else '##'} {title}\n\n{text}\n"
        for number, (title, text) in enumerate(sections.items())
    )


def _names(metadata: dict[str, Any], role: str) -> str:
    return ", ".join(map(for_markdown, metadata["classes"][role]))


def _summary(metadata: dict[str, Any], export: Export) -> str:
    form = metadata["quantize"]
    if "integer_share" in metadata:
        form += (
            f" ({metadata['integer_share']:.0%} of the multiplications in convolutions "
            "are of integers; the first layers and the head stay in float)"
        )
    return (
        "An eGAN discriminator (arXiv 2104.04162) that scores images: high for the "
        "majority, low for the minority.\n\n"
        f"- Pairing (encoder -> discriminator): {for_markdown(metadata['pairing'])}\n"
        f"- Recipe: {for_markdown(metadata['recipe'])}\n"
        f"- Form: {form}, {export.n_bytes / 1e3:,.0f} kB\n"
        + (f"- SHA-256 of the file: {export.sha256}\n" if export.sha256 else "")
        + f"- Written by egan_keras {metadata['package_version']}"
    )


def _intended_use(metadata: dict[str, Any]) -> str:
    return (
        f"To find images of {_names(metadata, 'minority')} (minority) among images of "
        f"{_names(metadata, 'majority')} (majority), taken like those it was trained "
        "on. A person should look at what it finds: it sorts and alerts, it does not "
        "decide alone."
    )


def _interface(metadata: dict[str, Any]) -> str:
    given = metadata["input"]
    batch, height, width, _ = given["shape"]
    count = "one image" if batch == 1 else "images"
    return (
        f"`{given['name']}`: {given['dtype']}, {count} of {height} x {width} RGB "
        "pixels, 0..255, without any normalisation: that is inside. Images of another "
        "size are stretched to this one.\n\n"
        f"`score`: {metadata['outputs']['score']}.\n\n"
        f"`is_minority`: {metadata['outputs']['is_minority']}."
    )


def _threshold(metadata: dict[str, Any]) -> str:
    threshold = metadata["threshold"]
    return (
        f"{threshold['threshold']:.9g}, inside the model. "
        f"{for_markdown(threshold['guarantee'])} "
        "This holds for images drawn like the held-out ones."
    )


def _data(metadata: dict[str, Any], provenance: Provenance) -> str:
    majority, minority = (
        "an unknown number of" if count is None else f"{count:,}"
        for count in (provenance.n_majority, provenance.n_minority)
    )
    text = (
        f"{majority} majority images ({_names(metadata, 'majority')}) and {minority} "
        f"minority images ({_names(metadata, 'minority')})"
    )
    if provenance.n_majority and provenance.n_minority:
        text += f": 1 to {provenance.n_majority / provenance.n_minority:,.0f}"
    return f"{text[0].upper()}{text[1:]}."


def _results(export: Export) -> str:
    results = export.results
    if results is None:
        return (
            "None: the export was given no test images, so nothing is known of how it "
            "does on images that took no part in training and calibration."
        )
    lines = [
        f"Measured with it on {results['n_majority']:,} majority and "
        f"{results['n_minority']:,} minority test images, which took no part in "
        f"training or calibration, at its threshold {results['threshold']:.9g}.",
        "",
        "| metric | value | 95 % interval |",
        "|---|---|---|",
    ]
    for name, words in METRICS.items():
        if name in results:
            low, high = results["ci95"][name]
            row = words, f"{results[name]:.3f}", f"{low:.3f} to {high:.3f}"
            lines.append(f"| {' | '.join(row)} |")
    if "always_minority_f1" in results:
        lines += [
            "",
            "Always answering minority would have an F1 of "
            f"{results['always_minority_f1']:.3f}.",
        ]
    return "\n".join(lines)


def _checks(export: Export) -> str:
    heading, *rows = cells(export.checks)
    lines = [heading, ("---",) * len(heading), *rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if export.shortfalls:
        text += f"\n\nBeyond tolerance: {'; '.join(export.shortfalls)}. Use with care."
    return text


def _limits(provenance: Provenance) -> str:
    few = provenance.n_minority
    limits = []
    if few is not None and few < 50:
        limits.append(
            f"It has seen {few} minority image{'' if few == 1 else 's'}: minority "
            "images that look unlike them may score high."
        )
    limits += [
        "Another camera, light, crop or file format shifts scores: calibrate again on "
        "images taken there.",
        "An image of neither class has a score too; nothing tells that it is neither.",
        "Scores are no probabilities.",
    ]
    return "\n".join(f"- {limit}" for limit in limits)
