"""Converts every backbone of Keras Applications to TFLite, and prints a table.

    python tests/benchmarks/conversion.py --records DIR [--data ROOT] [--out FILE]
        [BACKBONE ...]

Each backbone has a process of its own and a record in DIR, so that a run that was
stopped goes on, and the table shows all that have one. All are converted unless some
are named. With --data (a folder with the classes automobile and airplane), two
backbones with ImageNet weights are converted, too.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from egan_keras import backbones
from egan_keras.version import versions

_CASE = Path(__file__).with_name("conversion_case.py")
_PRETRAINED = ("MobileNet:alpha=0.25", "MobileNetV2:alpha=0.35")
_FORMS = {"none": "float32", "float16": "float16", "dynamic": "dynamic", "int8": "int8"}


def main() -> None:
    """Converts what has no record yet, and prints the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("backbones", metavar="BACKBONE", nargs="*")
    parser.add_argument("--records", type=Path, required=True, help="folder to keep")
    parser.add_argument("--data", type=Path, help="folder of CIFAR-10 images")
    parser.add_argument("--out", type=Path, help="file for the report")
    arguments = parser.parse_args()
    arguments.records.mkdir(parents=True, exist_ok=True)
    names = arguments.backbones or backbones.names()
    for name in names:
        _convert(name, arguments.records)
    for name in _PRETRAINED if arguments.data else ():
        _convert(name, arguments.records, arguments.data)
    random = _known(backbones.names(), arguments.records)
    real = _known(_PRETRAINED, arguments.records, pretrained=True)
    text = "\n".join(_report(random, real))
    print(text)
    if arguments.out:
        temporary = arguments.out.with_name(f".{arguments.out.name}")
        temporary.write_text(text + "\n", "utf-8")
        temporary.replace(arguments.out)


def _convert(name: str, records: Path, data: Path | None = None) -> None:
    """Runs the case of a backbone, unless it has a record."""
    file = _file(name, records, pretrained=data is not None)
    if file.is_file():
        return
    print(name, file=sys.stderr, flush=True)
    command = [sys.executable, str(_CASE), name]
    if data:
        command += ["--data", str(data)]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(command, capture_output=True, text=True, env=quiet)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        text = json.dumps({"error": f"ended with {done.returncode}: {last}"})
    else:
        text = done.stdout.strip().splitlines()[-1]
    temporary = file.with_suffix(".unfinished")
    temporary.write_text(text, "utf-8")
    temporary.replace(file)


def _known(
    names: Iterable[str], records: Path, *, pretrained: bool = False
) -> dict[str, dict]:
    """Returns the records that there are, by backbone."""
    files = {name: _file(name, records, pretrained=pretrained) for name in names}
    return {
        name: json.loads(file.read_text("utf-8"))
        for name, file in files.items()
        if file.is_file()
    }


def _file(name: str, records: Path, *, pretrained: bool) -> Path:
    return records / f"{name.replace(':', '_')}{'_imagenet' if pretrained else ''}.json"


def _report(random: dict[str, dict], real: dict[str, dict]) -> Iterator[str]:
    yield "# Conversion of every backbone to TFLite"
    yield ""
    yield "    python tests/benchmarks/conversion.py --records records \\"
    yield "        --data images/cifar10 --out conversion.md"
    yield ""
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    yield (
        f"Run {datetime.date.today()} on {platform.machine()}, {os.cpu_count()} cores, "
        f"no GPU; {packages}. Discriminators of the recipe `default`, one image at a "
        "time; latency is the median of 50 images on one thread. The largest "
        "difference is in standard deviations of the scores."
    )
    yield ""
    if real:
        yield "## ImageNet weights, automobile against two airplanes"
        yield ""
        yield "100 test images, evenly spaced; int8 before its threshold is set again."
        yield ""
        yield from _table(real)
    yield "## Random weights, smallest size"
    yield ""
    missing = [name for name in backbones.names() if name not in random]
    if missing:
        yield f"Not run: {', '.join(missing)}."
        yield ""
    yield (
        "Zeros against ones (scikit-learn's digits); batch normalisation adapted to "
        "one batch. Random weights say whether a network converts and what it costs, "
        "not how much quality a trained one loses."
    )
    yield ""
    yield from _table(random)
    yield from _operators({**random, **real})


def _table(records: dict[str, dict]) -> Iterator[str]:
    columns = ["backbone", "side", "parameters"]
    columns += [f"{form}, kB" for form in _FORMS.values()]
    columns += [f"{form}, ms" for form in ("float32", "int8")]
    columns += ["float32, largest difference"]
    columns += [f"{form}, rank correlation" for form in ("float16", "dynamic", "int8")]
    columns += ["int8, AUROC change"]
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for name, record in records.items():
        if "error" in record:
            yield f"| {name} | {record['error']} |"
            continue
        forms = record["forms"]
        cells = [name, str(record["side"]), f"{record['parameters']:,}"]
        cells += [_cell(forms[form], "bytes", "{:,.0f}", 1e-3) for form in _FORMS]
        cells += [_cell(forms[f], "milliseconds", "{:.2f}") for f in ("none", "int8")]
        cells += [_cell(forms["none"], "largest_difference", "{:.1e}")]
        for form in ("float16", "dynamic", "int8"):
            cells.append(_cell(forms[form], "rank_correlation", "{:.3f}"))
        cells.append(_cell(forms["int8"], "auroc_change", "{:+.4f}"))
        yield f"| {' | '.join(cells)} |"
    yield ""


def _cell(form: dict, name: str, layout: str, unit: float = 1.0) -> str:
    return "fails" if "error" in form else layout.format(form[name] * unit)


def _operators(records: dict[str, dict]) -> Iterator[str]:
    yield "## Operators"
    yield ""
    yield "All are TFLite's own. In float32:"
    yield ""
    for name, record in records.items():
        operators = record.get("forms", {}).get("none", {}).get("operators", {})
        counted = ", ".join(f"{each} {count}" for each, count in operators.items())
        yield f"- {name}: {counted or 'not converted'}"
    errors = {
        f"{name}, {form}": values["error"]
        for name, record in records.items()
        for form, values in record.get("forms", {}).items()
        if "error" in values
    }
    if errors:
        yield ""
        yield "What failed:"
        yield ""
        yield from (f"- {name}: {error}" for name, error in errors.items())


if __name__ == "__main__":
    main()
