"""`egan-keras export`: a run's discriminator for servers, phones and edge devices."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egan_keras.cli import options, runs

if TYPE_CHECKING:
    from egan_keras.exporting import Provenance

_DESCRIPTION = """\
Export the discriminator of a run, with its threshold, and check that it scores as
the run's model does.

It takes RGB pixels 0..255 at the run's image size; resizing and normalisation are
inside. It gives `score` and `is_minority`. Beside OUT.tflite stand OUT.json (size,
classes, threshold and its guarantee; also inside the file), OUT.md (the model card)
and OUT_golden/ (images with their scores, to check an integration by); a SavedModel
has the first two in its folder assets.extra/.

Scores are compared on the run's validation images and on some of its training images;
beyond tolerance nothing is written. Test images are reported on only. The threshold of
a quantised form is set again, on its scores of the validation images.
"""
_EPILOG = """\
Examples:
  egan-keras export runs/a --format tflite --quantize int8 --out egan.tflite
  egan-keras export runs/a --format savedmodel --out served/1
"""
_FORMATS = ("savedmodel", "tflite")
_FORMS = ("none", "float16", "dynamic", "int8")
_BATCHES = {"1": 1, "free": None}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "export",
        help="export a run's model to SavedModel or TFLite",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=options.HelpFormatter,
    )
    parser.add_argument(
        "folder", metavar="RUN", type=Path, help="folder written by `train`"
    )
    parser.add_argument("--format", choices=_FORMATS, required=True)
    parser.add_argument(
        "--quantize",
        choices=_FORMS,
        help="form of a .tflite file: weights of 16 bits (float16), of 8 bits "
        "(dynamic), or weights and activations of 8 bits (int8) (default: none)",
    )
    _add_image_options(parser.add_argument_group("images"))
    _add_interface_options(parser.add_argument_group("what it takes"))
    group = parser.add_argument_group("output")
    group.add_argument(
        "--out",
        metavar="PATH",
        type=Path,
        required=True,
        help="the .tflite file, or the folder of the SavedModel",
    )
    group.add_argument(
        "--overwrite", action="store_true", help="replace an earlier export at PATH"
    )
    group.add_argument(
        "--force",
        action="store_true",
        help="write it even if its scores differ beyond tolerance",
    )
    parser.set_defaults(run=run)


def _add_image_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--representative",
        metavar="ROOT",
        type=Path,
        help="folder of images, as for `train`, to set ranges and threshold on and to "
        "compare by (default: the images that the run was trained on)",
    )
    options.add_skip_option(group)


def _add_interface_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--input-dtype",
        choices=("uint8", "float32"),
        default="uint8",
        help="type of the pixels (default: %(default)s)",
    )
    group.add_argument(
        "--batch-size",
        choices=tuple(_BATCHES),
        help="images at once: one, or any number (default: 1 for tflite, free for "
        "savedmodel)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Exports as the options say.

    Returns:
        The exit code 0.

    Raises:
        ValueError: if run, images or options cannot be used, or the export does not
            score as the model does.
        FileNotFoundError: if the run, its images, or the folder to write to does not
            exist.
        FileExistsError: if there is something to write over, without `--overwrite`.
    """
    config = runs.RunConfig.load(arguments.folder)
    _check_out(arguments)
    root = _root(arguments, config)
    model = runs.load_model(arguments.folder)

    from egan_keras import exporting  # slow to import

    splits = _splits(arguments, config, root)
    common = {
        "validation_data": splits["validation"],
        "test_data": splits["test"],
        "provenance": _provenance(arguments.folder, config),
        "input_dtype": arguments.input_dtype,
        "force": arguments.force,
    }
    if arguments.batch_size:
        common["batch_size"] = _BATCHES[arguments.batch_size]
    if arguments.format == "savedmodel":
        export = exporting.export_saved_model(model, arguments.out, **common)
    else:
        export = exporting.export_tflite(
            model,
            arguments.out,
            quantize=arguments.quantize or "none",
            representative=splits["train"],
            **common,
        )
    print(export)
    print("\nWritten:")
    for path in export.files:
        print(f"  {path}")
    return 0


def _check_out(arguments: argparse.Namespace) -> None:
    """Refuses what cannot be written, before the model is loaded."""
    out = arguments.out
    if arguments.format == "savedmodel" and arguments.quantize:
        raise ValueError(
            "A SavedModel is not quantised; expected --quantize with --format tflite "
            f"alone. Received: --quantize {arguments.quantize}. Leave it out."
        )
    if arguments.format == "tflite" and out.suffix.lower() != ".tflite":
        raise ValueError(
            "The file to write needs the suffix .tflite. Received: --out "
            f"{out}. Name it, for example, {out.with_suffix('.tflite')}."
        )
    if not out.resolve().parent.is_dir():
        raise FileNotFoundError(
            "The folder to write to does not exist. Received: --out "
            f"{out}. Make {str(out.parent)!r} first."
        )
    if out.exists() and not arguments.overwrite:
        raise FileExistsError(
            "There is something already where the export would go; expected a new "
            f"name. Received: --out {out}. Name another one, or replace it with "
            "--overwrite."
        )
    is_saved_model = (out / "saved_model.pb").is_file()
    if out.is_dir() and (arguments.format == "tflite" or not is_saved_model):
        raise FileExistsError(
            "What is there is no earlier export, so it is not overwritten. Received: "
            f"--out {out}, a folder. Name another one."
        )


def _root(arguments: argparse.Namespace, config: runs.RunConfig) -> Path:
    root = arguments.representative or Path(config.options["data"])
    if not root.is_dir():
        raise FileNotFoundError(
            "The images to compare by are not there; expected the folder that the run "
            f"was trained on. Received: {str(root)!r}. Name a folder of images of the "
            "same classes with --representative."
        )
    return root


def _splits(
    arguments: argparse.Namespace, config: runs.RunConfig, root: Path
) -> dict[str, Any]:
    """Returns images and labels of each split; `None` for one without images."""
    from egan_keras.cli.run_images import load_images  # needs NumPy: not before

    splits = {}
    for name in ("train", "validation", "test"):
        splits[name] = None
        if any(config.files[name].values()):
            loaded = load_images(
                config, root, name, skip_unreadable=arguments.skip_unreadable
            )
            for note in loaded.notes:
                print(note)
            splits[name] = (loaded.images.images, loaded.images.labels)
    return splits


def _provenance(folder: Path, config: runs.RunConfig) -> "Provenance":
    from egan_keras.exporting import Provenance  # slow to import

    report = folder / runs.REPORT
    files = config.files["train"]
    majority, minority = (
        tuple(config.options[role]) for role in ("majority", "minority")
    )
    return Provenance(
        majority=majority,
        minority=minority,
        n_majority=sum(len(files.get(name, ())) for name in majority),
        n_minority=sum(len(files.get(name, ())) for name in minority),
        report=json.loads(report.read_text("utf-8")) if report.is_file() else None,
        seed=config.options["seed"],
        gray_range=config.gray_range,
    )
