"""Options, each written once: a dataclass's typed and documented fields.

Here are those that several commands share; a command's own stand in its file.
"""

import argparse
import contextlib
import dataclasses
import inspect
import math
import re
import textwrap
import typing
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any, Literal

GrayRange = tuple[float, float]
_COLUMNS = 80
# Of groups of options, what most people ask for first; the others come at "".
_ORDER = ("Attributes", "Search", "Threshold", "", "Report", "Images")
# What stands for paths of folders.
_FOLDERS = ("RUN", "ROOT", "DIR", "IMAGES")
# Paths, or addresses elsewhere.
_PLACES = ("IMAGE_OR_FOLDER", "IMAGES")


def option(default: Any = dataclasses.MISSING, **told) -> Any:
    """Returns a dataclass's field about whose option more is to be told than its type.

    That is `flag`, its name if it is not the field's, or "" for a positional argument;
    `exclusive`, whether it excludes others that say so; and what `add_argument` takes.
    """
    return dataclasses.field(default=default, metadata=told)


def some(given: Any, names: str) -> dict[str, Any]:
    """Returns those options that are named, with blanks between them, by name."""
    return {name: getattr(given, name) for name in names.split()}


def add_options(parser: argparse.ArgumentParser, options: type) -> None:
    """Adds those fields of a dataclass of which its docstring, or a base's, tells.

    The docstring's sections are the groups in `--help`; Attributes are in none. The
    usage names what is required.
    """
    fields = {each.name: each for each in dataclasses.fields(options)}
    documented: dict[str, tuple[str, str]] = {}
    for text in [inspect.getdoc(cls) or "" for cls in options.__mro__]:
        sections = re.split(r"^(\S.*):\n", text, flags=re.MULTILINE)
        for title, listed in zip(sections[1::2], sections[2::2], strict=True):
            for name, text in re.findall(r"    (\w+): (.*(?:\n     .*)*)", listed):
                if name in fields:
                    documented.setdefault(name, (title, " ".join(text.split())))
    groups, types = {"Attributes": parser}, typing.get_type_hints(options)
    exclusive, required = None, []

    def place(name: str) -> int:
        title = documented[name][0]
        return _ORDER.index(title if title in _ORDER else "")

    for name in sorted(documented, key=place):
        (title, text), kind = documented[name], types[name]
        if NoneType in typing.get_args(kind):
            kind = typing.get_args(kind)[0]
        told = {**_OF_TYPE.get(kind, {}), **fields[name].metadata}
        if typing.get_origin(kind) is Literal:
            told["choices"] = typing.get_args(kind)
        told["help"] = text.replace("%", "%%")
        flag = told.pop("flag", f"--{name.replace('_', '-')}")
        default = fields[name].default
        if flag:
            told |= {"dest": name, "required": default is dataclasses.MISSING}
        if default is not dataclasses.MISSING:
            told["default"] = default
            if default not in (None, False, ()):
                told["help"] += " (default: %(default)s)"
        if title not in groups:
            groups[title] = parser.add_argument_group(title.lower())
        target = groups[title]
        if told.pop("exclusive", False):
            target = exclusive = exclusive or target.add_mutually_exclusive_group()
        added = target.add_argument(flag or name, **told)
        if kind in (Path, list[Path]) or added.metavar in _PLACES:
            # What shells complete.
            added.complete = "directory" if added.metavar in _FOLDERS else "file"
        if added.required:
            shown = added.metavar or f"{{{','.join(added.choices)}}}"
            dots = ".." if added.nargs else ""
            required.append(f"{flag} {shown}{dots}".strip())
    parser.usage = _usage(parser.prog, required)


def _usage(program: str, required: list[str]) -> str:
    """Returns how a command is used, in lines that fit beside `usage: `."""
    # An option and its value stay in one line.
    words = [program, *(each.replace(" ", "\xa0") for each in required), "[OPTIONS]"]
    started = " " * len("usage: ")
    indent = {"initial_indent": started, "subsequent_indent": started + " " * 8}
    text = textwrap.fill(" ".join(words), _COLUMNS, break_on_hyphens=False, **indent)
    return text.strip().replace("\xa0", " ")


def value(
    reading: Callable[[str], Any],
    is_valid: Callable[[Any], Any],
    expected: str,
    *,
    or_none: bool = False,
) -> Callable[[str], Any]:
    """Returns what reads a value, or the word none where that is allowed.

    >>> value(int, lambda n: n > 0, "a positive number", or_none=True)("7")
    7
    """

    def check(text: str) -> Any:
        if or_none and text.lower() == "none":
            return None
        with contextlib.suppress(ValueError, re.error):
            if is_valid(found := reading(text)):
                return found
        raise argparse.ArgumentTypeError(f"expected {expected}, received {text!r}")

    return check


def names(what: str, comma: str = ",") -> Callable[[str], list[str]]:
    """Returns what reads one name, or several with commas between them.

    >>> names("class names")("automobile, truck")
    ['automobile', 'truck']
    """
    split = re.compile(rf"\s*{comma}\s*").split
    expected = f"{what} with commas between them"
    return value(lambda text: split(text.strip()), all, expected)


whole = value(int, lambda n: n >= 0, "a whole number of 0 or more")
positive_int = value(int, lambda n: n >= 1, "a whole number of 1 or more")
positive = value(float, lambda x: 0 < x < math.inf, "a positive number")
share = value(float, lambda x: 0 < x < 1, "a number between 0 and 1, such as 0.95")
weights = value(str, bool, "imagenet, none or a file name", or_none=True)
folds = value(int, lambda n: n >= 2, "a whole number of 2 or more")
seed = value(int, lambda n: 0 <= n < 2**32, "a whole number from 0 to 4294967295")
share_or_none = value(
    float, lambda x: 0 < x < 1, "a number between 0 and 1, or none", or_none=True
)
expression = value(
    lambda text: re.compile(text) and text,
    lambda text: re.compile(text).groups == 1,
    "a regular expression with one pair of parentheses",
)
gray_range = value(
    lambda text: tuple(map(float, text.split(","))),
    lambda pair: len(pair) == 2 and -math.inf < pair[0] < pair[1] < math.inf,
    "two numbers, the smaller one first, such as 0,4095",
)


