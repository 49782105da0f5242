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

import dataclasses
import os
import sys
import webbrowser
from pathlib import Path
from typing import Any

import numpy as np

from egan_keras import cli, logs
from egan_keras.cli import next_command, options, rooms, run_scores, runs
from egan_keras.cli.colours import coloured
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
    classes = _classes(config)
    paths = _images(given, config)
    place = server.Server(given.port or 0)
    given.labels.parent.mkdir(parents=True, exist_ok=True)
    known = [*classes["majority"], *classes["minority"], label_file.UNSURE]
    labels = label_file.LabelFile(given.labels, known)
    try:
        for note in labels.notes:
            print(printable(note))
        _serve(given, config, classes, paths, place, labels)
    finally:
        labels.close()
    _tell_end(given, config, classes, labels.labels)
    return 0


def _classes(config: runs.RunConfig) -> dict[str, list[str]]:
    """Returns the names of the majority's and the minority's classes."""
    from egan_keras.review.label_file import UNSURE

    majority = list(config.options["majority"])
    minority = list(config.options["minority"]) or ["minority"]
    if UNSURE in (*majority, *minority):
        raise ValueError(
            f"A class of the run is called {UNSURE!r}, which on the page says that "
            "nobody can tell; expected other names. Received: majority "
            f"{', '.join(majority)}, minority {', '.join(minority)}. Rename the folder "
            "and train again."
        )
    return {"majority": majority, "minority": minority}


def _images(given: Options, config: runs.RunConfig) -> list[Path]:
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
    trained = {path.resolve() for path in _trained(config)[0]}
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


def _trained(config: runs.RunConfig) -> tuple[list[Path], np.ndarray]:
    """Returns those images that the run was trained on that are still there."""
    root, minority = Path(config.options["data"]), {*config.options["minority"]}
    pairs = [
        (root / path, int(name in minority))
        for name, paths in config.files["train"].items()
        for path in paths
        if (root / path).is_file()
    ]
    return [path for path, _ in pairs], np.int32([label for _, label in pairs])


def _serve(
    given: Options,
    config: runs.RunConfig,
    classes: dict[str, list[str]],
    paths: list[Path],
    place: Any,
    labels: Any,
) -> None:
    from egan_keras.review import server, session

    learner, gray_range = _learner(given, config, paths)
    names = [path.relative_to(given.images).as_posix() for path in paths]
    state = session.Session(names, learner, labels, **classes)
    what = "{} labels are of images that are not here, and stay in the file"
    cli.tell_files(what, state.foreign)
    told = state.state()
    print(f"{told['labelled']:,} labelled in {printable(given.labels.absolute())}")
    print(f"{told['left']:,} images to label. Ctrl-C ends. The page is at\n")
    print(f"  {coloured(place.url, 'address', sys.stdout)}\n", flush=True)
    size = tuple(config.image_shape[:2])
    shown = server.pictures_of(paths, learner, size, gray_range)
    app = server.make_app(state, *shown, token=place.token, port=place.port)
    try:
        if not given.no_browser and _has_screen():
            webbrowser.open(place.url)
        place.serve(app)
    except KeyboardInterrupt:
        pass
    if state.is_training:
        logs.tell("Waiting for the training to end")
        state.wait()


def _learner(given: Options, config: runs.RunConfig, paths: list[Path]) -> tuple:
    from egan_keras.review import learner

    store = rooms.features.FeatureStore(
        given.cache, verbose=1 if sys.stdout.isatty() else 2
    )
    model = runs.load_model(given.folder)
    gray_range = given.gray_range or config.gray_range
    trained = learner.Known(*_trained(config))
    expected = sum(map(len, config.files["train"].values()))
    if len(trained.paths) < expected:
        print(
            f"{expected - len(trained.paths):,} of {expected:,} images that the run "
            f"was trained on are no longer below {printable(config.options['data'])}; "
            "training again does without them"
        )
    told = {"store": store, "gray_range": gray_range}
    farthest = _farthest(run_scores.read(given.folder, config))
    found = learner.Learner(model, paths, trained, farthest=farthest, **told)
    return found, gray_range


def _farthest(kept: dict[str, run_scores.SplitScores]) -> float | None:
    """Returns from which distance on `check` takes an image for an alien one."""
    from egan_keras.evaluation.shift import limit

    reference = run_scores.held_out_majority(kept)
    if reference is None or reference.distances is None:
        return None
    return limit(reference.distances, run_scores.minority_distances(kept))


def _has_screen() -> bool:
    """Tells whether there is a browser that would not take over the terminal."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _tell_end(
    given: Options,
    config: runs.RunConfig,
    classes: dict[str, list[str]],
    labels: dict[str, str],
) -> None:
    rare = sum(label in classes["minority"] for label in labels.values())
    where = printable(given.labels.absolute())
    print(f"\n{len(labels):,} labels in {where}, {rare:,} of them minority.")
    file = ["--labels", given.labels]
    if {*labels.values()}.isdisjoint(classes["majority"]) or not rare:
        next_command.tell("review", given.folder, given.images, *file)
        return
    print("The same command goes on. To train on these labels for good:")
    words = ["train", "--data", given.images, *file]
    for role, names in classes.items():
        words += [f"--{role}", ",".join(names)]
    next_command.tell(*words, "--out", f"{given.folder}-labelled")
