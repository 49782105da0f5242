"""Export what scores images, with its threshold, checked to score as the run.

The export takes RGB pixels 0..255 at the run's image size, and gives `score`
and `is_minority`. Beside OUT.tflite or OUT.onnx stand OUT.json (size, classes,
threshold), OUT.md (the model card) and OUT_golden/ (images with their scores,
to test an app by).

Scores are compared with the run's; beyond tolerance nothing is written.

Examples:
  egan-keras export runs/a --format tflite --quantize int8 --out egan.tflite
  egan-keras export runs/a --format savedmodel --out served/1
  egan-keras export runs/a --format onnx --out egan.onnx
"""

import dataclasses
from pathlib import Path
from typing import Any, Literal

from egan_keras import cli
from egan_keras.cli import runs
from egan_keras.cli.options import option
from egan_keras.cli.run_images import load_images
from egan_keras.text import printable

_WRITERS = {
    "savedmodel": "export_saved_model",
    "tflite": "export_tflite",
    "onnx": "export_onnx",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """All options of `export`.

    Attributes:
        folder: folder written by `train`
        format: what is written; onnx needs pip install 'egan-keras[onnx]'
        out: the .tflite or .onnx file, or the folder of the SavedModel
        quantize: form of a .tflite file: weights of 16 bits (float16), of 8 bits
            (dynamic), or weights and activations of 8 bits (int8) (default: none)
        heat_map: also put out where an image speaks for minority
        overwrite: replace an earlier export
    What it takes:
        input_dtype: type of the pixels
        batch_size: images at once: one, or any number (default: 1 for tflite, else
            free)
    How it is checked:
        representative: folder of images, as for `train`, to set ranges and threshold on
            and to compare by (default: the images that the run was trained on)
        skip_unreadable: leave out files that cannot be read
        force: write it even if its scores differ beyond tolerance
    """

    folder: Path = option(flag="", metavar="RUN")
    format: Literal["savedmodel", "tflite", "onnx"]
    quantize: Literal["none", "float16", "dynamic", "int8"] | None = None
    representative: Path | None = option(None, metavar="ROOT")
    skip_unreadable: bool = False
    input_dtype: Literal["uint8", "float32"] = "uint8"
    batch_size: Literal["1", "free"] | None = None
    heat_map: bool = False
    out: Path = option(metavar="PATH")
    overwrite: bool = False
    force: bool = False


def run(given: Options) -> int:
    """Exports as the options say."""
    config = runs.RunConfig.load(given.folder)
    _check_out(given)
    root = given.representative or Path(config.options["data"])
    if not root.is_dir():
        raise FileNotFoundError(
            "The images to compare by are not there; expected the folder that the run "
            f"was trained on. Received: {str(root)!r}. Name a folder of images of the "
            "same classes with --representative."
        )
    print(f"Loading the model of {printable(given.folder)}", flush=True)
    model = runs.load_model(given.folder)
    print(f"Finding the images of {printable(root)}", flush=True)
    splits: dict[str, Any] = dict.fromkeys(config.files)
    for name in [name for name, files in config.files.items() if any(files.values())]:
        skip = given.skip_unreadable
        loaded = load_images(config, root, name, skip_unreadable=skip)
        for note in loaded.notes:
            print(note)
        splits[name] = (loaded.images.images, loaded.images.labels)
    roles = {role: tuple(config.options[role]) for role in ("majority", "minority")}
    roles["minority"] = roles["minority"] or ("all else",)
    counts = {
        f"n_{role}": sum(len(config.files["train"].get(name, ())) for name in names)
        for role, names in roles.items()
    }
    from egan_keras.exporting import exports, model_card

    told = {"seed": config.options["seed"], "gray_range": config.gray_range}
    common = {
        "validation_data": splits["validation"],
        "test_data": splits["test"],
        "provenance": model_card.Provenance(**roles, **counts, **told),
        "input_dtype": given.input_dtype,
        "heat_map": given.heat_map,
        "force": given.force,
    }
    if given.batch_size:
        common["batch_size"] = 1 if given.batch_size == "1" else None
    if given.format != "savedmodel":
        common["representative"] = splits["train"]
    if given.format == "tflite":
        common["quantize"] = given.quantize or "none"
    write = getattr(exports, _WRITERS[given.format])
    export = write(model, given.out, **common)
    print(export)
    cli.tell_written(export.files)
    if given.format == "tflite":
        golden = given.out.with_name(f"{given.out.stem}_golden")
        cli.tell_next("score", given.out, golden)
    return 0


def _check_out(given: Options) -> None:
    """Refuses what cannot be written, before the model is loaded."""
    out, is_file = given.out, given.format != "savedmodel"
    if given.quantize and given.format != "tflite":
        raise ValueError(
            "What is no .tflite file is not quantised; expected --quantize with "
            f"--format tflite alone. Received: --quantize {given.quantize}. Leave it "
            "out."
        )
    suffix = f".{given.format}"
    if is_file and out.suffix.lower() != suffix:
        raise ValueError(
            f"The file to write needs the suffix {suffix}. Received: --out "
            f"{out}. Name it, for example, {out.with_suffix(suffix)}."
        )
    if given.format == "onnx":
        # It imports LiteRT, which `--help` does not wait for.
        from egan_keras.exporting.onnx_file import check_installed

        check_installed()
    written = [out]
    if is_file:
        golden = out.with_name(f"{out.stem}_golden")
        written += [out.with_suffix(".json"), out.with_suffix(".md"), golden]
    there = [str(path) for path in written if path.exists()]
    if there and not given.overwrite:
        raise FileExistsError(
            "There is something already where the export would go; expected a new "
            f"name. Received: --out {str(out)!r}, and there is {', '.join(there)}. "
            "Name another one, or replace what is there with --overwrite."
        )
    if out.is_dir() and (is_file or not (out / "saved_model.pb").is_file()):
        raise FileExistsError(
            "What is there is no earlier export, so it is not overwritten. Received: "
            f"--out {out}, a folder. Name another one."
        )
