"""What one worker does a second, what two do, and what a listing takes.

    python tests/benchmarks/scale.py --out DIR [PART ...]

Parts, all unless some are named:

    rates: one worker on one processor, by backbone and side of the images: images a
        second of the processor's time, and of decoding alone, bytes of an image and
        of its vector, memory
    pair: two of Ray's workers against one, three turns each, of one thread each
    listing: names, generated and listed, and files of this machine: seconds, memory
    million: 1,000,000 generated images through `features` on two workers, and `fit`

DIR needs 2 GB, keeps what was found in results.jsonl, and gets scale.md.
"""

import argparse
import collections
import json
import os
import platform
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import psutil
from scale_cases import jpeg, make_network

CASES = str(Path(__file__).with_name("scale_cases.py"))
# Backbone, side of the images. None of the weights is looked at.
RATES = [
    ("MobileNet:alpha=0.25", 32),
    ("MobileNetV2:alpha=0.35", 96),
    ("MobileNetV2:alpha=0.35", 224),
    ("MobileNetV2", 224),
    ("EfficientNetV2B0", 224),
    ("DenseNet121", 224),
]
PAIR = ("MobileNetV2:alpha=0.35", 96)
NAMES = (1_000_000, 10_000_000, 100_000_000)
LOCAL_FILES = 500_000
TURNS = 3


def measured(case: str, *arguments: object) -> dict:
    """Runs a case in a process of its own, so that its memory is its own."""
    command = [sys.executable, CASES, case, *map(str, arguments)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(
        command, check=True, text=True, env=environment, stdout=subprocess.PIPE
    )
    return json.loads(done.stdout.splitlines()[-1])


def photos(folder: Path, side: int) -> Path:
    """Writes images a seventh larger than what the network takes."""
    place, random = folder / f"photos_{side}", np.random.default_rng(0)
    place.mkdir(exist_ok=True)
    for number in range(640):
        content = jpeg(random, side * 8 // 7)
        (place / f"{number:03}.jpg").write_bytes(content)
    return place


def main() -> None:
    """Measures what is asked for and not known yet, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parts = ("rates", "pair", "listing", "million")
    parser.add_argument("parts", nargs="*", default=[], metavar="PART")
    given = parser.parse_args()
    chosen = given.parts or parts
    given.out.mkdir(parents=True, exist_ok=True)
    log = given.out / "results.jsonl"
    with log.open("a") as file:

        def note(part: str, **found) -> None:
            print(part, found, flush=True)
            print(json.dumps({"part": part, **found}), file=file, flush=True)

        if "rates" in chosen:
            for backbone, side in RATES:
                network = given.out / "network.tflite"
                make_network(backbone, side, network)
                found = measured("rate", network, photos(given.out, side))
                note("rates", backbone=backbone, side=side, **found)
        if "pair" in chosen:
            network = given.out / "network.tflite"
            make_network(*PAIR, network)
            place = photos(given.out, PAIR[1])
            for _ in range(TURNS):
                for workers in (1, 2):
                    found = measured("pair", network, place, workers)
                    note("pair", workers=workers, **found)
        if "listing" in chosen:
            for count in NAMES:
                note("listing", count=count, **measured("names", count, given.out))
            found = measured("local", LOCAL_FILES, given.out)
            note("local", count=LOCAL_FILES, **found)
        if "million" in chosen:
            million(given.out, note)
    (given.out / "scale.md").write_text(table(log), "utf-8")


def million(folder: Path, note) -> None:
    """Passes the million through the commands as a user would."""
    images, out = folder / "million", folder / "features"
    images.mkdir(exist_ok=True)
    note("generate", **measured("generate", images))
    command = [sys.executable, "-m", "egan_keras", "features", "MobileNet:alpha=0.25"]
    command += [str(images / "*.parquet"), "--image-size", "32", "--out", str(out)]
    command += ["--engine", "ray", "--workers", "2"]
    started = time.perf_counter()
    process = psutil.Popen(command)
    peaks: dict[int, float] = collections.defaultdict(float)
    while process.poll() is None:
        for each in [process, *process.children(recursive=True)]:
            try:
                if each.pid == process.pid or each.name().startswith("ray::Worker"):
                    peaks[each.pid] = max(peaks[each.pid], each.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        time.sleep(1)
    seconds = time.perf_counter() - started
    assert process.returncode == 0
    driver = peaks.pop(process.pid)
    written = sum(path.stat().st_size for path in out.rglob("*.parquet"))
    found = {"seconds": seconds, "bytes_written": written}
    found |= {"driver_mb": driver / 2**20, "worker_mb": max(peaks.values()) / 2**20}
    note("features", **found)
    note("fit", **measured("fit", out, folder / "copy"))


def table(log: Path) -> str:
    """Returns the results as Markdown."""
    found = collections.defaultdict(list)
    for line in log.read_text("utf-8").splitlines():
        row = json.loads(line)
        found[row.pop("part")].append(row)
    lines = [
        "# Very many images",
        "",
        "    python tests/benchmarks/scale.py --out DIR",
        "",
        f"Run on {date.today()} on {platform.machine()}, {os.cpu_count()} cores. Times "
        "in seconds, memory in MB: the process's peak.",
        "",
    ]
    for part, rows in found.items():
        lines += [f"## {part}", "", "| " + " | ".join(rows[0]) + " |"]
        lines.append("|" + "---|" * len(rows[0]))
        for row in rows:
            shown = [
                x if isinstance(x, str) else f"{_round(x):,}" for x in row.values()
            ]
            lines.append("| " + " | ".join(shown) + " |")
        lines.append("")
        if part == "pair":
            one, two = (
                [row["images_s"] for row in rows if row["workers"] == count]
                for count in (1, 2)
            )
            ratios = sorted(b / a for a, b in zip(one, two, strict=False))
            told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            lines += [f"Two workers to one, turn by turn: {told}.", ""]
    return "\n".join(lines)


def _round(number: float) -> float:
    return number if isinstance(number, int) else float(f"{number:.3g}")


if __name__ == "__main__":
    main()