def positive_ints(text: str) -> list[int]:
    """Reads integers of 1 or more with commas between them."""
    return [positive_int(part) for part in text.split(",")]


_OF_TYPE = {
    int: {"metavar": "N", "type": positive_int},
    float: {"metavar": "P", "type": share},
    bool: {"action": "store_true"},
    Path: {"type": Path},
    GrayRange: {"metavar": "BLACK,WHITE", "type": gray_range},
    list[int]: {"metavar": "N[,N..]", "type": positive_ints},
    list[str]: {"metavar": "A[,B..]", "type": names("class names")},
}


def check_file(name: str, path: Path) -> None:
    """Refuses a file to write where there can be none; its folder need not exist."""
    what = "a folder" if path.is_dir() else "no plain file"
    if path.is_file() or not path.exists():
        in_place = [folder for folder in path.parents if folder.is_file()]
        what = f"in no folder, since {in_place[0]} is a file" if in_place else ""
    if what:
        raise ValueError(
            f"The file to write is {what}; expected a file name. Received: {name} "
            f"{path}. Name another one."
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """How images are read.

    Images:
        gray_range: values that are black and white in grayscale images of more than 8
            bits, such as 0,4095 for cameras of 12 bits (default: the model's)
        skip_unreadable: leave out and count files that cannot be read, and images of a
            single colour, instead of stopping
    """

    gray_range: GrayRange | None = None
    skip_unreadable: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelledOptions(ReadingOptions):
    """How labelled images are read, and judged.

    Report:
        prevalence: share of minority images where the model will be used: reports the
            precision to expect there (default: that of training, if it was told)
    Images:
        labels: CSV file in place of folders of classes, as for train
        groups: what names the object in a path, as for train
        duplicates: what becomes of files with equal contents, as for train
    """

    labels: Path | None = option(None, metavar="FILE")
    groups: str | None = option(None, metavar="REGEX", type=expression)
    duplicates: Literal["drop", "refuse", "keep"] | None = None
    prevalence: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where a run goes, and the command that writes it.

    Attributes:
        out: folder to write
        overwrite: replace an earlier run, once the new one is complete
    """

    out: Path = option(metavar="RUN")
    overwrite: bool = False
    command_line: str = ""  # for config.json


# Of `LabelledOptions`, what `run_images.load_images` is told.
READING = "labels groups gray_range skip_unreadable duplicates"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingOptions(LabelledOptions, OutputOptions):
    """What whoever trains is asked: images, recipe, threshold.

    Attributes:
        data: folder of images: ROOT/test/CLASS/* and ROOT/train/CLASS/*, of which a
            fifth is held out for validation; or ROOT/CLASS/*, of which a fifth each
            goes to validation and test
        majority: the common class, or several: names of folders, or labels
        minority: the rare class, or several (default: none is known, and scores tell
            how unlike the majority an image is)
    Threshold:
        specificity: at least P of majority images are not called minority; none leaves
            the threshold at 0
        confidence: confidence that it is so; none guarantees nothing, and needs fewer
            images
        cross_fit: hold no image out for it: train K more models, each without a Kth of
            the majority, and set it on the scores they give that part; writes
            suspects.csv, too, training images most likely to be unnoticed minority
    Training:
        recipe: all choices not named here: the package's own, or the eGAN paper's
        weights: what the backbones start from; none is random
        mirrored_minority: train on no mirror images of the minority: where left and
            right matter, as in writing
        seed: decides the splits, which minority images are kept, and the training
    Images:
        minority_count: train on N minority images only, 0 or more (default: all)
        ratio: the same, as R majority images to each minority image
        image_size: stretch every image to N x N pixels (default: their own size if
            they have one, else 224)
        labels: CSV file with the columns path and label, and perhaps group and split,
            in place of folders of classes; paths are below ROOT
        groups: regular expression with one pair of parentheses that finds the object's
            name in a path, such as "_(part[0-9]+)_": pictures of one object stay on one
            side of every split (default: the column group of --labels)
        duplicates: what becomes of files with equal contents (default: a training
            image is left out of the test, and one of both classes is refused): drop
            leaves out what is of both classes, too; refuse stops where a training image
            is a test image; keep uses all
        gray_range: values that are black and white in grayscale images of more than 8
            bits, such as 0,4095 for cameras of 12 bits; before a negative number write
            --gray-range= (default: all that their type can hold)
    Report:
        prevalence: share of minority images where the model will be used: reports the
            precision to expect there
    """

    data: Path = option(metavar="ROOT")
    majority: list[str]
    minority: list[str] = option((), metavar="C[,D..]")
    minority_count: int | None = option(None, type=whole, exclusive=True)
    ratio: float | None = option(None, type=positive, metavar="R", exclusive=True)
    image_size: int | None = None
    validation_fraction: float = 0.2
    test_fraction: float = 0.2
    recipe: Literal["default", "published"] = "default"
    weights: str | None = option("imagenet", type=weights, metavar="imagenet|none|FILE")
    mirrored_minority: bool | None = option(
        None, flag="--no-mirror", action="store_false"
    )
    seed: int = option(0, type=seed, metavar="S")
    specificity: float | None = option(0.95, type=share_or_none)
    confidence: float | None = option(0.95, type=share_or_none)
    cross_fit: int | None = option(None, metavar="K", type=folds)
