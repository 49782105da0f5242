"""Label images in the order that helps most, on a page, and train again.

The page shows the images below IMAGES one after the other: those most like the
minority, nearest to the threshold, or unlike all that was seen. One key labels
an image; Backspace takes it back; T trains on all labels and on the run's own
images, within seconds, and puts what is left in a new order. RUN stays as it
is.

Each label is at once a line of labels.csv: path and label. Ctrl-C ends; the
same command goes on where it ended. The page is for this machine, under an
address that is a new secret each time. From elsewhere: ssh -L
PORT:127.0.0.1:PORT, and --port.

Exit codes: 0 ended by Ctrl-C or SIGTERM; others as `egan-keras --help` lists
them.

Examples:
  egan-keras review runs/a new_images
  egan-keras review runs/a new_images --labels monday.csv --no-browser
"""

import contextlib
import dataclasses
import os
import sys
import webbrowser
from pathlib import Path
from typing import Any

import numpy as np

from egan_keras import cli, logs
from egan_keras.cli import options, rooms, run_results, runs
from egan_keras.cli.options import GrayRange, option, value
from egan_keras.text import printable

_PORT = value(int, lambda n: 0 < n < 2**16, "a whole number from 1 to 65535")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """All options of `review`.

    Attributes:
        folder: folder written by `train`
        images: folder of images to label, searched with all below it
        labels: CSV file for the labels; one that is there is gone on with
        no_browser: do not open the page, only print its address
        port: where to serve the page (default: any free port)
    Images:
        gray_range: values that are black and white in grayscale images of more than 8
            bits, as for train (default: the model's)
        cache: where the frozen features are kept, as for train
    """

    folder: Path = option(flag="", metavar="RUN")
    images: Path = option(flag="", metavar="IMAGES", type=Path)
    labels: Path = option(Path("labels.csv"), metavar="FILE")
    port: int | None = option(None, type=_PORT)
    no_browser: bool = False
    gray_range: GrayRange | None = None
    cache: str = option("auto", metavar="auto|memory|disk|DIR")


def run(given: Options) -> int:
    """Finds the images, judges them, and serves the page until Ctrl-C."""
    from egan_keras.review import label_file, server

    options.check_file("--labels", given.labels)
    config = runs.RunConfig.load(given.folder)
    majority = list(config.options["majority"])
    minority = list(config.options["minority"]) or ["minority"]
    known = [*majority, *minority]
    if label_file.UNSURE in known:
        raise ValueError(
            f"A class of the run is called {label_file.UNSURE!r}, which on the page "
            "says that nobody can tell; expected other names. Received: majority "
            f"{', '.join(majority)}, minority {', '.join(minority)}. Rename the folder "
            "and train again."
        )
    root = Path(config.options["data"])
    trained = {
        root / path: int(name in minority)
        for path, (name, _) in config.recorded("train").items()
    }
    paths = _images(given, config, {path.resolve() for path in trained})
    place = server.Server(given.port or 0)
    given.labels.parent.mkdir(parents=True, exist_ok=True)
    labels = label_file.LabelFile(given.labels, [*known, label_file.UNSURE])
    with contextlib.closing(labels):
        for note in labels.notes:
            print(printable(note))
        learner = _learner(given, config, paths, trained)
        _serve(given, learner, paths, place, labels, majority, minority)
    _tell_end(given, labels.labels, majority, minority)
    return 0


def _images(given: Options, config: runs.RunConfig, trained: set[Path]) -> list[Path]:
    """Returns the images to label: readable, and not trained on."""
    if not given.images.is_dir():
        raise FileNotFoundError(
            "There is no such folder; expected a folder of images to label. Received: "
            f"{str(given.images)!r}. Check the path."
        )
    found = rooms.data.find_images(given.images)
    cli.tell_passed_over(found.passed_over)
    logs.tell(f"Reading {len(found):,} images")
    gray_range = given.gray_range or config.gray_range
    paths, skipped = rooms.data.images.decodable(found, gray_range)
    cli.tell_files("Passed over: {} unreadable images", skipped)
    new = [path for path in paths if path.resolve() not in trained]
    if len(new) < len(paths):
        print(f"Left out: {len(paths) - len(new)} images that the run was trained on")
    if not new:
        raise ValueError(
            "There is no image to label; expected some that can be read and that the "
            f"run was not trained on. Received: {str(given.images)!r} with "
            f"{len(found)} images. Name another folder."
        )
    return new


def _learner(
    given: Options, config: runs.RunConfig, paths: list[Path], trained: dict[Path, int]
) -> Any:
    """Returns what judges the images and learns from labels, with its own rows read."""
    from egan_keras.evaluation.shift import limit
    from egan_keras.review import learner

    store = rooms.features.FeatureStore(given.cache, verbose=logs.verbosity())
    model = runs.load_model(given.folder)
    here = {path: label for path, label in trained.items() if path.is_file()}
    n_gone, expected = len(trained) - len(here), len(trained)
    if n_gone:
        print(
            f"{n_gone:,} of {expected:,} images that the run was trained on are no "
            f"longer below {printable(config.options['data'])}; training again does "
            "without them"
        )
    held_out = run_results.reference(given.folder, config)
    farthest = None
    if held_out is not None and held_out[1] is not None:
        # From there on `check` takes an image for an alien one.
        farthest = limit(*held_out[1:])
    return learner.Learner(
        model,
        paths,
        learner.Known(list(here), np.int32(list(here.values()))),
        store=store,
        gray_range=given.gray_range or config.gray_range,
        farthest=farthest,
    )


def _serve(
    given: Options,
    learner: Any,
    paths: list[Path],
    place: Any,
    labels: Any,
    majority: list[str],
    minority: list[str],
) -> None:
    from egan_keras.review import server, session

    names = [path.relative_to(given.images).as_posix() for path in paths]
    classes = {"majority": majority, "minority": minority}
    state = session.Session(names, learner, labels, **classes)
    what = "{} labels are of images that are not here, and stay in the file"
    cli.tell_files(what, state.foreign)
    told = state.state()
    print(f"{told['labelled']:,} labelled in {printable(given.labels.absolute())}")
    print(f"{told['left']:,} images to label. Ctrl-C ends. The page is at\n")
    url = logs.coloured(place.url, "address", sys.stdout)
    print(f"  {url}\n", flush=True)
    shown = learner.picture, learner.heat_picture
    app = server.make_app(state, *shown, token=place.token, port=place.port)
    with contextlib.suppress(KeyboardInterrupt):
        if not given.no_browser and _has_screen():
            webbrowser.open(place.url)
        place.serve(app)
    if state.is_training:
        logs.tell("Waiting for the training to end")
        state.wait()


def _has_screen() -> bool:
    """Tells whether there is a browser that would not take over the terminal."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _tell_end(
    given: Options, labels: dict[str, str], majority: list[str], minority: list[str]
) -> None:
    rare = sum(label in minority for label in labels.values())
    where = printable(given.labels.absolute())
    print(f"\n{len(labels):,} labels in {where}, {rare:,} of them minority.")
    file = ["--labels", given.labels]
    if {*labels.values()}.isdisjoint(majority) or not rare:
        cli.tell_next("review", given.folder, given.images, *file)
        return
    print("The same command goes on. To train on these labels for good:")
    words = ["train", "--data", given.images, *file]
    words += ["--majority", ",".join(majority), "--minority", ",".join(minority)]
    cli.tell_next(*words, "--out", f"{given.folder}-labelled")
